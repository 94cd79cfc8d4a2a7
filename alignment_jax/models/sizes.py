"""Published sizes, by name: settings only, no weights.

Each is what the `config.json` of the named checkpoint on the Hugging Face hub
says, in our words. `huggingface.load` reads a checkpoint without any of this;
the names are for planning and for training such a model from nothing.
"""

from typing import Any

from alignment_jax.models.decoder_settings import DecoderSettings
from alignment_jax.models.t5 import T5Settings

Settings = DecoderSettings | T5Settings


def _t5(
  width: int,
  layers: int,
  heads: int,
  head_width: int,
  mlp_width: int,
  **settings: Any,
) -> T5Settings:
  return T5Settings(
    **{
      "vocabulary_size": 32_128,
      "width": width,
      "encoder_layers": layers,
      "decoder_layers": layers,
      "heads": heads,
      "head_width": head_width,
      "mlp_width": mlp_width,
      **settings,
    }
  )


def _t5_10(*shape: int) -> T5Settings:
  return _t5(
    *shape, tied=True, scaled_logits=True, gated=False, activation="relu"
  )


def _gpt2(width: int, layers: int, heads: int) -> DecoderSettings:
  return DecoderSettings(
    architecture="gpt2",
    vocabulary_size=50_257,
    width=width,
    layers=layers,
    heads=heads,
    kv_heads=heads,
    head_width=width // heads,
    mlp_width=4 * width,
    norm="layer",
    norm_epsilon=1e-5,
    activation="gelu_tanh",
    gated=False,
    attention_bias=True,
    output_bias=True,
    mlp_bias=True,
    learned_positions=1024,
  )


def _pythia(
  width: int, layers: int, heads: int, vocabulary_size: int = 50_304
) -> DecoderSettings:
  return DecoderSettings(
    architecture="gpt_neox",
    vocabulary_size=vocabulary_size,
    width=width,
    layers=layers,
    heads=heads,
    kv_heads=heads,
    head_width=width // heads,
    mlp_width=4 * width,
    norm="layer",
    norm_epsilon=1e-5,
    parallel=True,
    activation="gelu",
    gated=False,
    attention_bias=True,
    output_bias=True,
    mlp_bias=True,
    rope_share=0.25,
    max_length=2048,
    tied=False,
  )


def _decoder(
  width: int,
  layers: int,
  heads: int,
  kv_heads: int,
  head_width: int,
  mlp_width: int,
  **settings: Any,
) -> DecoderSettings:
  return DecoderSettings(
    width=width,
    layers=layers,
    heads=heads,
    kv_heads=kv_heads,
    head_width=head_width,
    mlp_width=mlp_width,
    **settings,
  )


_LLAMA_3: dict[str, Any] = dict(
  vocabulary_size=128_256,
  norm_epsilon=1e-5,
  rope_theta=500_000.0,
  max_length=8192,
)
_LLAMA_31 = _LLAMA_3 | dict(
  rope_factor=8.0, rope_original_length=8192, max_length=131_072
)
_LLAMA_32 = _LLAMA_31 | dict(rope_factor=32.0)
_QWEN: dict[str, Any] = dict(rope_theta=1e6, vocabulary_size=151_936)
_QWEN_2 = _QWEN | dict(
  architecture="qwen2", attention_bias=True, max_length=32_768
)
_QWEN_3 = _QWEN | dict(architecture="qwen3", qk_norm=True, max_length=40_960)


def _gemma(
  width: int, *shape: int, architecture: str = "gemma", **settings: Any
) -> DecoderSettings:
  return _decoder(
    width,
    *shape,
    architecture=architecture,
    norm_offset=1.0,
    embedding_scale=width**0.5,
    activation="gelu_tanh",
    **{"vocabulary_size": 256_000, "max_length": 8192, **settings},
  )


def _gemma2(*shape: int, scale: int) -> DecoderSettings:
  return _gemma(
    *shape,
    architecture="gemma2",
    post_norms=True,
    query_scale=scale**-0.5,
    attention_softcap=50.0,
    final_softcap=30.0,
    window=4096,
    global_every=2,
  )


def _gemma3(*shape: int) -> DecoderSettings:
  return _gemma(
    *shape,
    architecture="gemma3_text",
    post_norms=True,
    qk_norm=True,
    query_scale=256**-0.5,
    window=512,
    global_every=6,
    rope_theta=1e6,
    local_rope_theta=1e4,
    vocabulary_size=262_144,
    max_length=32_768,
  )


