"""What a training run carries from step to step."""

from typing import Any

import flax.struct
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key, PyTree

from alignment_jax.algorithms.base import Algorithm


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
) -> TrainState:
  """The state before the first step."""
  trainable, slow = algorithm.init(key, policy_params)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    trainable=trainable,
    slow=slow,
    optimizer_state=optimizer.init(trainable),
  )
