"""The encoder-decoder family: T5 1.0 and 1.1, FLAN, mT5 and UL2."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from alignment_jax.models import (
  attention,
  attention_choice,
  base,
  decode_layout,
  layers,
  positions,
)
from alignment_jax.models.settings import check_choices
from alignment_jax.types import Tokens

# Of one layer or, behind the stack, of all; see `base.Memory` for the axes.
KeysAndValues = tuple[Array, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class T5Settings:
  """Shape of a T5 (Raffel et al., 2020, arXiv:1910.10683).

  Attributes:
    vocabulary_size: rows of the embedding.
    width: features of the residual stream.
    encoder_layers: blocks of the encoder.
    decoder_layers: blocks of the decoder.
    heads: of every attention.
    head_width: features of a head.
    mlp_width: features inside the MLP.
    buckets: how many relative positions are told apart.
    max_distance: positions further apart than this share a bucket.
    norm_epsilon: added to the mean square in a norm.
    tied: whether the embedding is also the output layer.
    scaled_logits: whether the state is scaled by width^-1/2 before it; in
      version 1.0, which is also tied.
    gated: gated MLPs, as in version 1.1, mT5 and UL2; False for 1.0.
    activation: a key of `layers.ACTIVATIONS`.
    architecture: whose checkpoints it reads and writes: `t5` or `mt5`.
    remat: what the backward pass computes again; see `layers.stacked`.
    attention: `auto`, or a key of `attention_choice.KERNELS`; self-attention
      has a bias.
    start_id: what the decoder reads before the first response token.
    dropout: share of features dropped where a key is given.
    dtype: of the computation within the blocks; parameters and the residual
      stream are float32.
  """

  vocabulary_size: int
  width: int
  encoder_layers: int
  decoder_layers: int
  heads: int
  head_width: int
  mlp_width: int
  buckets: int = 32
  max_distance: int = 128
  norm_epsilon: float = 1e-6
  tied: bool = False
  scaled_logits: bool = False
  gated: bool = True
  activation: str = "gelu_tanh"
  architecture: str = "t5"
  remat: str = "none"
  attention: str = attention_choice.AUTO
  start_id: int = 0
  dropout: float = 0.0
  dtype: str = "float32"

  def __post_init__(self) -> None:
    check_choices(self)


def t5(settings: T5Settings) -> base.Model:
  """An encoder-decoder model behind the border."""
  return base.make(T5(settings), settings, stack="decoder")


class PositionBias(nn.Module):
  """What attention adds for the distance between query and key, per head."""

  settings: T5Settings
  bidirectional: bool

  @nn.compact
  def __call__(
    self, query_positions: Int[Array, "T"], key_positions: Int[Array, "S"]
  ) -> Float[Array, "1 N T S"]:
    s = self.settings
    table = layers.parameter(
      self,
      "table",
      nn.initializers.normal(s.width**-0.5),
      axes=("buckets", "heads"),
      shape=(s.buckets, s.heads),
    )
    bucket = positions.relative_bucket(
      key_positions[None, :] - query_positions[:, None],
      bidirectional=self.bidirectional,
      buckets=s.buckets,
      max_distance=s.max_distance,
    )
    return jnp.moveaxis(table[bucket], -1, 0)[None]


class EncoderBlock(nn.Module):
  """One layer of the encoder."""

  settings: T5Settings

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    mask: Bool[Array, "B 1 T"],
    bias: Float[Array, "1 N T T"],
    deterministic: bool,
  ) -> tuple[Float[Array, "B T D"], None]:
    x, _ = _attend_to_self(self, x, mask, None, bias, deterministic)
    return _mlp(self, x, deterministic), None


class DecoderBlock(nn.Module):
  """One layer of the decoder."""

  settings: T5Settings

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    prefix: KeysAndValues,
    cross: KeysAndValues,
    mask: Bool[Array, "B #T S"],
    cross_mask: Bool[Array, "B 1 M"],
    bias: Float[Array, "1 N T S"],
    deterministic: bool,
    slot: Int[Array, ""] | None = None,
  ) -> tuple[Float[Array, "B T D"], KeysAndValues]:
    s = self.settings
    x, memory = _attend_to_self(
      self, x, mask, prefix, bias, deterministic, slot
    )
    y = attention.CrossAttention(
      heads=s.heads,
      head_width=s.head_width,
      width=s.width,
      scale=1.0,
      query_gain=1 / s.head_width,
      dtype=jnp.dtype(s.dtype),
      kernel=s.attention,
      name="cross_attention",
    )(_norm(s, "cross_attention_norm")(x), cross, cross_mask)
    x = x + _added(self, y, deterministic)
    return _mlp(self, x, deterministic), memory


class T5(nn.Module):
  """The network; `base.Network` says what its methods mean."""

  settings: T5Settings

  def setup(self) -> None:
    s = self.settings
    dtype = jnp.dtype(s.dtype)
    self.embedding = layers.Embedding(
      vocabulary_size=s.vocabulary_size,
      width=s.width,
      deviation=1.0,
      dtype=dtype,
    )
    self.encoder_bias = PositionBias(s, bidirectional=True)
    self.encoder = layers.stacked(
      EncoderBlock, s.encoder_layers, scanned=0, shared=3, remat=s.remat
    )(s)
    self.encoder_norm = _norm(s)
    shape = (s.width, s.decoder_layers, s.heads, s.head_width)
    axes = ("width", "layers", "heads", "head_width")
    self.cross_keys = layers.Projection(shape, axes, 1, dtype)
    self.cross_values = layers.Projection(shape, axes, 1, dtype)
    self.decoder_bias = PositionBias(s, bidirectional=False)
    self.decoder = layers.stacked(
      DecoderBlock, s.decoder_layers, scanned=2, shared=4, remat=s.remat
    )(s)
    self.decoder_norm = _norm(s)
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
    rows, count = prompt.ids.shape
    # Real tokens are contiguous, so distances between indices are distances
    # between positions.
    index = jnp.arange(count)
    x, _ = self.encoder(
      self.embedding(prompt.ids),
      prompt.mask[:, None],
      self.encoder_bias(index, index),
      deterministic,
    )
    x = self.encoder_norm(x)
    cross = base.Memory(
      keys=jnp.moveaxis(self.cross_keys(x), 2, 0),
      values=jnp.moveaxis(self.cross_values(x), 2, 0),
      mask=prompt.mask,
      positions=jnp.broadcast_to(index, (rows, count)),
    )
    start = jnp.full((rows, 1), self.settings.start_id, jnp.int32)
    last, prefix = self.read(
      start,
      jnp.ones((rows, 1), bool),
      jnp.zeros((rows, 1), jnp.int32),
      self._empty_memory(rows),
      cross,
      deterministic,
    )
    return base.Context(
      last=last[:, 0],
      prefix=prefix,
      cross=cross,
      position=jnp.ones((rows,), jnp.int32),
    )

  def read(
    self,
    ids: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    positions: Int[Array, "B T"],
    prefix: base.Memory,
    cross: base.Memory,
    deterministic: bool = True,
  ) -> tuple[Float[Array, "B T D"], base.Memory]:
    # Every row begins with the start token, so one row's positions serve all.
    bias = self.decoder_bias(
      positions[0], jnp.concatenate([prefix.positions[0], positions[0]])
    )
    x, (keys, values) = self.decoder(
      self.embedding(ids),
      (prefix.keys, prefix.values),
      (cross.keys, cross.values),
      attention.with_prefix(prefix.mask, mask),
      cross.mask[:, None],
      bias,
      deterministic,
    )
    return self.decoder_norm(x), base.Memory(keys, values, mask, positions)

  def feed(
    self,
    ids: Int[Array, "B"],
    cache: base.Cache,
    layers: tuple[base.Params, ...],
  ) -> tuple[Float[Array, "B D"], tuple[KeysAndValues, ...]]:
    prefix, cross = cache.prefix, cache.cross
    assert cross is not None  # As `read_prompt` made it.
    bias = self.decoder_bias(cache.position[:1], prefix.positions[0])
    x, pairs = self.embedding(ids[:, None]), []
    for layer, keys, values, *memory in zip(
      layers,
      prefix.keys,
      prefix.values,
      cross.keys,
      cross.values,
      strict=True,
    ):
      x, pair = DecoderBlock(self.settings, parent=None).apply(
        {"params": layer},
        x,
        (keys, values),
        decode_layout.from_slots(*memory),
        prefix.mask[:, None],
        cross.mask[:, None],
        bias,
        True,
        cache.slot,
      )
      pairs.append(pair)
    return self.decoder_norm(x)[:, 0], tuple(pairs)

  def unembed(self, hidden: Float[Array, "*batch D"]) -> Array:
    if self.settings.scaled_logits:
      hidden = hidden * jnp.asarray(self.settings.width**-0.5, hidden.dtype)
    if self.settings.tied:
      return self.embedding.logits(hidden)
    return self.unembedding(hidden)

  def initialize(self, prompt: Tokens) -> Array:
    return self.unembed(self.read_prompt(prompt).last)

  def _empty_memory(self, rows: int) -> base.Memory:
    s = self.settings
    empty = jnp.zeros(
      (s.decoder_layers, rows, 0, s.heads, s.head_width), jnp.dtype(s.dtype)
    )
    return base.Memory(
      keys=empty,
      values=empty,
      mask=jnp.zeros((rows, 0), bool),
      positions=jnp.zeros((rows, 0), jnp.int32),
    )


def _norm(settings: T5Settings, name: str | None = None) -> layers.RMSNorm:
  return layers.RMSNorm(
    epsilon=settings.norm_epsilon, dtype=jnp.dtype(settings.dtype), name=name
  )


def _attend_to_self(
  block: EncoderBlock | DecoderBlock,
  x: Float[Array, "B T D"],
  mask: Bool[Array, "B #T S"],
  prefix: KeysAndValues | None,
  bias: Float[Array, "1 N T S"],
  deterministic: bool,
  slot: Int[Array, ""] | None = None,
) -> tuple[Float[Array, "B T D"], KeysAndValues]:
  s = block.settings
  y, memory = attention.SelfAttention(
    heads=s.heads,
    kv_heads=s.heads,
    head_width=s.head_width,
    width=s.width,
    scale=1.0,
    query_gain=1 / s.head_width,
    dtype=jnp.dtype(s.dtype),
    kernel=s.attention,
    name="attention",
  )(
    _norm(s, "attention_norm")(x),
    None,
    mask,
    prefix=prefix,
    bias=bias,
    slot=slot,
  )
  return x + _added(block, y, deterministic), memory


def _mlp(
  block: EncoderBlock | DecoderBlock,
  x: Float[Array, "B T D"],
  deterministic: bool,
) -> Float[Array, "B T D"]:
  s = block.settings
  # The way back stays in float32: its sums overflow float16 in large T5s.
  y = layers.MLP(
    width=s.width,
    mlp_width=s.mlp_width,
    activation=s.activation,
    dtype=jnp.dtype(s.dtype),
    gated=s.gated,
    output_dtype=jnp.float32,
    name="mlp",
  )(_norm(s, "mlp_norm")(x))
  return x + _added(block, y, deterministic)


def _added(
  block: EncoderBlock | DecoderBlock,
  y: Float[Array, "B T D"],
  deterministic: bool,
) -> Float[Array, "B T D"]:
  """What is added to the stream."""
  y = nn.Dropout(block.settings.dropout, deterministic=deterministic)(y)
  return y.astype(layers.STREAM)
