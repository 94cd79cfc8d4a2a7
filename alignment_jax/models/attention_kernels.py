"""Three ways to compute attention; XLA's runs everywhere.

They take the same arguments; `attention_choice` says what each can run.
"""

import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Of splash attention: what it reads at once is a multiple of this.
BLOCK = 128


@flax.struct.dataclass
class Order:
  """A causal mask by its parts; kernels that never hold [T, S] need them.

  The queries are the last T of the S keys, and a query sees the real keys up to
  itself. Real tokens stand without gaps, so a window over columns is one over
  positions.

  Attributes:
    queries: which queries are real.
    keys: which keys are.
    window: keys that a query looks back, itself included; 0 for all.
  """

  queries: Bool[Array, "B T"]
  keys: Bool[Array, "B S"]
  window: int = flax.struct.field(pytree_node=False, default=0)


def xla(
  query: Float[Array, "B T N D"],
  key: Float[Array, "B S H D"],
  value: Float[Array, "B S H D"],
  *,
  mask: Bool[Array, "B #T S"],
  order: Order | None,
  bias: Float[Array, "#B N T S"] | None,
  scale: float,
  softcap: float,
) -> Float[Array, "B T N D"]:
  """Plain matrix products and a softmax in float32."""
  del order
  if softcap or query.shape[1] == 1:
    return _plain(query, key, value, mask, bias, scale, softcap)
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


def cudnn(
  query: Float[Array, "B T N D"],
  key: Float[Array, "B S H D"],
  value: Float[Array, "B S H D"],
  *,
  mask: Bool[Array, "B #T S"],
  order: Order | None,
  bias: None,
  scale: float,
  softcap: float,
) -> Float[Array, "B T N D"]:
  """NVIDIA's flash attention; the mask is a bias to it."""
  del order, bias, softcap
  count = query.shape[1]
  mask = jnp.broadcast_to(mask, (len(mask), count, key.shape[1]))
  # Its backward pass wants even lengths where there is a mask.
  query, key, value = (_lengthened(x, 2) for x in (query, key, value))
  mask = _lengthened(jnp.swapaxes(_lengthened(mask, 2), 1, 2), 2)
  with jax.numpy_dtype_promotion("standard"):
    out = jax.nn.dot_product_attention(
      query,
      key,
      value,
      mask=jnp.swapaxes(mask, 1, 2)[:, None],
      scale=scale,
      implementation="cudnn",
    )
  return out[:, :count]


def splash(
  query: Float[Array, "B T N D"],
  key: Float[Array, "B S H D"],
  value: Float[Array, "B S H D"],
  *,
  mask: Bool[Array, "B #T S"],
  order: Order,
  bias: None,
  scale: float,
  softcap: float,
  interpret: bool = False,
) -> Float[Array, "B T N D"]:
  """Splash attention, Pallas' flash attention for TPUs.

  Blocks above the diagonal or outside the window are never read. Lengths are
  padded to full blocks. Padded queries get other numbers than from the other
  kernels: here they see each other.

  Args: as `attention.attend`; `interpret` runs it anywhere, slowly.
  """
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel as pallas,
  )
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask as static,
  )

  del mask, bias
  count, heads = query.shape[1:3]
  offset = key.shape[1] - count
  # It has no scale of its own.
  query = (query.astype(jnp.float32) * scale).astype(query.dtype)
  query, key, value, queries, keys = (
    _lengthened(x, BLOCK)
    for x in (query, key, value, order.queries, order.keys)
  )
  shape = (query.shape[1], key.shape[1])
  causal = (
    static.LocalMask(shape, (order.window - 1, 0), offset)
    if order.window
    else static.CausalMask(shape, offset)
  )
  q, kv = (math.gcd(size, 4 * BLOCK) for size in shape)
  with jax.numpy_dtype_promotion("standard"):
    kernel = pallas.make_splash_mha_single_device(
      static.MultiHeadMask([causal] * heads),
      block_sizes=pallas.BlockSizes(
        block_q=q,
        block_kv=kv,
        block_q_dkv=q,
        block_kv_dkv=kv,
        block_q_dq=q,
        block_kv_dq=kv,
      ),
      attn_logits_soft_cap=softcap or None,
      interpret=interpret,
    )

    def row(
      query: Float[Array, "N T D"],
      key: Float[Array, "H S D"],
      value: Float[Array, "H S D"],
      queries: Bool[Array, "T"],
      keys: Bool[Array, "S"],
    ) -> Any:
      # Tokens see those of the same number: real ones see real ones.
      segments = pallas.SegmentIds(
        queries.astype(jnp.int32), keys.astype(jnp.int32)
      )
      return kernel(query, key, value, segment_ids=segments)

    query, key, value = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))
    out = jax.vmap(row)(query, key, value, queries, keys)
  return jnp.swapaxes(out, 1, 2)[:, :count]


def _lengthened(array: Array, unit: int) -> Array:
  """Padded along axis 1 to a multiple of `unit`, with 0 or False."""
  padding = [(0, 0)] * array.ndim
  padding[1] = (0, -array.shape[1] % unit)
  return jnp.pad(array, padding)


def _plain(
  query: Float[Array, "B T N D"],
  key: Float[Array, "B S H D"],
  value: Float[Array, "B S H D"],
  mask: Bool[Array, "B #T S"],
  bias: Float[Array, "#B N T S"] | None,
  scale: float,
  softcap: float,
) -> Float[Array, "B T N D"]:
  """Products with the heads in front, as a cache holds them.

  That keeps both in the fast path of XLA on CPU.
  """
  rows, count, heads, width = query.shape
  key, value = (jnp.swapaxes(array, 1, 2) for array in (key, value))
  query = jnp.swapaxes(query, 1, 2).reshape(
    rows, key.shape[1], -1, count, width
  )
  logits = scale * jnp.einsum(
    "bngtd,bnsd->bngts", query, key, preferred_element_type=jnp.float32
  )
  if softcap:
    logits = softcap * jnp.tanh(logits / softcap)
  if bias is not None:
    logits = logits + bias.astype(jnp.float32).reshape(
      bias.shape[0], *query.shape[1:3], *bias.shape[2:]
    )
  # Not -inf: a query that sees nothing would have a softmax of NaN.
  logits = jnp.where(mask[:, None, None], logits, jnp.finfo(jnp.float32).min)
  weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
  out = jnp.einsum("bngts,bnsd->bngtd", weights, value)
  return jnp.swapaxes(out.reshape(rows, heads, count, width), 1, 2)
