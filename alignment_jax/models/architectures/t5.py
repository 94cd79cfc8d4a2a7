"""T5 1.0 and 1.1, FLAN, UL2 and mT5."""

import dataclasses
import functools
from typing import Any

from alignment_jax import errors
from alignment_jax.models import t5
from alignment_jax.models.architectures.base import (
  Architecture,
  Config,
  Tensor,
  activation,
  linear,
  same,
)

# What T5 calls gelu is the approximation.
_FEED_FORWARD = {
  "relu": (False, "relu"),
  "gelu": (False, "gelu_tanh"),
  "gated-gelu": (True, "gelu_tanh"),
  "gated-silu": (True, "silu"),
  "gated-relu": (True, "relu"),
}


def _tensors(s: t5.T5Settings) -> list[Tensor]:
  heads = (s.heads, s.head_width)
  tensors = [same("shared.weight", "embedding/table")]

  def maps(name: str, paths: list[str]) -> None:
    for letter, path in zip("qkvo", paths, strict=True):
      shape = ((s.width,), heads) if letter != "o" else (heads, (s.width,))
      tensors.append(
        linear(f"{name}.{letter}.weight", f"{path}/kernel", *shape)
      )

  def block(side: str, mlp: int) -> None:
    layer = f"{side}.block.{{i}}.layer."
    attention = f"{side}/attention"
    maps(
      f"{layer}0.SelfAttention",
      [f"{attention}/{n}" for n in ("query", "key", "value", "out")],
    )
    tensors.append(
      same(f"{layer}0.layer_norm.weight", f"{side}/attention_norm/scale")
    )
    tensors.append(
      same(
        f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        f"{side}_bias/table",
      )
    )
    tensors.append(
      same(f"{layer}{mlp}.layer_norm.weight", f"{side}/mlp_norm/scale")
    )
    dense = f"{layer}{mlp}.DenseReluDense"
    wide = {"wi_0": "gate", "wi_1": "up"} if s.gated else {"wi": "up"}
    for hub_name, leaf in wide.items():
      tensors.append(
        linear(
          f"{dense}.{hub_name}.weight",
          f"{side}/mlp/{leaf}/kernel",
          (s.width,),
          (s.mlp_width,),
        )
      )
    tensors.append(
      linear(
        f"{dense}.wo.weight",
        f"{side}/mlp/out/kernel",
        (s.mlp_width,),
        (s.width,),
      )
    )
    tensors.append(
      same(f"{side}.final_layer_norm.weight", f"{side}_norm/scale")
    )

  block("encoder", 1)
  block("decoder", 2)
  cross = "decoder/cross_attention"
  maps(
    "decoder.block.{i}.layer.1.EncDecAttention",
    [f"{cross}/query", "cross_keys", "cross_values", f"{cross}/out"],
  )
  tensors.append(
    same(
      "decoder.block.{i}.layer.1.layer_norm.weight",
      "decoder/cross_attention_norm/scale",
    )
  )
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


def _settings(c: Config, *, may_scale: bool) -> t5.T5Settings:
  kind = c.get("feed_forward_proj", "relu")
  if kind not in _FEED_FORWARD:
    raise errors.unknown("feed_forward_proj", kind, _FEED_FORWARD)
  gated, name = _FEED_FORWARD[kind]
  if (c.get("dense_act_fn") or "") and kind not in ("gelu", "gated-gelu"):
    name = activation(c["dense_act_fn"])
  # Only T5 1.0 scales, and an old config says which it is by being tied.
  scaled = may_scale and bool(
    c.get("scale_decoder_outputs", c.get("tie_word_embeddings", True))
  )
  return t5.T5Settings(
    architecture=c["model_type"],
    vocabulary_size=c["vocab_size"],
    width=c["d_model"],
    encoder_layers=c["num_layers"],
    decoder_layers=c.get("num_decoder_layers") or c["num_layers"],
    heads=c["num_heads"],
    head_width=c["d_kv"],
    mlp_width=c["d_ff"],
    buckets=c.get("relative_attention_num_buckets", 32),
    max_distance=c.get("relative_attention_max_distance", 128),
    norm_epsilon=c.get("layer_norm_epsilon", 1e-6),
    tied=scaled or bool(c.get("tie_word_embeddings", False)),
    scaled_logits=scaled,
    gated=gated,
    activation=name,
    start_id=c.get("decoder_start_token_id") or 0,
  )


def _as_stored(s: t5.T5Settings, names: set[str]) -> t5.T5Settings:
  """Newer configs call every T5 tied; the stored tensors know better."""
  if s.scaled_logits:
    return s
  return dataclasses.replace(s, tied="lm_head.weight" not in names)


def _config(s: t5.T5Settings) -> dict[str, Any]:
  names = {value: key for key, value in _FEED_FORWARD.items()}
  return {
    "vocab_size": s.vocabulary_size,
    "d_model": s.width,
    "d_kv": s.head_width,
    "d_ff": s.mlp_width,
    "num_layers": s.encoder_layers,
    "num_decoder_layers": s.decoder_layers,
    "num_heads": s.heads,
    "relative_attention_num_buckets": s.buckets,
    "relative_attention_max_distance": s.max_distance,
    "layer_norm_epsilon": s.norm_epsilon,
    "feed_forward_proj": names[(s.gated, s.activation)],
    "tie_word_embeddings": s.tied,
    "scale_decoder_outputs": s.scaled_logits,
    "decoder_start_token_id": s.start_id,
  }


def _t5(model_type: str, class_name: str, *, may_scale: bool) -> Architecture:
  return Architecture(
    model_type,
    class_name,
    functools.partial(_settings, may_scale=may_scale),
    _config,
    _tensors,
    ignored=("embed_tokens.weight",),
    as_stored=_as_stored,
  )


T5 = _t5("t5", "T5ForConditionalGeneration", may_scale=True)
MT5 = _t5("mt5", "MT5ForConditionalGeneration", may_scale=False)
