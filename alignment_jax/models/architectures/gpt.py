"""GPT-2 and GPT-NeoX (Pythia): fused projections and layer norms."""

from typing import Any

import numpy as np

from alignment_jax import errors
from alignment_jax.models.architectures.base import (
  ACTIVATIONS_OUT,
  Architecture,
  Config,
  Tensor,
  activation,
  linear,
  norm,
  rope,
  same,
)
from alignment_jax.models.decoder_settings import DecoderSettings


def _gpt2_tensors(s: DecoderSettings) -> list[Tensor]:
  layer = "transformer.h.{i}."
  heads = (s.heads, s.head_width)
  paths = [f"blocks/attention/{name}" for name in ("query", "key", "value")]

  def split(x: np.ndarray) -> tuple[np.ndarray, ...]:
    parts = np.split(x, 3, axis=-1)
    return tuple(p.reshape(*x.shape[:-1], *heads) for p in parts)

  def merge(*parts: np.ndarray) -> np.ndarray:
    front = parts[0].shape[:-2]
    return np.concatenate([p.reshape(*front, -1) for p in parts], axis=-1)

  def plain(name: str, path: str) -> list[Tensor]:
    return [
      same(f"{name}.weight", f"{path}/kernel"),
      same(f"{name}.bias", f"{path}/bias"),
    ]

  out = "blocks/attention/out"
  return [
    same("transformer.wte.weight", "embedding/table"),
    same("transformer.wpe.weight", "position_embedding/table"),
    *norm("transformer.ln_f", "final_norm"),
    *norm(layer + "ln_1", "blocks/attention_norm"),
    *norm(layer + "ln_2", "blocks/mlp_norm"),
    Tensor(
      layer + "attn.c_attn.weight",
      tuple(f"{path}/kernel" for path in paths),
      split,
      merge,
    ),
    Tensor(
      layer + "attn.c_attn.bias",
      tuple(f"{path}/bias" for path in paths),
      split,
      merge,
    ),
    Tensor(
      layer + "attn.c_proj.weight",
      (f"{out}/kernel",),
      lambda x: (x.reshape(*heads, s.width),),
      lambda x: x.reshape(-1, s.width),
    ),
    same(layer + "attn.c_proj.bias", f"{out}/bias"),
    *plain(layer + "mlp.c_fc", "blocks/mlp/up"),
    *plain(layer + "mlp.c_proj", "blocks/mlp/out"),
  ]


def _gpt2_settings(c: Config) -> DecoderSettings:
  if not c.get("tie_word_embeddings", True):
    raise errors.UserError(
      "config.json says tie_word_embeddings: false, which gpt2 checkpoints"
      " here cannot be; expected true"
    )
  return DecoderSettings(
    architecture="gpt2",
    vocabulary_size=c["vocab_size"],
    width=c["n_embd"],
    layers=c["n_layer"],
    heads=c["n_head"],
    kv_heads=c["n_head"],
    head_width=c["n_embd"] // c["n_head"],
    mlp_width=c.get("n_inner") or 4 * c["n_embd"],
    norm="layer",
    norm_epsilon=c.get("layer_norm_epsilon", 1e-5),
    activation=activation(c.get("activation_function", "gelu_new")),
    gated=False,
    attention_bias=True,
    output_bias=True,
    mlp_bias=True,
    learned_positions=c["n_positions"],
    tied=True,
  )


def _gpt2_config(s: DecoderSettings) -> dict[str, Any]:
  return {
    "vocab_size": s.vocabulary_size,
    "n_embd": s.width,
    "n_layer": s.layers,
    "n_head": s.heads,
    "n_inner": s.mlp_width,
    "n_positions": s.learned_positions,
    "layer_norm_epsilon": s.norm_epsilon,
    # The same function, computed as GPT-2 always did.
    "activation_function": "gelu_new"
    if s.activation == "gelu_tanh"
    else ACTIVATIONS_OUT[s.activation],
    "tie_word_embeddings": True,
  }


