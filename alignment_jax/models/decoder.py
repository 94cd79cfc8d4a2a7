"""The decoder-only family: GPT-2, NeoX, Llama, Mistral, Qwen and Gemma.

They differ in norms, positions, biases, gates, windows and caps; each is a
setting, and `huggingface` says which architecture has which.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from alignment_jax.models import (
  attention,
  attention_kernels,
  base,
  layers,
  positions,
)
from alignment_jax.models.decoder_settings import DecoderSettings, local_layers
from alignment_jax.ops import masking
from alignment_jax.types import Tokens

# Of one layer or, behind the stack, of all; see `base.Memory` for the axes.
KeysAndValues = tuple[Array, Array]


def decoder(settings: DecoderSettings) -> base.Model:
  """A decoder-only model behind the border."""
  return base.make(Decoder(settings), settings, stack="blocks")


class Block(nn.Module):
  """One layer; returns the stream, and its keys and values for what follows.

  Called with the stream, then what each layer has for itself (keys and values
  of the prefix, whether it is local), then what all layers share: positions,
  masks, the order of the mask, frequencies. A pair of masks or frequencies is
  for (global, local) layers.
  """

  settings: DecoderSettings

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    prefix: KeysAndValues | None,
    local: Bool[Array, ""] | None,
    position: Int[Array, "B T"],
    masks: tuple[Bool[Array, "B #T S"], ...],
    order: attention_kernels.Order | None,
    frequencies: tuple[Float[Array, "F"], ...] | None,
    deterministic: bool,
    slot: Int[Array, ""] | None = None,
  ) -> tuple[Float[Array, "B T D"], KeysAndValues]:
    s = self.settings
    dtype = jnp.dtype(s.dtype)

    def drop(y: Array) -> Array:
      return nn.Dropout(s.dropout, deterministic=deterministic)(y)

    def post_norm(name: str, y: Array) -> Array:
      return _norm(s, name)(y) if s.post_norms else y

    def for_this_layer(pair: tuple[Array, ...]) -> Array:
      # One program runs all layers: which one this is, is known by a value.
      return pair[0] if local is None else jnp.where(local, pair[1], pair[0])

    def attend(y: Array) -> tuple[Array, KeysAndValues]:
      return attention.SelfAttention(
        heads=s.heads,
        kv_heads=s.kv_heads,
        head_width=s.head_width,
        width=s.width,
        scale=s.query_scale or s.head_width**-0.5,
        query_gain=1.0,
        dtype=dtype,
        bias=s.attention_bias,
        output_bias=s.output_bias,
        head_norm=(lambda name: _norm(s, name, "head_width"))
        if s.qk_norm
        else None,
        softcap=s.attention_softcap,
        kernel=s.attention,
        name="attention",
      )(
        y,
        position,
        for_this_layer(masks),
        prefix=prefix,
        frequencies=None
        if frequencies is None
        else for_this_layer(frequencies),
        order=order,
        slot=slot,
      )

    def mlp(y: Array) -> Array:
      return layers.MLP(
        width=s.width,
        mlp_width=s.mlp_width,
        activation=s.activation,
        dtype=dtype,
        gated=s.gated,
        bias=s.mlp_bias,
        name="mlp",
      )(y)

    def added(name: str, y: Array) -> Array:
      """What is added to the stream."""
      return drop(post_norm(name, y)).astype(layers.STREAM)

    y, memory = attend(_norm(s, "attention_norm")(x))
    y = added("attention_post_norm", y)
    # NeoX feeds attention and MLP the same stream; the others one after the
    # other.
    stream = x if s.parallel else x + y
    z = added("mlp_post_norm", mlp(_norm(s, "mlp_norm")(stream)))
    return (x + y + z if s.parallel else stream + z), memory


class Decoder(nn.Module):
  """The network; `base.Network` says what its methods mean."""

  settings: DecoderSettings

  def setup(self) -> None:
    s = self.settings
    dtype = jnp.dtype(s.dtype)
    self.embedding = layers.Embedding(
      vocabulary_size=s.vocabulary_size,
      width=s.width,
      deviation=0.02,
      dtype=dtype,
    )
    if s.learned_positions:
      self.position_embedding = layers.Embedding(
        vocabulary_size=s.learned_positions,
        width=s.width,
        deviation=0.02,
        dtype=dtype,
      )
    self.blocks = layers.stacked(
      Block, s.layers, scanned=2, shared=5, remat=s.remat
    )(s)
    self.final_norm = _norm(s)
    if not s.tied:
      self.unembedding = layers.Projection(
        shape=(s.width, s.vocabulary_size),
        axes=("width", "vocabulary"),
        contract=1,
        dtype=dtype,
        output_dtype=jnp.float32,
      )

  def read_prompt(
    self, prompt: Tokens, deterministic: bool = True
  ) -> base.Context:
    position = masking.positions(prompt.mask)
    x, (keys, values) = self._run(
      prompt.ids, prompt.mask, position, None, deterministic
    )
    return base.Context(
      # Prompts are padded on the left, so the last column is a real token.
      last=x[:, -1],
      prefix=base.Memory(keys, values, prompt.mask, position),
      cross=None,
      position=masking.lengths(prompt.mask),
    )

  def read(
    self,
    ids: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    positions: Int[Array, "B T"],
    prefix: base.Memory,
    cross: None,
    deterministic: bool = True,
  ) -> tuple[Float[Array, "B T D"], base.Memory]:
    del cross
    x, (keys, values) = self._run(ids, mask, positions, prefix, deterministic)
    return x, base.Memory(keys, values, mask, positions)

  def _run(
    self,
    ids: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    position: Int[Array, "B T"],
    prefix: base.Memory | None,
    deterministic: bool,
  ) -> tuple[Float[Array, "B T D"], KeysAndValues]:
    """States after the last norm, and keys and values of every layer."""
    s = self.settings
    x = self._embed(ids, position)
    prefix_mask = mask[:, :0] if prefix is None else prefix.mask
    seen = attention.with_prefix(prefix_mask, mask)
    # An order has one window, which a mixture of layers has not.
    order = (
      None
      if s.window and s.global_every
      else attention.order_with_prefix(prefix_mask, mask, s.window)
    )
    key_position = position
    if prefix is not None:
      key_position = jnp.concatenate([prefix.positions, position], axis=1)
    local = jnp.asarray(local_layers(s)) if s.window else None
    x, memory = self.blocks(
      x,
      None if prefix is None else (prefix.keys, prefix.values),
      local,
      position,
      _masks(s, seen, position, key_position),
      order,
      _frequencies(s),
      deterministic,
    )
    return self.final_norm(x), memory

  def feed(
    self,
    ids: Int[Array, "B"],
    cache: base.Cache,
    layers: tuple[base.Params, ...],
  ) -> tuple[Float[Array, "B D"], tuple[KeysAndValues, ...]]:
    s = self.settings
    position, prefix = cache.position[:, None], cache.prefix
    masks = _masks(s, prefix.mask[:, None], position, prefix.positions)
    frequencies = _frequencies(s)
    x, pairs = self._embed(ids[:, None], position), []
    for layer, keys, values, local in zip(
      layers, prefix.keys, prefix.values, local_layers(s), strict=True
    ):
      # Of (global, local) the one: here each layer is a program of its own.
      kind = int(local)
      x, pair = Block(s, parent=None).apply(
        {"params": layer},
        x,
        (keys, values),
        None,
        position,
        masks[kind:] if s.window else masks,
        None,
        None if frequencies is None else frequencies[kind:],
        True,
        cache.slot,
      )
      pairs.append(pair)
    return self.final_norm(x)[:, 0], tuple(pairs)

  def _embed(
    self, ids: Int[Array, "B T"], position: Int[Array, "B T"]
  ) -> Float[Array, "B T D"]:
    s = self.settings
    x = self.embedding(ids)
    if s.embedding_scale != 1.0:
      # Rounded to the dtype of the computation, as the released Gemma does.
      x = x * jnp.asarray(s.embedding_scale, s.dtype).astype(x.dtype)
    if s.learned_positions:
      x = x + self.position_embedding(position)
    return x

  def unembed(self, hidden: Float[Array, "*batch D"]) -> Array:
    if self.settings.tied:
      logits = self.embedding.logits(hidden)
    else:
      logits = self.unembedding(hidden)
    cap = self.settings.final_softcap
    return cap * jnp.tanh(logits / cap) if cap else logits

  def initialize(self, prompt: Tokens) -> Array:
    return self.unembed(self.read_prompt(prompt).last)


def _masks(
  s: DecoderSettings,
  seen: Bool[Array, "B #T S"],
  position: Int[Array, "B T"],
  key_position: Int[Array, "B S"],
) -> tuple[Bool[Array, "B #T S"], ...]:
  """What global and local layers see; without a window the first alone."""
  if not s.window:
    return (seen,)
  # Positions count real tokens, so padding between them takes no room in a
  # window. A key that comes later has a negative distance; `seen` excludes it.
  distance = position[:, :, None] - key_position[:, None]
  return seen, seen & (distance < s.window)


def _frequencies(
  s: DecoderSettings,
) -> tuple[Float[Array, "F"], Float[Array, "F"]] | None:
  """Radians per position in global and in local layers; None if not rotary."""
  if s.learned_positions:
    return None
  width = int(s.head_width * s.rope_share)
  scaled = positions.frequencies(
    width,
    theta=s.rope_theta,
    factor=s.rope_factor,
    original_length=s.rope_original_length,
    low=s.rope_low,
    high=s.rope_high,
  )
  if not s.local_rope_theta:
    return jnp.asarray(scaled), jnp.asarray(scaled)
  local = positions.frequencies(width, theta=s.local_rope_theta)
  return jnp.asarray(scaled), jnp.asarray(local)


def _norm(
  s: DecoderSettings, name: str | None = None, axis: str = "width"
) -> layers.RMSNorm | layers.LayerNorm:
  dtype = jnp.dtype(s.dtype)
  if s.norm == "layer":
    return layers.LayerNorm(
      epsilon=s.norm_epsilon, dtype=dtype, axis=axis, name=name
    )
  return layers.RMSNorm(
    epsilon=s.norm_epsilon,
    dtype=dtype,
    offset=s.norm_offset,
    axis=axis,
    name=name,
  )
