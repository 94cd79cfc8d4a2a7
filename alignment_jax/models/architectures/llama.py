"""Llama, Mistral, Qwen and Gemma: one way of naming, few differences."""

from collections.abc import Callable
from typing import Any

import numpy as np

from alignment_jax.models.architectures.base import (
  ACTIVATIONS_OUT,
  Architecture,
  Config,
  Tensor,
  activation,
  linear,
  rope,
  same,
  vector,
  window,
)
from alignment_jax.models.decoder_settings import DecoderSettings, local_layers


def _llama_tensors(s: DecoderSettings) -> list[Tensor]:
  layer = "model.layers.{i}."
  tensors = [
    same("model.embed_tokens.weight", "embedding/table"),
    same("model.norm.weight", "final_norm/scale"),
    same(layer + "input_layernorm.weight", "blocks/attention_norm/scale"),
  ]
  if s.post_norms:
    tensors += [
      same(
        layer + "post_attention_layernorm.weight",
        "blocks/attention_post_norm/scale",
      ),
      same(layer + "pre_feedforward_layernorm.weight", "blocks/mlp_norm/scale"),
      same(
        layer + "post_feedforward_layernorm.weight",
        "blocks/mlp_post_norm/scale",
      ),
    ]
  else:
    tensors.append(
      same(layer + "post_attention_layernorm.weight", "blocks/mlp_norm/scale")
    )
  heads = {
    "q": ("query", s.heads),
    "k": ("key", s.kv_heads),
    "v": ("value", s.kv_heads),
  }
  for letter, (leaf, count) in heads.items():
    shape = (count, s.head_width)
    path = f"blocks/attention/{leaf}"
    name = f"{layer}self_attn.{letter}_proj"
    tensors.append(
      linear(f"{name}.weight", f"{path}/kernel", (s.width,), shape)
    )
    if s.attention_bias:
      tensors.append(vector(f"{name}.bias", f"{path}/bias", shape))
  tensors.append(
    linear(
      layer + "self_attn.o_proj.weight",
      "blocks/attention/out/kernel",
      (s.heads, s.head_width),
      (s.width,),
    )
  )
  if s.output_bias:
    tensors.append(
      same(layer + "self_attn.o_proj.bias", "blocks/attention/out/bias")
    )
  if s.qk_norm:
    tensors += [
      same(
        layer + f"self_attn.{letter}_norm.weight",
        f"blocks/attention/{leaf}_norm/scale",
      )
      for letter, leaf in (("q", "query"), ("k", "key"))
    ]
  mlp = {
    "gate": ("gate", s.width, s.mlp_width),
    "up": ("up", s.width, s.mlp_width),
    "down": ("out", s.mlp_width, s.width),
  }
  for hub_name, (leaf, inputs, outputs) in mlp.items():
    name, path = f"{layer}mlp.{hub_name}_proj", f"blocks/mlp/{leaf}"
    tensors.append(
      linear(f"{name}.weight", f"{path}/kernel", (inputs,), (outputs,))
    )
    if s.mlp_bias:
      tensors.append(same(f"{name}.bias", f"{path}/bias"))
  if not s.tied:
    tensors.append(
      linear(
        "lm_head.weight",
        "unembedding/kernel",
        (s.width,),
        (s.vocabulary_size,),
      )
    )
  return tensors


def _llama_settings(
  c: Config, *, global_every: int = 0, **settings: Any
) -> DecoderSettings:
  """Settings of any of them.

  Args:
    c: the config.
    global_every: of an architecture whose configs leave it out.
    **settings: what the architecture differs in.
  """
  heads = c["num_attention_heads"]
  rotary, local = rope(c)
  common = dict(
    architecture=c["model_type"],
    vocabulary_size=c["vocab_size"],
    width=c["hidden_size"],
    layers=c["num_hidden_layers"],
    heads=heads,
    kv_heads=c.get("num_key_value_heads") or heads,
    head_width=c.get("head_dim") or c["hidden_size"] // heads,
    mlp_width=c["intermediate_size"],
    norm_epsilon=c.get("rms_norm_eps", 1e-6),
    activation=activation(c.get("hidden_act", "silu")),
    attention_bias=bool(c.get("attention_bias", False)),
    output_bias=bool(c.get("attention_bias", False)),
    mlp_bias=bool(c.get("mlp_bias", False)),
    max_length=c.get("max_position_embeddings", 0),
    tied=bool(c.get("tie_word_embeddings", False)),
    local_rope_theta=local,
    **rotary,
    **window(c, global_every),
  )
  return DecoderSettings(**{**common, **settings})


def _qwen2_settings(c: Config) -> DecoderSettings:
  return _llama_settings(c, attention_bias=True, output_bias=False)


def _qwen3_settings(c: Config) -> DecoderSettings:
  return _llama_settings(c, qk_norm=True)


def _gemma_settings(c: Config, **settings: Any) -> DecoderSettings:
  # Gemma 1 writes `gelu` where it means the approximation.
  name = c.get("hidden_activation") or "gelu_pytorch_tanh"
  return _llama_settings(
    c,
    **{
      "activation": activation(name),
      "norm_offset": 1.0,
      "embedding_scale": c["hidden_size"] ** 0.5,
      "tied": bool(c.get("tie_word_embeddings", True)),
      **settings,
    },
  )


