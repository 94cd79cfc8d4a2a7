"""Attention: projections around the one place that calls the kernel."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from alignment_jax.models import (
  attention_choice,
  attention_kernels,
  decode_layout,
  layers,
  positions,
)


def attend(
  query: Float[Array, "B T N D"],
  key: Float[Array, "B S H D"],
  value: Float[Array, "B S H D"],
  *,
  mask: Bool[Array, "B #T S"],
  bias: Float[Array, "#B N T S"] | None = None,
  scale: float,
  softcap: float = 0.0,
  order: attention_kernels.Order | None = None,
  kernel: str = attention_choice.AUTO,
) -> Float[Array, "B T N D"]:
  """softmax(scale q k + bias) v over the keys that `mask` allows.

  N may be a multiple of H (grouped-query attention). The softmax is in
  float32. With a softcap c logits z become c tanh(z / c), as in Gemma 2.

  Args:
    query: queries.
    key: keys.
    value: values.
    mask: which keys each query sees.
    bias: added to the logits.
    scale: factor on the products.
    softcap: c; 0 for none.
    order: the same mask by its parts, where it has them; kernels that never
      hold [T, S] read this one.
    kernel: `auto`, or a key of `attention_choice.KERNELS`.

  Raises:
    UserError: no such kernel, or it cannot run this.
  """
  run = attention_choice.kernel_for(
    kernel,
    dtype=query.dtype.name,
    queries=query.shape[1],
    keys=key.shape[1],
    head_width=query.shape[-1],
    biased=bias is not None,
    softcap=softcap,
    ordered=order is not None,
  )
  return run(
    query,
    key,
    value,
    mask=mask,
    order=order,
    bias=bias,
    scale=scale,
    softcap=softcap,
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


def order_with_prefix(
  prefix_mask: Bool[Array, "B S"], mask: Bool[Array, "B T"], window: int = 0
) -> attention_kernels.Order:
  """The parts of `with_prefix`, for a prefix that is padded on the left."""
  keys = jnp.concatenate([prefix_mask, mask], axis=1)
  return attention_kernels.Order(queries=mask, keys=keys, window=window)


class SelfAttention(nn.Module):
  """Attention of new tokens to a prefix and to themselves.

  Attributes:
    heads: query heads.
    kv_heads: key and value heads; divides `heads`.
    head_width: features of a head.
    width: features of the residual stream.
    scale: factor on the logits; 1 in T5.
    query_gain: variance of a query's feature at initialization.
    dtype: of the computation.
    bias: whether queries, keys and values add a vector.
    output_bias: whether the output does.
    head_norm: makes the norm of queries and keys by its name; None for none.
    softcap: see `attend`.
    kernel: see `attend`.
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
  kernel: str = attention_choice.AUTO

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
    order: attention_kernels.Order | None = None,
    slot: Int[Array, ""] | None = None,
  ) -> tuple[Float[Array, "B T D"], tuple[Array, Array]]:
    """Returns what attention adds to the tokens, and their keys and values.

    With a slot, `x` is one token, and the prefix keys [B, H, D, S] and values
    [B, H, S, D]; the token is written to the slot, and the prefix returned.
    """
    query = _project(self, "query", self.heads, "heads", self.query_gain)(x)
    key = _project(self, "key", self.kv_heads, "kv_heads")(x)
    value = _project(self, "value", self.kv_heads, "kv_heads")(x)
    if self.head_norm is not None:
      query = self.head_norm("query_norm")(query)
      key = self.head_norm("key_norm")(key)
    # Keys are stored rotated: a cache needs no positions when it is read.
    if frequencies is not None and position is not None:
      query = positions.rotate(query, position, frequencies)
      key = positions.rotate(key, position, frequencies)
    memory = (key, value)
    if prefix is not None and slot is not None:
      # In place: a loop that carries the cache then copies no prefix.
      write = jax.lax.dynamic_update_slice_in_dim
      new_key, new_value = decode_layout.in_slots(key, value)
      memory = (
        write(prefix[0], new_key, slot, axis=3),
        write(prefix[1], new_value, slot, axis=2),
      )
      key, value = decode_layout.from_slots(*memory)
    elif prefix is not None:
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
      order=order,
      kernel=self.kernel,
    )
    return _output(self)(out), memory


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
  kernel: str = attention_choice.AUTO

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    memory: tuple[Array, Array],
    mask: Bool[Array, "B 1 S"],
  ) -> Float[Array, "B T D"]:
    query = _project(self, "query", self.heads, "heads", self.query_gain)(x)
    out = attend(
      query, *memory, mask=mask, scale=self.scale, kernel=self.kernel
    )
    return _output(self)(out)


def _project(
  module: SelfAttention | CrossAttention,
  name: str,
  heads: int,
  axis: str,
  gain: float = 1.0,
) -> layers.Projection:
  return layers.Projection(
    shape=(module.width, heads, module.head_width),
    axes=("width", axis, "head_width"),
    contract=1,
    dtype=module.dtype,
    gain=gain,
    bias=getattr(module, "bias", False),
    name=name,
  )


def _output(module: SelfAttention | CrossAttention) -> layers.Projection:
  return layers.Projection(
    shape=(module.heads, module.head_width, module.width),
    axes=("heads", "head_width", "width"),
    contract=2,
    dtype=module.dtype,
    bias=getattr(module, "output_bias", False),
    name="out",
  )
