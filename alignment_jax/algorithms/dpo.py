"""Direct preference optimization (Rafailov et al., 2023, arXiv:2305.18290)."""

import functools

from alignment_jax import losses
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import offline_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


def dpo(
  model: Model,
  *,
  beta: float,
  label_smoothing: float = 0.0,
  aggregation: offline_pairs.Aggregation = "sum",
) -> Algorithm:
  """Offline DPO.

  Args:
    model: the network.
    beta: strength of the regularization, > 0.
    label_smoothing: probability of a wrong label, in [0, 0.5); leave it 0 where
      the data carry a preference probability, which says the same better.
    aggregation: `sum`, as in the paper, or `mean` over tokens.
  """
  guards.positive(beta=beta)
  guards.within(0.0, 0.5, label_smoothing=label_smoothing)
  return offline_pairs.offline_pairs(
    model,
    functools.partial(
      losses.dpo_loss, beta=beta, label_smoothing=label_smoothing
    ),
    reward_scale=beta,
    aggregation=aggregation,
  )