def _softcapped_settings(c: Config, **settings: Any) -> DecoderSettings:
  return _gemma_settings(
    c,
    post_norms=True,
    query_scale=c["query_pre_attn_scalar"] ** -0.5,
    attention_softcap=c.get("attn_logit_softcapping") or 0.0,
    final_softcap=c.get("final_logit_softcapping") or 0.0,
    **settings,
  )


def _gemma2_settings(c: Config) -> DecoderSettings:
  return _softcapped_settings(c, global_every=2)


def _gemma3_settings(c: Config) -> DecoderSettings:
  return _softcapped_settings(c, qk_norm=True)


def _common_config(s: DecoderSettings) -> dict[str, Any]:
  config = {
    "vocab_size": s.vocabulary_size,
    "hidden_size": s.width,
    "intermediate_size": s.mlp_width,
    "num_hidden_layers": s.layers,
    "num_attention_heads": s.heads,
    "num_key_value_heads": s.kv_heads,
    "head_dim": s.head_width,
    "rms_norm_eps": s.norm_epsilon,
    "tie_word_embeddings": s.tied,
    "rope_parameters": _global_rope(s),
  }
  if s.max_length:
    config["max_position_embeddings"] = s.max_length
  return config


def _global_rope(s: DecoderSettings) -> dict[str, Any]:
  parameters = {"rope_theta": s.rope_theta, "rope_type": "default"}
  if s.rope_original_length:
    return parameters | {
      "rope_type": "llama3",
      "factor": s.rope_factor,
      "low_freq_factor": s.rope_low,
      "high_freq_factor": s.rope_high,
      "original_max_position_embeddings": s.rope_original_length,
    }
  if s.rope_factor != 1.0:
    return parameters | {"rope_type": "linear", "factor": s.rope_factor}
  return parameters


def _windows(s: DecoderSettings) -> dict[str, Any]:
  """Which layers have a window; nothing where none has."""
  if not s.window:
    return {}
  kinds = np.where(local_layers(s), "sliding_attention", "full_attention")
  config = {"sliding_window": s.window, "layer_types": kinds.tolist()}
  if s.local_rope_theta:
    local = {"rope_theta": s.local_rope_theta, "rope_type": "default"}
    config["rope_parameters"] = {
      "full_attention": _global_rope(s),
      "sliding_attention": local,
    }
  return config


def _qwen_config(s: DecoderSettings) -> dict[str, Any]:
  return {
    **_common_config(s),
    "hidden_act": ACTIVATIONS_OUT[s.activation],
    **_windows(s),
  }


def _llama_config(s: DecoderSettings) -> dict[str, Any]:
  return {
    **_qwen_config(s),
    "attention_bias": s.attention_bias,
    "mlp_bias": s.mlp_bias,
  }


def _mistral_config(s: DecoderSettings) -> dict[str, Any]:
  return {
    **_common_config(s),
    "hidden_act": ACTIVATIONS_OUT[s.activation],
    # Of every layer; absent would mean the default of transformers.
    "sliding_window": s.window or None,
  }


def _gemma_config(s: DecoderSettings) -> dict[str, Any]:
  return {
    **_common_config(s),
    "hidden_activation": ACTIVATIONS_OUT[s.activation],
    **_windows(s),
  }


def _softcapped_config(s: DecoderSettings) -> dict[str, Any]:
  return {
    **_gemma_config(s),
    "query_pre_attn_scalar": _whole(s.query_scale**-2),
    "attn_logit_softcapping": s.attention_softcap or None,
    "final_logit_softcapping": s.final_softcap or None,
  }


def _whole(value: float) -> int | float:
  """An integer where rounding made a float of one."""
  return round(value) if abs(value - round(value)) < 1e-6 * value else value


def _like_llama(
  model_type: str,
  class_name: str,
  settings: Callable[[Config], DecoderSettings],
  config: Callable[[DecoderSettings], dict[str, Any]],
) -> Architecture:
  return Architecture(
    model_type,
    class_name,
    settings,
    config,
    _llama_tensors,
    ignored=("rotary_emb.inv_freq",),
    prefix="model.",
  )


LLAMA = _like_llama("llama", "LlamaForCausalLM", _llama_settings, _llama_config)
MISTRAL = _like_llama(
  "mistral", "MistralForCausalLM", _llama_settings, _mistral_config
)
QWEN2 = _like_llama("qwen2", "Qwen2ForCausalLM", _qwen2_settings, _qwen_config)
QWEN3 = _like_llama("qwen3", "Qwen3ForCausalLM", _qwen3_settings, _qwen_config)
GEMMA = _like_llama("gemma", "GemmaForCausalLM", _gemma_settings, _gemma_config)
GEMMA2 = _like_llama(
  "gemma2", "Gemma2ForCausalLM", _gemma2_settings, _softcapped_config
)
GEMMA3 = _like_llama(
  "gemma3_text", "Gemma3ForCausalLM", _gemma3_settings, _softcapped_config
)