# Name -> settings. The checkpoint it is taken from stands behind each group.
SIZES: dict[str, Settings] = {
  # google-t5/t5-small ... t5-11b
  "t5_small": _t5_10(512, 6, 8, 64, 2048),
  "t5_base": _t5_10(768, 12, 12, 64, 3072),
  "t5_large": _t5_10(1024, 24, 16, 64, 4096),
  "t5_xl": _t5_10(1024, 24, 32, 128, 16_384),
  "t5_xxl": _t5_10(1024, 24, 128, 128, 65_536),
  # google/flan-t5-small ... flan-t5-xxl, the shapes of T5 1.1
  "flan_t5_small": _t5(512, 8, 6, 64, 1024),
  "flan_t5_base": _t5(768, 12, 12, 64, 2048),
  "flan_t5_large": _t5(1024, 24, 16, 64, 2816),
  "flan_t5_xl": _t5(2048, 24, 32, 64, 5120),
  "flan_t5_xxl": _t5(4096, 24, 64, 64, 10_240),
  # openai-community/gpt2 ... gpt2-xl
  "gpt2": _gpt2(768, 12, 12),
  "gpt2_medium": _gpt2(1024, 24, 16),
  "gpt2_large": _gpt2(1280, 36, 20),
  "gpt2_xl": _gpt2(1600, 48, 25),
  # EleutherAI/pythia-70m ... pythia-12b
  "pythia_70m": _pythia(512, 6, 8),
  "pythia_160m": _pythia(768, 12, 12),
  "pythia_410m": _pythia(1024, 24, 16),
  "pythia_1b": _pythia(2048, 16, 8),
  "pythia_1.4b": _pythia(2048, 24, 16),
  "pythia_2.8b": _pythia(2560, 32, 32),
  "pythia_6.9b": _pythia(4096, 32, 32, 50_432),
  "pythia_12b": _pythia(5120, 36, 40, 50_688),
  # meta-llama/Meta-Llama-3-8B, -70B; Llama-3.1-8B; Llama-3.2-1B, -3B
  "llama3_8b": _decoder(4096, 32, 32, 8, 128, 14_336, tied=False, **_LLAMA_3),
  "llama3_70b": _decoder(8192, 80, 64, 8, 128, 28_672, tied=False, **_LLAMA_3),
  "llama3.1_8b": _decoder(
    4096, 32, 32, 8, 128, 14_336, tied=False, **_LLAMA_31
  ),
  "llama3.2_1b": _decoder(2048, 16, 32, 8, 64, 8192, **_LLAMA_32),
  "llama3.2_3b": _decoder(3072, 28, 24, 8, 128, 8192, **_LLAMA_32),
  # HuggingFaceTB/SmolLM2-135M
  "smollm2_135m": _decoder(
    576,
    30,
    9,
    3,
    64,
    1536,
    vocabulary_size=49_152,
    norm_epsilon=1e-5,
    rope_theta=100_000.0,
    max_length=8192,
  ),
  # mistralai/Mistral-7B-v0.1
  "mistral_7b": _decoder(
    4096,
    32,
    32,
    8,
    128,
    14_336,
    architecture="mistral",
    vocabulary_size=32_000,
    norm_epsilon=1e-5,
    window=4096,
    max_length=32_768,
    tied=False,
  ),
  # Qwen/Qwen2.5-0.5B, -1.5B, -7B
  "qwen2.5_0.5b": _decoder(896, 24, 14, 2, 64, 4864, **_QWEN_2),
  "qwen2.5_1.5b": _decoder(1536, 28, 12, 2, 128, 8960, **_QWEN_2),
  "qwen2.5_7b": _decoder(
    3584,
    28,
    28,
    4,
    128,
    18_944,
    tied=False,
    **(_QWEN_2 | {"vocabulary_size": 152_064}),
  ),
  # Qwen/Qwen3-0.6B ... Qwen3-32B
  "qwen3_0.6b": _decoder(1024, 28, 16, 8, 128, 3072, **_QWEN_3),
  "qwen3_1.7b": _decoder(2048, 28, 16, 8, 128, 6144, **_QWEN_3),
  "qwen3_4b": _decoder(2560, 36, 32, 8, 128, 9728, **_QWEN_3),
  "qwen3_8b": _decoder(4096, 36, 32, 8, 128, 12_288, tied=False, **_QWEN_3),
  "qwen3_14b": _decoder(5120, 40, 40, 8, 128, 17_408, tied=False, **_QWEN_3),
  "qwen3_32b": _decoder(5120, 64, 64, 8, 128, 25_600, tied=False, **_QWEN_3),
  # google/gemma-2b, -7b; gemma-2-2b, -9b, -27b; gemma-3-270m, gemma-3-1b-pt
  "gemma_2b": _gemma(2048, 18, 8, 1, 256, 16_384),
  "gemma_7b": _gemma(3072, 28, 16, 16, 256, 24_576),
  "gemma2_2b": _gemma2(2304, 26, 8, 4, 256, 9216, scale=256),
  "gemma2_9b": _gemma2(3584, 42, 16, 8, 256, 14_336, scale=256),
  "gemma2_27b": _gemma2(4608, 46, 32, 16, 128, 36_864, scale=144),
  "gemma3_270m": _gemma3(640, 18, 4, 1, 256, 2048),
  "gemma3_1b": _gemma3(1152, 26, 4, 1, 256, 6912),
}
