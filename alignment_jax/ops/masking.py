"""Sums and means over the real entries of padded arrays; never NaN."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from alignment_jax.ops import means


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
  return means.divide(masked_sum(values, mask), count)


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