def _neox_tensors(s: DecoderSettings) -> list[Tensor]:
  layer = "gpt_neox.layers.{i}."
  heads = (s.heads, s.head_width)
  paths = [f"blocks/attention/{name}" for name in ("query", "key", "value")]

  # Rows are stored head by head, in each its query, key and value.
  def split(x: np.ndarray) -> tuple[np.ndarray, ...]:
    x = x.reshape(s.heads, 3, s.head_width, -1)
    return tuple(np.moveaxis(x[:, part], -1, 0) for part in range(3))

  def merge(*parts: np.ndarray) -> np.ndarray:
    stacked = np.stack([np.moveaxis(part, 0, -1) for part in parts], axis=1)
    return stacked.reshape(-1, stacked.shape[-1])

  def split_bias(x: np.ndarray) -> tuple[np.ndarray, ...]:
    x = x.reshape(s.heads, 3, s.head_width)
    return tuple(x[:, part] for part in range(3))

  tensors = [
    same("gpt_neox.embed_in.weight", "embedding/table"),
    *norm("gpt_neox.final_layer_norm", "final_norm"),
    *norm(layer + "input_layernorm", "blocks/attention_norm"),
    *norm(layer + "post_attention_layernorm", "blocks/mlp_norm"),
    Tensor(
      layer + "attention.query_key_value.weight",
      tuple(f"{path}/kernel" for path in paths),
      split,
      merge,
    ),
    linear(
      layer + "attention.dense.weight",
      "blocks/attention/out/kernel",
      heads,
      (s.width,),
    ),
    linear(
      layer + "mlp.dense_h_to_4h.weight",
      "blocks/mlp/up/kernel",
      (s.width,),
      (s.mlp_width,),
    ),
    same(layer + "mlp.dense_h_to_4h.bias", "blocks/mlp/up/bias"),
    linear(
      layer + "mlp.dense_4h_to_h.weight",
      "blocks/mlp/out/kernel",
      (s.mlp_width,),
      (s.width,),
    ),
    same(layer + "mlp.dense_4h_to_h.bias", "blocks/mlp/out/bias"),
  ]
  if s.attention_bias:
    tensors += [
      Tensor(
        layer + "attention.query_key_value.bias",
        tuple(f"{path}/bias" for path in paths),
        split_bias,
        lambda *parts: np.stack(parts, axis=1).reshape(-1),
      ),
      same(layer + "attention.dense.bias", "blocks/attention/out/bias"),
    ]
  if not s.tied:
    tensors.append(
      linear(
        "embed_out.weight",
        "unembedding/kernel",
        (s.width,),
        (s.vocabulary_size,),
      )
    )
  return tensors


def _neox_settings(c: Config) -> DecoderSettings:
  rotary, _ = rope(c)
  heads = c["num_attention_heads"]
  parameters = c.get("rope_parameters") or {}
  share = parameters.get("partial_rotary_factor", c.get("rotary_pct", 0.25))
  if "rotary_emb_base" in c and "rope_theta" not in parameters:
    rotary["rope_theta"] = float(c["rotary_emb_base"])
  return DecoderSettings(
    architecture="gpt_neox",
    vocabulary_size=c["vocab_size"],
    width=c["hidden_size"],
    layers=c["num_hidden_layers"],
    heads=heads,
    kv_heads=heads,
    head_width=c["hidden_size"] // heads,
    mlp_width=c["intermediate_size"],
    norm="layer",
    norm_epsilon=c.get("layer_norm_eps", 1e-5),
    parallel=bool(c.get("use_parallel_residual", True)),
    activation=activation(c.get("hidden_act", "gelu")),
    gated=False,
    attention_bias=bool(c.get("attention_bias", True)),
    output_bias=bool(c.get("attention_bias", True)),
    mlp_bias=True,
    rope_share=float(share),
    max_length=c.get("max_position_embeddings", 0),
    tied=bool(c.get("tie_word_embeddings", False)),
    **rotary,
  )


def _neox_config(s: DecoderSettings) -> dict[str, Any]:
  config = {
    "vocab_size": s.vocabulary_size,
    "hidden_size": s.width,
    "num_hidden_layers": s.layers,
    "num_attention_heads": s.heads,
    "intermediate_size": s.mlp_width,
    "layer_norm_eps": s.norm_epsilon,
    "use_parallel_residual": s.parallel,
    "hidden_act": ACTIVATIONS_OUT[s.activation],
    "attention_bias": s.attention_bias,
    "tie_word_embeddings": s.tied,
    "rope_parameters": {
      "rope_theta": s.rope_theta,
      "partial_rotary_factor": s.rope_share,
      "rope_type": "default",
    },
  }
  if s.max_length:
    config["max_position_embeddings"] = s.max_length
  return config


GPT2 = Architecture(
  "gpt2",
  "GPT2LMHeadModel",
  _gpt2_settings,
  _gpt2_config,
  _gpt2_tensors,
  ignored=("attn.bias", "attn.masked_bias"),
  prefix="transformer.",
)
NEOX = Architecture(
  "gpt_neox",
  "GPTNeoXForCausalLM",
  _neox_settings,
  _neox_config,
  _neox_tensors,
  ignored=(
    "attention.bias",
    "attention.masked_bias",
    "rotary_emb.inv_freq",
  ),
  prefix="gpt_neox.",
)
