"""The decoder-only family: pre-norm, rotary positions, gated MLP."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from alignment_jax.models import attention, base, layers
from alignment_jax.ops import masking


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderSettings:
  """Shape of a decoder.

  Attributes:
    vocabulary_size: rows of the embedding.
    width: features of the residual stream.
    layers: how many blocks.
    heads: query heads of a block.
    kv_heads: key and value heads of a block; divides `heads`.
    head_width: features of a head; even.
    mlp_width: features inside the MLP.
    rope_theta: base of the rotary position embedding.
    norm_epsilon: added to the mean square in a norm.
    tied: whether the embedding is also the output layer.
    dropout: share of features dropped where a key is given.
    dtype: of the computation; parameters are float32.
  """

  vocabulary_size: int
  width: int
  layers: int
  heads: int
  kv_heads: int
  head_width: int
  mlp_width: int
  rope_theta: float = 10_000.0
  norm_epsilon: float = 1e-6
  tied: bool = True
  dropout: float = 0.0
  dtype: str = "float32"


def decoder(settings: DecoderSettings) -> base.Model:
  """A decoder-only model behind the border."""
  return base.make(Decoder(settings), settings)


class Block(nn.Module):
  """One layer; its keys and values are handed back for those who follow."""

  settings: DecoderSettings

  @nn.compact
  def __call__(self, x, prefix, position, mask, deterministic):
    s = self.settings
    dtype = jnp.dtype(s.dtype)

    def norm(name):
      return layers.RMSNorm(epsilon=s.norm_epsilon, dtype=dtype, name=name)

    def drop(y):
      return nn.Dropout(s.dropout, deterministic=deterministic)(y)

    y, new = attention.SelfAttention(
      heads=s.heads,
      kv_heads=s.kv_heads,
      head_width=s.head_width,
      width=s.width,
      scale=s.head_width**-0.5,
      query_gain=1.0,
      rope_theta=s.rope_theta,
      dtype=dtype,
      name="attention",
    )(norm("attention_norm")(x), position, mask, prefix=prefix)
    x = x + drop(y)
    y = layers.GatedMLP(
      width=s.width,
      mlp_width=s.mlp_width,
      activation=jax.nn.silu,
      dtype=dtype,
      name="mlp",
    )(norm("mlp_norm")(x))
    return x + drop(y), new


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
    self.blocks = layers.stacked(Block, s.layers, scanned=1, shared=3)(s)
    self.final_norm = layers.RMSNorm(epsilon=s.norm_epsilon, dtype=dtype)
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
    mask = attention.with_prefix(prompt.mask[:, :0], prompt.mask)
    x, (keys, values) = self.blocks(
      self.embedding(prompt.ids), None, position, mask, deterministic
    )
    return base.Context(
      last=self.final_norm(x[:, -1]),
      prefix=base.Memory(keys, values, prompt.mask, position),
      cross=None,
      position=masking.lengths(prompt.mask),
    )

  def read(self, ids, mask, positions, prefix, cross, deterministic=True):
    del cross
    x, (keys, values) = self.blocks(
      self.embedding(ids),
      (prefix.keys, prefix.values),
      positions,
      attention.with_prefix(prefix.mask, mask),
      deterministic,
    )
    return self.final_norm(x), base.Memory(keys, values, mask, positions)

  def unembed(self, hidden):
    if self.settings.tied:
      return self.embedding.logits(hidden)
    return self.unembedding(hidden)

  def initialise(self, tokens):
    return self.unembed(self.read_prompt(tokens).last)
