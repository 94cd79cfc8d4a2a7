"""Whether a model of preferences is as sure as it is right."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import means

# Between a confidence of 1/2 and of 1.
BINS = 5


def calibration_error(
  predicted: Float[Array, "B"],
  probability: Float[Array, "B"],
  weight: Float[Array, "B"],
) -> means.Mean:
  """How far confidence is from how often it is right, over `BINS` bins.

  Guo et al., 2017 (arXiv:1706.04599), eq. 3, of the side that is predicted to
  win. Within the pairs given: few of them overstate it.

  Args:
    predicted: P(chosen wins) of the model.
    probability: the share of raters for whom it does.
    weight: of each pair.
  """
  wins = predicted >= 0.5
  confidence = jnp.where(wins, predicted, 1 - predicted)
  right = jnp.where(wins, probability, 1 - probability)
  bins = jnp.minimum(
    (2 * BINS * (confidence - 0.5)).astype(jnp.int32), BINS - 1
  )
  gaps = jnp.where(weight > 0, weight * (right - confidence), 0.0)
  sums = jnp.sum(jax.nn.one_hot(bins, BINS) * gaps[:, None], axis=0)
  return means.Mean(jnp.sum(jnp.abs(sums)), jnp.sum(weight))
