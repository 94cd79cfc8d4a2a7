"""What a training run carries from step to step."""

from typing import Any

import flax.struct
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key, PyTree

from alignment_jax.algorithm import Algorithm


@flax.struct.dataclass
class TrainState:
  """Everything that is saved and restored.

  Attributes:
    step: updates made so far.
    trainable: what the optimiser moves, a dict of parameter trees.
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
    policy_params: where the policy starts; given away.
    *starts: further parameters that the method's `init` takes, in its order.
  """
  trainable, slow = algorithm.init(key, policy_params, *starts)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    trainable=trainable,
    slow=slow,
    optimizer_state=optimizer.init(trainable),
  )
