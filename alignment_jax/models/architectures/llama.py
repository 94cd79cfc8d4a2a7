"""Llama, Mistral, Qwen and Gemma: one way of naming, few differences."""

from typing import Any

import numpy as np

from alignment_jax.models import decoder
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


def _llama_tensors(s: decoder.DecoderSettings) -> list[Tensor]:
  layer = "model.layers.{i}."
  found = [
    same("model.embed_tokens.weight", "embedding/table"),
    same("model.norm.weight", "final_norm/scale"),
    same(layer + "input_layernorm.weight", "blocks/attention_norm/scale"),
  ]
  if s.post_norms:
    found += [
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
    found.append(
      same(layer + "post_attention_layernorm.weight", "blocks/mlp_norm/scale")
    )
  heads = {
    "q": ("query", s.heads),
    "k": ("key", s.kv_heads),
    "v": ("value", s.kv_heads),
  }
  for letter, (ours, count) in heads.items():
    shape = (count, s.head_width)
    path = f"blocks/attention/{ours}"
    name = f"{layer}self_attn.{letter}_proj"
    found.append(linear(f"{name}.weight", f"{path}/kernel", (s.width,), shape))
    if s.attention_bias:
      found.append(vector(f"{name}.bias", f"{path}/bias", shape))
  found.append(
    linear(
      layer + "self_attn.o_proj.weight",
      "blocks/attention/out/kernel",
      (s.heads, s.head_width),
      (s.width,),
    )
  )
  if s.output_bias:
    found.append(
      same(layer + "self_attn.o_proj.bias", "blocks/attention/out/bias")
    )
  if s.qk_norm:
    found += [
      same(
        layer + f"self_attn.{letter}_norm.weight",
        f"blocks/attention/{ours}_norm/scale",
      )
      for letter, ours in (("q", "query"), ("k", "key"))
    ]
  mlp = {
    "gate": ("gate", s.width, s.mlp_width),
    "up": ("up", s.width, s.mlp_width),
    "down": ("out", s.mlp_width, s.width),
  }
  for theirs, (ours, inputs, outputs) in mlp.items():
    name, path = f"{layer}mlp.{theirs}_proj", f"blocks/mlp/{ours}"
    found.append(
      linear(f"{name}.weight", f"{path}/kernel", (inputs,), (outputs,))
    )
    if s.mlp_bias:
      found.append(same(f"{name}.bias", f"{path}/bias"))
  if not s.tied:
    found.append(
      linear(
        "lm_head.weight",
        "unembedding/kernel",
        (s.width,),
        (s.vocabulary_size,),
      )
    )
  return found


def _llama_settings(c: Config, **more) -> decoder.DecoderSettings:
  heads = c["num_attention_heads"]
  rotary, local = rope(c)
  chosen = dict(
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
    **window(c),
  )
  return decoder.DecoderSettings(**{**chosen, **more})


def _qwen2_settings(c):
  return _llama_settings(c, attention_bias=True, output_bias=False)


def _qwen3_settings(c):
  return _llama_settings(c, qk_norm=True)


def _gemma_settings(c, **more):
  # Gemma 1 writes `gelu` where it means the approximation.
  named = c.get("hidden_activation") or "gelu_pytorch_tanh"
  return _llama_settings(
    c,
    **{
      "activation": activation(named),
      "norm_offset": 1.0,
      "embedding_scale": c["hidden_size"] ** 0.5,
      "tied": bool(c.get("tie_word_embeddings", True)),
      **more,
    },
  )


def _gemma2_settings(c, **more):
  return _gemma_settings(
    c,
    post_norms=True,
    query_scale=c["query_pre_attn_scalar"] ** -0.5,
    attention_softcap=c.get("attn_logit_softcapping") or 0.0,
    final_softcap=c.get("final_logit_softcapping") or 0.0,
    **more,
  )


def _gemma3_settings(c):
  return _gemma2_settings(c, qk_norm=True)


def _llama_config(s: decoder.DecoderSettings) -> dict[str, Any]:
  rope = {"rope_theta": s.rope_theta, "rope_type": "default"}
  if s.rope_original_length:
    rope |= {
      "rope_type": "llama3",
      "factor": s.rope_factor,
      "low_freq_factor": s.rope_low,
      "high_freq_factor": s.rope_high,
      "original_max_position_embeddings": s.rope_original_length,
    }
  elif s.rope_factor != 1.0:
    rope |= {"rope_type": "linear", "factor": s.rope_factor}
  found = {
    "vocab_size": s.vocabulary_size,
    "hidden_size": s.width,
    "intermediate_size": s.mlp_width,
    "num_hidden_layers": s.layers,
    "num_attention_heads": s.heads,
    "num_key_value_heads": s.kv_heads,
    "head_dim": s.head_width,
    "rms_norm_eps": s.norm_epsilon,
    "tie_word_embeddings": s.tied,
    "rope_parameters": rope,
  }
  if s.max_length:
    found["max_position_embeddings"] = s.max_length
  name = ACTIVATIONS_OUT[s.activation]
  if s.architecture.startswith("gemma"):
    found["hidden_activation"] = name
    if s.architecture != "gemma":
      found |= {
        "query_pre_attn_scalar": _whole(s.query_scale**-2),
        "attn_logit_softcapping": s.attention_softcap or None,
        "final_logit_softcapping": s.final_softcap or None,
      }
  else:
    found["hidden_act"] = name
  if s.architecture == "llama":
    found |= {"attention_bias": s.attention_bias, "mlp_bias": s.mlp_bias}
  if s.architecture == "mistral":
    found["sliding_window"] = s.window or None
  elif s.window:
    kinds = np.where(
      decoder.local_layers(s), "sliding_attention", "full_attention"
    )
    found |= {"sliding_window": s.window, "layer_types": kinds.tolist()}
    if s.local_rope_theta:
      local = {"rope_theta": s.local_rope_theta, "rope_type": "default"}
      found["rope_parameters"] = {
        "full_attention": rope,
        "sliding_attention": local,
      }
  return found


def _whole(value: float) -> int | float:
  """An integer where rounding made a float of one."""
  return round(value) if abs(value - round(value)) < 1e-6 * value else value


def _like_llama(model_type, class_name, settings=_llama_settings):
  return Architecture(
    model_type,
    class_name,
    settings,
    _llama_config,
    _llama_tensors,
    ignored=("rotary_emb.inv_freq",),
    prefix="model.",
  )


LLAMA = _like_llama("llama", "LlamaForCausalLM")
MISTRAL = _like_llama("mistral", "MistralForCausalLM")
QWEN2 = _like_llama("qwen2", "Qwen2ForCausalLM", _qwen2_settings)
QWEN3 = _like_llama("qwen3", "Qwen3ForCausalLM", _qwen3_settings)
GEMMA = _like_llama("gemma", "GemmaForCausalLM", _gemma_settings)
GEMMA2 = _like_llama("gemma2", "Gemma2ForCausalLM", _gemma2_settings)
GEMMA3 = _like_llama("gemma3_text", "Gemma3ForCausalLM", _gemma3_settings)
