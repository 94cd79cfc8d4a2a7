"""What happens to policy and reference between updates, for any method."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from alignment_jax import errors, losses
from alignment_jax.algorithm import Algorithm, Refresh
from alignment_jax.ops import guards
from alignment_jax.transforms.elastic_reset import elastic_reset


def frozen(algorithm: Algorithm) -> Algorithm:
  """The method as it is: its reference stays where it started."""
  return algorithm


def ema(algorithm: Algorithm, *, decay: float) -> Algorithm:
  """The reference follows the policy as an exponential moving average.

  Args:
    algorithm: a method with a reference.
    decay: of the average, in [0, 1].

  Raises:
    UserError: when its state is made, if the method has no reference.
  """
  guards.fraction(decay=decay)

  def refresh(
    trainable: PyTree, slow: PyTree, step: jax.Array, metrics: PyTree
  ) -> tuple[PyTree, PyTree]:
    trainable, slow = algorithm.refresh(trainable, slow, step, metrics)
    reference = losses.ema(slow["reference"], trainable["policy"], decay=decay)
    return trainable, {**slow, "reference": reference}

  return _moving_the_reference(algorithm, refresh, "ema")


def periodic_copy(algorithm: Algorithm, *, every: int) -> Algorithm:
  """The reference becomes the policy every so many updates.

  Args:
    algorithm: a method with a reference.
    every: updates between two copies, >= 1.

  Raises:
    UserError: when its state is made, if the method has no reference.
  """
  guards.positive(every=every)

  def refresh(
    trainable: PyTree, slow: PyTree, step: jax.Array, metrics: PyTree
  ) -> tuple[PyTree, PyTree]:
    trainable, slow = algorithm.refresh(trainable, slow, step, metrics)
    now = step % every == 0
    reference = jax.tree.map(
      lambda old, new: jnp.where(now, new, old),
      slow["reference"],
      trainable["policy"],
    )
    return trainable, {**slow, "reference": reference}

  return _moving_the_reference(algorithm, refresh, "periodic_copy")


# A factory takes the algorithm, then keywords.
REFERENCE_UPDATES: dict[str, Callable[..., Algorithm]] = {
  "elastic_reset": elastic_reset,
  "ema": ema,
  "frozen": frozen,
  "periodic_copy": periodic_copy,
}


def _moving_the_reference(
  algorithm: Algorithm, refresh: Refresh, name: str
) -> Algorithm:
  def init(
    key: jax.Array, policy_params: PyTree, *starts: PyTree
  ) -> tuple[PyTree, PyTree]:
    trainable, slow = algorithm.init(key, policy_params, *starts)
    if not (isinstance(slow, dict) and "reference" in slow):
      raise errors.UserError(
        f"reference update '{name}' moves a method's reference, and this one"
        " has none; choose 'frozen' or another algorithm"
      )
    return trainable, slow

  return algorithm._replace(
    init=init,
    refresh=refresh,
    replaces=algorithm.replaces | {"reference"},
  )
