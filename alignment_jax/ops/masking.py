"""Sums and means over the real entries of padded arrays; never NaN."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Mean(NamedTuple):
  """A mean that is not divided yet, so that parts of a batch add up.

  Attributes:
    total: weighted sum of the values.
    weight: sum of the weights, >= 0.
  """

  total: Float[Array, ""]
  weight: Float[Array, ""]

  def value(self) -> Float[Array, ""]:
    """total / weight, and 0 when nothing was counted."""
    return divide(self.total, self.weight)


def divide(
  total: Float[Array, "*batch"], weight: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """total / weight; 0 with zero gradient where the weight is 0."""
  counted = weight > 0
  return jnp.where(counted, total / jnp.where(counted, weight, 1.0), 0.0)


def weighted(
  values: Float[Array, "*batch"], weights: Float[Array, "*batch"]
) -> Mean:
  """The mean of `values` under `weights`; entries of weight 0 do not count.

  An entry of weight 0 may be infinite or NaN: neither it nor its gradient
  reaches the total.
  """
  values = jnp.where(weights > 0, values, 0.0)
  return Mean(jnp.sum(values * weights), jnp.sum(weights))


def masked_sum(
  values: Float[Array, "*batch T"], mask: Bool[Array, "*batch T"]
) -> Float[Array, "*batch"]:
  """Sum over the last axis of the entries where `mask` is True."""
  return jnp.sum(jnp.where(mask, values, 0.0), axis=-1)


def masked_mean(
  values: Float[Array, "*batch T"], mask: Bool[Array, "*batch T"]
) -> Float[Array, "*batch"]:
  """Mean over the last axis where `mask` is True; 0 when it never is."""
  count = jnp.sum(mask, axis=-1).astype(values.dtype)
  return divide(masked_sum(values, mask), count)


def lengths(mask: Bool[Array, "*batch T"]) -> Int[Array, "*batch"]:
  """How many entries are real."""
  return jnp.sum(mask, axis=-1, dtype=jnp.int32)


def positions(mask: Bool[Array, "*batch T"]) -> Int[Array, "*batch T"]:
  """0, 1, 2, ... over the real entries, whichever side is padded."""
  return jnp.maximum(jnp.cumsum(mask, axis=-1, dtype=jnp.int32) - 1, 0)


# How token log-probabilities become the score of a response. The losses are
# derived for the sum; the mean is the averaging operator of Grinsztajn et al.,
# 2024 (arXiv:2406.19188), and what TRL does for IPO.
AGGREGATIONS = {"sum": masked_sum, "mean": masked_mean}
