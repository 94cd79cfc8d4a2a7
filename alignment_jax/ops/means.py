"""Weighted means whose parts add up, so that a batch may be split anyhow."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Mean(NamedTuple):
  """A mean that is not divided yet: parts of a batch add, field by field.

  Attributes:
    total: weighted sum of the values.
    weight: sum of the weights, >= 0.
  """

  total: Float[Array, ""]
  weight: Float[Array, ""]

  def value(self) -> Float[Array, ""]:
    """total / weight, and 0 when nothing was counted."""
    return divide(self.total, self.weight)


def weighted_mean(
  values: Float[Array, "*batch"], weights: Float[Array, "*batch"]
) -> Mean:
  """The mean of `values` under `weights`; entries of weight 0 do not count.

  An entry of weight 0 may be infinite or NaN: neither it nor its gradient
  reaches the total.
  """
  values = jnp.where(weights > 0, values, 0.0)
  return Mean(jnp.sum(values * weights), jnp.sum(weights))


def divide(
  total: Float[Array, "*batch"], weight: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """total / weight; 0 with zero gradient where the weight is 0."""
  counted = weight > 0
  # `where` before the division too: 0 * inf in its gradient would be NaN.
  return jnp.where(counted, total / jnp.where(counted, weight, 1.0), 0.0)
