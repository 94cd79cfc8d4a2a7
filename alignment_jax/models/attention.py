"""Attention: projections around the one place that calls the kernel."""

from collections.abc import Callable
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
  softcap: float = 0.0,
) -> Float[Array, "B T N D"]:
  """softmax(scale q k + bias) v over the keys that `mask` allows.

  N may be a multiple of H (grouped-query attention). The softmax is in
  float32. XLA's own implementation, which runs everywhere. With a softcap c
  logits z become c tanh(z / c), as in Gemma 2, which no fused kernel offers.
  """
  if softcap:
    return _attend_capped(query, key, value, mask, bias, scale, softcap)
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


def _attend_capped(query, key, value, mask, bias, scale, softcap):
  rows, count, heads, width = query.shape
  groups = heads // key.shape[2]
  query = query.reshape(rows, count, key.shape[2], groups, width)
  logits = scale * jnp.einsum(
    "btngd,bsnd->bngts", query, key, preferred_element_type=jnp.float32
  )
  logits = softcap * jnp.tanh(logits / softcap)
  if bias is not None:
    logits = logits + bias.astype(jnp.float32).reshape(
      bias.shape[0], key.shape[2], groups, *bias.shape[2:]
    )
  logits = jnp.where(mask[:, None, None], logits, jnp.finfo(jnp.float32).min)
  weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
  out = jnp.einsum("bngts,bsnd->btngd", weights, value)
  return out.reshape(rows, count, heads, width)


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
    dtype: of the computation.
    bias: whether queries, keys and values add a vector.
    output_bias: whether the output does.
    head_norm: makes the norm of queries and keys by its name; None for none.
    softcap: see `attend`.
  """

  heads: int
  kv_heads: int
  head_width: int
  width: int
  scale: float
  query_gain: float
  dtype: Any
  bias: bool = False
  output_bias: bool = False
  head_norm: Callable[[str], nn.Module] | None = None
  softcap: float = 0.0

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    position: Int[Array, "B T"] | None,
    mask: Bool[Array, "B #T S"],
    *,
    frequencies: Float[Array, "F"] | None = None,
    prefix: tuple[Array, Array] | None = None,
    bias: Float[Array, "#B N T S"] | None = None,
  ) -> tuple[Float[Array, "B T D"], tuple[Array, Array]]:
    query = _project(self, "query", self.heads, "heads", self.query_gain)(x)
    key = _project(self, "key", self.kv_heads, "kv_heads")(x)
    value = _project(self, "value", self.kv_heads, "kv_heads")(x)
    if self.head_norm is not None:
      query = self.head_norm("query_norm")(query)
      key = self.head_norm("key_norm")(key)
    if frequencies is not None:
      query = positions.rotate(query, position, frequencies)
      key = positions.rotate(key, position, frequencies)
    new = (key, value)
    if prefix is not None:
      key = jnp.concatenate([prefix[0], key], axis=1)
      value = jnp.concatenate([prefix[1], value], axis=1)
    out = attend(
      query,
      key,
      value,
      mask=mask,
      bias=bias,
      scale=self.scale,
      softcap=self.softcap,
    )
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
    bias=getattr(module, "bias", False),
    name=name,
  )


def _output(module):
  return layers.Projection(
    shape=(module.heads, module.head_width, module.width),
    axes=("heads", "head_width", "width"),
    contract=2,
    dtype=module.dtype,
    bias=getattr(module, "output_bias", False),
    name="out",
  )
