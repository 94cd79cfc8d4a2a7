"""How attention knows where a token stands."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def frequencies(
  width: int,
  *,
  theta: float,
  factor: float = 1.0,
  original_length: int = 0,
  low: float = 1.0,
  high: float = 4.0,
) -> np.ndarray:
  """Radians per position of each pair of features, theta^(-2 i / width).

  Su et al., 2021 (arXiv:2104.09864). With a factor all are divided by it
  (linear scaling), or, where an original length is given, as Llama 3.1 does:
  waves longer than original_length / low are, those shorter than
  original_length / high are not, and between the two it blends.

  Args:
    width: features that are rotated; even.
    theta: base.
    factor: by how much the context is stretched, >= 1.
    original_length: of the context before stretching, in tokens; 0 for linear.
    low: see above.
    high: see above, > low.

  Returns:
    [width / 2] float32.
  """
  half = width // 2
  turns = theta ** (-np.arange(half, dtype=np.float64) / half)
  if original_length:
    share = (original_length * turns / (2 * np.pi) - low) / (high - low)
    share = np.clip(share, 0, 1)
    turns = (1 - share) * turns / factor + share * turns
  else:
    turns = turns / factor
  return turns.astype(np.float32)


def rotate(
  x: Float[Array, "B T H D"],
  positions: Int[Array, "B T"],
  frequencies: Float[Array, "F"] | Float[np.ndarray, "F"],
) -> Float[Array, "B T H D"]:
  """Rotary position embedding in half-split form.

  Su et al., 2021 (arXiv:2104.09864). Feature i of the first F features and
  feature i of the second F are rotated by position * frequencies[i]; features
  after the first 2 F stay as they are.
  """
  count = frequencies.shape[0]
  angles = (
    positions.astype(jnp.float32)[:, :, None, None]
    * jnp.asarray(frequencies)[None, None, None]
  )
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  turned = x[..., : 2 * count].astype(jnp.float32)
  first, second = turned[..., :count], turned[..., count:]
  rotated = jnp.concatenate(
    [first * cos - second * sin, second * cos + first * sin], axis=-1
  ).astype(x.dtype)
  return jnp.concatenate([rotated, x[..., 2 * count :]], axis=-1)


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
