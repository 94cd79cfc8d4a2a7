"""What happens to policy and reference between updates, for any method."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from alignment_jax import errors, losses
from alignment_jax.algorithm import Algorithm
from alignment_jax.ops import guards


def frozen(algorithm: Algorithm) -> Algorithm:
  """The method as it is: its reference stays where it started."""
  return algorithm


def reference_ema(algorithm: Algorithm, *, decay: float) -> Algorithm:
  """The reference follows the policy as an exponential moving average.

  Args:
    algorithm: a method with a reference.
    decay: of the average, in [0, 1].

  Raises:
    UserError: when its state is made, if the method has no reference.
  """
  guards.fraction(decay=decay)

  def refresh(trainable, slow, step, metrics):
    trainable, slow = algorithm.refresh(trainable, slow, step, metrics)
    reference = losses.ema(slow["reference"], trainable["policy"], decay=decay)
    return trainable, {**slow, "reference": reference}

  return _with_reference(algorithm, refresh, "reference_ema")


def reference_copy(algorithm: Algorithm, *, every: int) -> Algorithm:
  """The reference becomes the policy every so many updates.

  Args:
    algorithm: a method with a reference.
    every: updates between two copies, >= 1.

  Raises:
    UserError: when its state is made, if the method has no reference.
  """
  guards.positive(every=every)

  def refresh(trainable, slow, step, metrics):
    trainable, slow = algorithm.refresh(trainable, slow, step, metrics)
    now = step % every == 0
    reference = jax.tree.map(
      lambda old, new: jnp.where(now, new, old),
      slow["reference"],
      trainable["policy"],
    )
    return trainable, {**slow, "reference": reference}

  return _with_reference(algorithm, refresh, "reference_copy")


def elastic_reset(
  algorithm: Algorithm, *, decay: float, period: int
) -> Algorithm:
  """The policy falls back to its average, the average to the start.

  Noukhovitch et al., 2023 (arXiv:2312.07551); see `losses.elastic_reset`.
  Neither a value network nor the optimiser's state is touched.

  Args:
    algorithm: any method with a policy.
    decay: of the average, in [0, 1].
    period: updates between two resets, >= 1.
  """
  guards.fraction(decay=decay)
  guards.positive(period=period)

  def init(key, policy_params, *starts):
    trainable, slow = algorithm.init(key, policy_params, *starts)
    copies = (jax.tree.map(jnp.copy, trainable["policy"]) for _ in range(2))
    average, initial = copies
    return trainable, {"method": slow, "average": average, "initial": initial}

  def refresh(trainable, slow, step, metrics):
    trainable, method = algorithm.refresh(
      trainable, slow["method"], step, metrics
    )
    policy, average = losses.elastic_reset(
      trainable["policy"],
      slow["average"],
      slow["initial"],
      step,
      decay=decay,
      period=period,
    )
    return {**trainable, "policy": policy}, {
      "method": method,
      "average": average,
      "initial": slow["initial"],
    }

  def of_method(function):
    return lambda trainable, slow, *rest: function(
      trainable, slow["method"], *rest
    )

  rollouts = algorithm.rollouts
  if rollouts is not None:
    rollouts = rollouts._replace(
      sample=of_method(rollouts.sample), prepare=of_method(rollouts.prepare)
    )
  return algorithm._replace(
    init=init,
    rollouts=rollouts,
    loss=of_method(algorithm.loss),
    refresh=refresh,
  )


# A factory takes the algorithm, then keywords.
REFRESHERS: dict[str, Callable[..., Algorithm]] = {
  "elastic_reset": elastic_reset,
  "frozen": frozen,
  "reference_copy": reference_copy,
  "reference_ema": reference_ema,
}


def _with_reference(algorithm, refresh, name):
  def init(key, policy_params, *starts):
    trainable, slow = algorithm.init(key, policy_params, *starts)
    if not (isinstance(slow, dict) and "reference" in slow):
      raise errors.UserError(
        f"refresh '{name}' moves a method's reference, and this one has none;"
        " choose refresh 'frozen' or another algorithm"
      )
    return trainable, slow

  return algorithm._replace(init=init, refresh=refresh)
