"""The decoder-only family: GPT-2, NeoX, Llama, Mistral, Qwen and Gemma.

They differ in norms, positions, biases, gates, windows and caps; each is a
setting here, and `huggingface` says which architecture has which.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from alignment_jax.models import (
  attention,
  attention_choice,
  base,
  layers,
  positions,
)
from alignment_jax.ops import masking


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderSettings:
  """Shape of a decoder. The defaults are Llama's.

  Attributes:
    vocabulary_size: rows of the embedding.
    width: features of the residual stream.
    layers: how many blocks.
    heads: query heads of a block.
    kv_heads: key and value heads of a block; divides `heads`.
    head_width: features of a head; even.
    mlp_width: features inside the MLP.
    norm: `rms`, or `layer` with a bias.
    norm_epsilon: added to the mean square in a norm.
    norm_offset: added to a norm's scale; 1 in Gemma.
    post_norms: whether attention and MLP are normed again behind; Gemma 2 on.
    parallel: whether attention and MLP read the same stream; NeoX.
    activation: a key of `layers.ACTIVATIONS`.
    gated: whether the MLP is gated.
    attention_bias: whether queries, keys and values add a vector.
    output_bias: whether attention's output does.
    mlp_bias: whether the MLP does.
    qk_norm: whether queries and keys are normed per head; Qwen 3, Gemma 3.
    query_scale: factor on attention's logits; 0 for head_width^-1/2.
    learned_positions: rows of a position embedding; 0 for rotary positions.
    rope_theta: base of the rotary position embedding.
    rope_share: share of a head's features that it rotates.
    rope_factor: see `positions.frequencies`, as the next three.
    rope_original_length: see there.
    rope_low: see there.
    rope_high: see there.
    local_rope_theta: base in the layers with a window; 0 for the same, without
      scaling otherwise.
    window: tokens that a local layer looks back, itself included; 0 for all.
    global_every: every so manieth layer looks at all; 0 for none, if `window`.
    attention_softcap: see `attention.attend`; 0 for none.
    final_softcap: the same on the output logits.
    embedding_scale: factor on the embedding; sqrt(width) in Gemma.
    tied: whether the embedding is also the output layer.
    architecture: whose checkpoints it reads and writes; see `architectures`.
    max_length: tokens that it was made for, told to others; 0 if not known.
    remat: what the backward pass computes again; see `layers.stacked`.
    attention: `auto`, or a key of `attention_choice.KERNELS`.
    dropout: share of features dropped where a key is given.
    dtype: of the computation within the blocks; parameters and the residual
      stream are float32.
  """

  vocabulary_size: int
  width: int
  layers: int
  heads: int
  kv_heads: int
  head_width: int
  mlp_width: int
  norm: str = "rms"
  norm_epsilon: float = 1e-6
  norm_offset: float = 0.0
  post_norms: bool = False
  parallel: bool = False
  activation: str = "silu"
  gated: bool = True
  attention_bias: bool = False
  output_bias: bool = False
  mlp_bias: bool = False
  qk_norm: bool = False
  query_scale: float = 0.0
  learned_positions: int = 0
  rope_theta: float = 10_000.0
  rope_share: float = 1.0
  rope_factor: float = 1.0
  rope_original_length: int = 0
  rope_low: float = 1.0
  rope_high: float = 4.0
  local_rope_theta: float = 0.0
  window: int = 0
  global_every: int = 0
  attention_softcap: float = 0.0
  final_softcap: float = 0.0
  embedding_scale: float = 1.0
  tied: bool = True
  architecture: str = "llama"
  max_length: int = 0
  remat: str = "none"
  attention: str = attention_choice.AUTO
  dropout: float = 0.0
  dtype: str = "float32"

  def __post_init__(self):
    for name, allowed in (
      ("norm", ("rms", "layer")),
      ("activation", tuple(layers.ACTIVATIONS)),
      ("remat", layers.REMATS),
      ("attention", (attention_choice.AUTO, *attention_choice.KERNELS)),
    ):
      if getattr(self, name) not in allowed:
        raise ValueError(
          f"{name} must be one of {', '.join(allowed)}, got"
          f" '{getattr(self, name)}'"
        )
    if self.heads % self.kv_heads:
      raise ValueError(
        f"kv_heads must divide heads, got {self.kv_heads} and {self.heads}"
      )


def decoder(settings: DecoderSettings) -> base.Model:
  """A decoder-only model behind the border."""
  return base.make(Decoder(settings), settings, stack="blocks")


class Block(nn.Module):
  """One layer; its keys and values are handed back for those who follow.

  Called with the stream, what is its own (keys and values of the prefix,
  whether it is local), and what all layers share: positions, masks for global
  and local layers, the order of the mask if it is one for all, frequencies for
  the two. Then the slot of `SelfAttention`.
  """

  settings: DecoderSettings

  @nn.compact
  def __call__(
    self,
    x,
    prefix,
    local,
    position,
    masks,
    order,
    frequencies,
    deterministic,
    slot=None,
  ):
    s = self.settings
    dtype = jnp.dtype(s.dtype)

    def drop(y):
      return nn.Dropout(s.dropout, deterministic=deterministic)(y)

    def after(name, y):
      return _norm(s, name)(y) if s.post_norms else y

    def own(pair):
      """Of a pair (global, local), the one for this layer."""
      return pair[0] if local is None else jnp.where(local, pair[1], pair[0])

    def attend(y):
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
        own(masks),
        prefix=prefix,
        frequencies=None if frequencies is None else own(frequencies),
        order=order,
        slot=slot,
      )

    def mlp(y):
      return layers.MLP(
        width=s.width,
        mlp_width=s.mlp_width,
        activation=s.activation,
        dtype=dtype,
        gated=s.gated,
        bias=s.mlp_bias,
        name="mlp",
      )(y)

    def added(name, y):
      return drop(after(name, y)).astype(layers.STREAM)

    y, new = attend(_norm(s, "attention_norm")(x))
    y = added("attention_post_norm", y)
    stream = x if s.parallel else x + y
    z = added("mlp_post_norm", mlp(_norm(s, "mlp_norm")(stream)))
    return (x + y + z if s.parallel else stream + z), new


class Decoder(nn.Module):
  """The network; `base.Network` says what its methods mean."""

  settings: DecoderSettings

  def setup(self):
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

  def read_prompt(self, prompt, deterministic=True):
    position = masking.positions(prompt.mask)
    x, (keys, values) = self._run(
      prompt.ids, None, prompt.mask, position, None, deterministic
    )
    return base.Context(
      last=x[:, -1],
      prefix=base.Memory(keys, values, prompt.mask, position),
      cross=None,
      position=masking.lengths(prompt.mask),
    )

  def read(self, ids, mask, positions, prefix, cross, deterministic=True):
    del cross
    x, (keys, values) = self._run(
      ids, (prefix.keys, prefix.values), mask, positions, prefix, deterministic
    )
    return x, base.Memory(keys, values, mask, positions)

  def _run(self, ids, memory, mask, position, prefix, deterministic):
    """States after the last norm, and keys and values of every layer."""
    s = self.settings
    x = self._embed(ids, position)
    before = mask[:, :0] if prefix is None else prefix.mask
    seen = attention.with_prefix(before, mask)
    # Which layer is local is not known where all of them are one program.
    order = (
      None
      if s.window and s.global_every
      else attention.order_with_prefix(before, mask, s.window)
    )
    there = position
    if prefix is not None:
      there = jnp.concatenate([prefix.positions, position], axis=1)
    local = jnp.asarray(local_layers(s)) if s.window else None
    x, new = self.blocks(
      x,
      memory,
      local,
      position,
      _masks(s, seen, position, there),
      order,
      _frequencies(s),
      deterministic,
    )
    return self.final_norm(x), new

  def feed(self, ids, cache, layers):
    s = self.settings
    position, prefix = cache.position[:, None], cache.prefix
    masks = _masks(s, prefix.mask[:, None], position, prefix.positions)
    frequencies = _frequencies(s)
    x, pairs = self._embed(ids[:, None], position), []
    for layer, keys, values, local in zip(
      layers, prefix.keys, prefix.values, local_layers(s), strict=True
    ):
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

  def _embed(self, ids, position):
    s = self.settings
    x = self.embedding(ids)
    if s.embedding_scale != 1.0:
      # Rounded to the dtype of the computation, as the released Gemma does.
      x = x * jnp.asarray(s.embedding_scale, s.dtype).astype(x.dtype)
    if s.learned_positions:
      x = x + self.position_embedding(position)
    return x

  def unembed(self, hidden):
    if self.settings.tied:
      logits = self.embedding.logits(hidden)
    else:
      logits = self.unembedding(hidden)
    cap = self.settings.final_softcap
    return cap * jnp.tanh(logits / cap) if cap else logits

  def initialise(self, tokens):
    return self.unembed(self.read_prompt(tokens).last)


def local_layers(settings: DecoderSettings) -> np.ndarray:
  """Which layers have the window, [L] bool."""
  place = np.arange(1, settings.layers + 1)
  every = settings.global_every
  return np.full(len(place), True) if every == 0 else place % every != 0


def _masks(s, seen, position, there):
  """What global and local layers see; the first alone without a window."""
  if not s.window:
    return (seen,)
  distance = position[:, :, None] - there[:, None]
  return seen, seen & (distance < s.window)


def _frequencies(s):
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


def _norm(s, name=None, axis="width"):
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
