"""Attention: projections around the one place that calls the kernel."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from alignment_jax.models import layers, positions


def attend(
  query: Float[Array, "B T N D"],
  key: Float[Array, "B S H D"],
  value: Float[Array, "B S H D"],
  *,
  mask: Bool[Array, "B #T S"],
  bias: Float[Array, "#B N T S"] | None = None,
  scale: float,
) -> Float[Array, "B T N D"]:
  """softmax(scale q k + bias) v over the keys that `mask` allows.

  N may be a multiple of H (grouped-query attention). The softmax is in
  float32. XLA's own implementation, which runs everywhere.
  """
  # JAX itself promotes bfloat16 to float32 there, which strict mode refuses.
  with jax.numpy_dtype_promotion("standard"):
    return jax.nn.dot_product_attention(
      query,
      key,
      value,
      bias=None if bias is None else bias.astype(query.dtype),
      mask=mask[:, None],
      scale=scale,
      implementation="xla",
    )


def with_prefix(
  prefix_mask: Bool[Array, "B S"], mask: Bool[Array, "B T"]
) -> Bool[Array, "B T S+T"]:
  """Which of prefix and new tokens each new token sees.

  The whole prefix where it is real, and new tokens up to itself:

      prefix S=2  new T=3
         0 1      1 0 0
         0 1      1 1 0
         0 1      1 1 1
  """
  count = mask.shape[1]
  causal = jnp.tril(jnp.ones((count, count), bool))[None] & mask[:, None]
  seen = jnp.broadcast_to(
    prefix_mask[:, None], (mask.shape[0], count, prefix_mask.shape[1])
  )
  return jnp.concatenate([seen, causal], axis=-1)


class SelfAttention(nn.Module):
  """Attention of new tokens to a prefix and to themselves.

  Attributes:
    heads: query heads.
    kv_heads: key and value heads; divides `heads`.
    head_width: features of a head.
    width: features of the residual stream.
    scale: factor on the logits; 1 in T5.
    query_gain: variance of a query's feature at initialisation.
    rope_theta: base of the rotary embedding; None for none.
    dtype: of the computation.
  """

  heads: int
  kv_heads: int
  head_width: int
  width: int
  scale: float
  query_gain: float
  rope_theta: float | None
  dtype: Any

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    position: Int[Array, "B T"] | None,
    mask: Bool[Array, "B #T S"],
    *,
    prefix: tuple[Array, Array] | None = None,
    bias: Float[Array, "#B N T S"] | None = None,
  ) -> tuple[Float[Array, "B T D"], tuple[Array, Array]]:
    query = _project(self, "query", self.heads, "heads", self.query_gain)(x)
    key = _project(self, "key", self.kv_heads, "kv_heads")(x)
    value = _project(self, "value", self.kv_heads, "kv_heads")(x)
    if self.rope_theta is not None:
      query = positions.rotate(query, position, theta=self.rope_theta)
      key = positions.rotate(key, position, theta=self.rope_theta)
    new = (key, value)
    if prefix is not None:
      key = jnp.concatenate([prefix[0], key], axis=1)
      value = jnp.concatenate([prefix[1], value], axis=1)
    out = attend(query, key, value, mask=mask, bias=bias, scale=self.scale)
    return _output(self)(out), new


class CrossAttention(nn.Module):
  """Attention to keys and values that were computed once from the encoder.

  Attributes are as in `SelfAttention`.
  """

  heads: int
  head_width: int
  width: int
  scale: float
  query_gain: float
  dtype: Any

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    memory: tuple[Array, Array],
    mask: Bool[Array, "B 1 S"],
  ) -> Float[Array, "B T D"]:
    query = _project(self, "query", self.heads, "heads", self.query_gain)(x)
    return _output(self)(attend(query, *memory, mask=mask, scale=self.scale))


def _project(module, name, heads, axis, gain=1.0):
  return layers.Projection(
    shape=(module.width, heads, module.head_width),
    axes=("width", axis, "head_width"),
    contract=1,
    dtype=module.dtype,
    gain=gain,
    name=name,
  )


def _output(module):
  return layers.Projection(
    shape=(module.heads, module.head_width, module.width),
    axes=("heads", "head_width", "width"),
    contract=2,
    dtype=module.dtype,
    name="out",
  )
