"""What a training run carries from step to step."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key, PyTree

from alignment_jax.algorithm import Algorithm


@flax.struct.dataclass
class TrainState:
  """Everything that is saved and restored.

  Attributes:
    step: updates made so far.
    trainable: what the optimizer moves, a dict of parameter trees.
    slow: what else the algorithm keeps (reference, averages).
    optimizer_state: as optax made it.
  """

  step: Int[Array, ""]
  trainable: PyTree
  slow: PyTree
  optimizer_state: Any


def make_state(
  algorithm: Algorithm,
  optimizer: optax.GradientTransformation,
  key: Key[Array, ""],
  policy_params: PyTree,
  *starts: PyTree,
) -> TrainState:
  """The state before the first step.

  Args:
    algorithm: the method.
    optimizer: acts on what it trains.
    key: of what is new, such as a head.
    policy_params: where the policy starts; donated.
    *starts: further parameters that the method's `init` takes, in its order.
  """
  trainable, slow = algorithm.init(key, policy_params, *starts)
  return _without_shared_buffers(
    TrainState(
      step=jnp.zeros((), jnp.int32),
      trainable=trainable,
      slow=slow,
      optimizer_state=optimizer.init(trainable),
    )
  )


def _without_shared_buffers(tree: TrainState) -> TrainState:
  """Copies each leaf that occurs again, as a reference that is the policy does.

  The state is donated to the update, and a buffer can be donated only once.
  """
  seen: set[int] = set()

  def copied(leaf: Array) -> Array:
    if id(leaf) in seen:
      return jnp.copy(leaf)
    seen.add(id(leaf))
    return leaf

  return jax.tree.map(copied, tree)
