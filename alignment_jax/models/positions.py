"""How attention knows where a token stands."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def rotate(
  x: Float[Array, "B T H D"], positions: Int[Array, "B T"], *, theta: float
) -> Float[Array, "B T H D"]:
  """Rotary position embedding in half-split form.

  Su et al., 2021 (arXiv:2104.09864). Feature i of the first half and feature i
  of the second are rotated by position * theta^(-2 i / D).
  """
  half = x.shape[-1] // 2
  frequencies = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
  angles = (
    positions.astype(jnp.float32)[:, :, None, None]
    * frequencies[None, None, None]
  )
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  rotated = jnp.concatenate(
    [first * cos - second * sin, second * cos + first * sin], axis=-1
  )
  return rotated.astype(x.dtype)


def relative_bucket(
  distance: Int[Array, "*shape"],
  *,
  bidirectional: bool,
  buckets: int,
  max_distance: int,
) -> Int[Array, "*shape"]:
  """T5's bucket of a key's position minus the query's.

  Raffel et al., 2020 (arXiv:1910.10683), section 2.1, in the form of the
  released code: one bucket per small distance, logarithmic ones up to
  `max_distance`, the last for all beyond. A decoder looks back only.
  """
  offset = jnp.zeros_like(distance)
  if bidirectional:
    buckets //= 2
    offset = jnp.where(distance > 0, buckets, 0)
    distance = jnp.abs(distance)
  else:
    distance = jnp.maximum(-distance, 0)
  exact = buckets // 2
  logarithmic = exact + (
    jnp.log(jnp.maximum(distance, exact).astype(jnp.float32) / exact)
    / math.log(max_distance / exact)
    * (buckets - exact)
  ).astype(jnp.int32)
  logarithmic = jnp.minimum(logarithmic, buckets - 1)
  return offset + jnp.where(distance < exact, distance, logarithmic)
