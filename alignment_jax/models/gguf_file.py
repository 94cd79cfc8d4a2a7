"""Models of the Llama family in one GGUF file, such as llama.cpp writes.

Weights may be quantized; the `gguf` package turns them into float32. Nothing of
the file is executed.
"""

import pathlib
from typing import Any

import numpy as np

from alignment_jax import errors
from alignment_jax.models import base, huggingface

_TENSORS = {
  "model.embed_tokens.weight": "token_embd.weight",
  "model.norm.weight": "output_norm.weight",
  "lm_head.weight": "output.weight",
}
_LAYER_TENSORS = {
  "input_layernorm": "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "post_attention_layernorm": "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
}


class GGUFFile:
  """An open GGUF file of the Llama family.

  Attributes:
    folder: the path of the file.
    metadata: what it says of itself, by key.

  Raises:
    UserError: the file is missing, damaged, or of another family.
  """

  def __init__(self, path: pathlib.Path) -> None:
    self.folder = path
    try:
      self._reader = _library().GGUFReader(path)
      self.metadata: dict[str, Any] = {
        name: field.contents() for name, field in self._reader.fields.items()
      }
    except FileNotFoundError as error:
      raise errors.UserError(f"there is no file {path}") from error
    except Exception as error:  # numpy's and the reader's own, of many kinds
      raise errors.UserError(
        f"{path} is not a whole GGUF file: {error}; fetch it again"
      ) from error
    kind = self.metadata.get("general.architecture")
    if kind != "llama":
      raise errors.unknown(f"architecture in {path}", kind, ("llama",))
    self._tensors: dict[str, Any] = {
      tensor.name: tensor for tensor in self._reader.tensors
    }
    self._stored_names = self._named()

  def config(self) -> dict[str, Any]:
    """What would stand in a `config.json`.

    Raises:
      UserError: a field is missing.
    """

    def field(name: str, default: Any = None) -> Any:
      value = self.metadata.get(f"llama.{name}", default)
      if value is None:
        raise errors.UserError(f"{self.folder} lacks the field llama.{name}")
      return value

    heads = field("attention.head_count")
    width = field("embedding_length")
    return {
      "model_type": "llama",
      "vocab_size": int(self._tensors["token_embd.weight"].shape[1]),
      "hidden_size": width,
      "num_hidden_layers": field("block_count"),
      "num_attention_heads": heads,
      "num_key_value_heads": field("attention.head_count_kv", heads),
      "head_dim": field("rope.dimension_count", width // heads),
      "intermediate_size": field("feed_forward_length"),
      # Stored as float32: 1e-5 comes back as 9.9999997e-06.
      "rms_norm_eps": float(f"{field('attention.layer_norm_rms_epsilon'):.6g}"),
      "rope_theta": float(field("rope.freq_base", 10_000.0)),
      "max_position_embeddings": field("context_length", 0),
      "tie_word_embeddings": "output.weight" not in self._tensors,
    }

  def names(self) -> set[str]:
    """The tensors, as the hub names them."""
    return set(self._stored_names)

  def read(self, name: str) -> np.ndarray:
    """A tensor as the hub stores it, float32.

    Raises:
      UserError: the file ends before it does, or its quantization is unknown.
    """
    tensor = self._tensors[self._stored_names[name]]
    try:
      array = _library().dequantize(tensor.data, tensor.tensor_type)
    except Exception as error:  # the library has no error of its own
      raise errors.UserError(
        f"{self.folder}: cannot read '{tensor.name}': {error}"
      ) from error
    array = array.reshape(tuple(reversed(tensor.shape)))
    heads = {
      "self_attn.q_proj": "attention.head_count",
      "self_attn.k_proj": "attention.head_count_kv",
    }
    for part, count in heads.items():
      if part in name:
        return _half_split(array, self.metadata[f"llama.{count}"])
    return array

  def _named(self) -> dict[str, str]:
    """Hub name -> name in the file; an unknown tensor keeps its own."""
    hub_names = {name: hub_name for hub_name, name in _TENSORS.items()} | {
      f"blk.{layer}.{name}.weight": f"model.layers.{layer}.{hub_name}.weight"
      for layer in range(self.metadata.get("llama.block_count", 0))
      for hub_name, name in _LAYER_TENSORS.items()
    }
    return {
      hub_names.get(name, name): name
      for name in self._tensors
      # Factors of scaled rotation; the config says the same.
      if name != "rope_freqs.weight"
    }


def load(
  path: pathlib.Path,
  *,
  sharding_fn: huggingface.ShardingFn | None = None,
  **changes: Any,
) -> tuple[base.Model, base.Params]:
  """The model in a GGUF file and its parameters, float32.

  Args and errors are those of `huggingface.load`.
  """
  file = GGUFFile(path)
  settings = huggingface.settings_of(file.config(), path, changes)
  return huggingface.assemble(settings, file, sharding_fn)


def _half_split(array: np.ndarray, heads: int) -> np.ndarray:
  """Rows of each head from interleaved pairs to two halves, as we rotate."""
  rows, width = array.shape
  pairs = array.reshape(heads, rows // heads // 2, 2, width)
  return pairs.swapaxes(1, 2).reshape(rows, width)


def _library() -> Any:
  try:
    import gguf
  except ImportError as error:
    raise errors.not_installed("gguf", extra="hf") from error
  return gguf
