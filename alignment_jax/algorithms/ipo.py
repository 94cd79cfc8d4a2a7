"""Identity preference optimization (Azar et al., 2023, arXiv:2310.12036)."""

import functools

from alignment_jax import losses
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import offline_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


def ipo(
  model: Model, *, tau: float, aggregation: offline_pairs.Aggregation = "sum"
) -> Algorithm:
  """Offline IPO, Algorithm 1 of the paper.

  Args:
    model: the network.
    tau: strength of the regularization, > 0. The target margin 1 / (2 tau) is
      in nats per response with `sum`, per token with `mean`.
    aggregation: `sum`, as in the paper, or `mean` over tokens, as in TRL.
  """
  guards.positive(tau=tau)
  return offline_pairs.offline_pairs(
    model,
    functools.partial(losses.ipo_loss, tau=tau),
    reward_scale=tau,
    aggregation=aggregation,
  )
