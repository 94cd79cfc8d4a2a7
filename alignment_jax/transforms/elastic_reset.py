"""Elastic Reset (Noukhovitch et al., 2023, arXiv:2312.07551)."""

import jax
from jaxtyping import PyTree

from alignment_jax import losses
from alignment_jax.algorithm import Algorithm
from alignment_jax.ops import guards
from alignment_jax.transforms import view


def elastic_reset(
  algorithm: Algorithm, *, decay: float, period: int
) -> Algorithm:
  """The policy falls back to its average, and the average to the start.

  See `losses.elastic_reset`. Neither a value network nor the optimizer's state
  is touched.

  Args:
    algorithm: any method with a policy.
    decay: of the average, in [0, 1].
    period: updates between two resets, >= 1.
  """
  guards.fraction(decay=decay)
  guards.positive(period=period)

  def init(
    key: jax.Array, policy_params: PyTree, *starts: PyTree
  ) -> tuple[PyTree, PyTree]:
    trainable, slow = algorithm.init(key, policy_params, *starts)
    policy = trainable["policy"]
    return trainable, {"method": slow, "average": policy, "initial": policy}

  def refresh(
    trainable: PyTree, slow: PyTree, step: jax.Array, metrics: PyTree
  ) -> tuple[PyTree, PyTree]:
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

  return view.through(
    algorithm, lambda trainable, slow: (trainable, slow["method"])
  )._replace(
    init=init,
    refresh=refresh,
    replaces=algorithm.replaces | {"policy"},
  )
