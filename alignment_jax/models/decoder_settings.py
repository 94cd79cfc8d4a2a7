"""What tells one decoder from another: the shape, and what its blocks do."""

import dataclasses

import numpy as np

from alignment_jax.models import attention_choice
from alignment_jax.models.settings import check_choices


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
    post_norms: whether the outputs of attention and MLP are normed too; Gemma 2
      and later.
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
    window: tokens that a local layer attends to, the newest included; 0 for no
      local layers.
    global_every: with a window, every k-th layer attends globally; 0 for none.
    attention_softcap: see `attention.attend`; 0 for none.
    final_softcap: the same on the output logits.
    embedding_scale: factor on the embedding; sqrt(width) in Gemma.
    tied: whether the embedding is also the output layer.
    architecture: whose checkpoints it reads and writes; see `architectures`.
    max_length: tokens of the context it was made for; 0 if unknown. It limits
      nothing here and is written to exported configs.
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

  def __post_init__(self) -> None:
    check_choices(self, norm=("rms", "layer"))
    if self.heads % self.kv_heads:
      raise ValueError(
        f"kv_heads must divide heads, got {self.kv_heads} and {self.heads}"
      )


def local_layers(settings: DecoderSettings) -> np.ndarray:
  """Which layers have the window, [L] bool."""
  number = np.arange(1, settings.layers + 1)
  every = settings.global_every
  return np.full(len(number), True) if every == 0 else number % every != 0
