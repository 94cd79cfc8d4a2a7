"""How Hugging Face names things: architecture -> settings, tensors -> leaves.

An architecture is a function from its `config.json` to settings, one back, and
a list of `Tensor`: the name of a stored tensor, the leaves of our tree that it
holds, and how its axes are turned. Linear maps are stored [out, in] there and
[in, out] here, with heads as an axis of their own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from alignment_jax import errors
from alignment_jax.models import t5
from alignment_jax.models.decoder_settings import DecoderSettings

Config = Mapping[str, Any]
Settings = DecoderSettings | t5.T5Settings

# What the hub calls the functions of `layers.ACTIVATIONS`.
ACTIVATIONS_IN = {
  "gelu": "gelu",
  "gelu_new": "gelu_tanh",
  "gelu_pytorch_tanh": "gelu_tanh",
  "relu": "relu",
  "silu": "silu",
  "swish": "silu",
}
ACTIVATIONS_OUT = {
  "gelu": "gelu",
  "gelu_tanh": "gelu_pytorch_tanh",
  "relu": "relu",
  "silu": "silu",
}


class Tensor(NamedTuple):
  """A stored tensor and the leaves that it holds.

  Attributes:
    name: as stored; `{i}` stands for the layer.
    leaves: paths in our tree, without the layer axis.
    load: the stored array to the leaves.
    save: the leaves to the stored array.
  """

  name: str
  leaves: tuple[str, ...]
  load: Callable[[np.ndarray], tuple[np.ndarray, ...]]
  save: Callable[..., np.ndarray]


class Architecture(NamedTuple):
  """A family of models as its checkpoints spell it.

  Attributes:
    model_type: of `config.json`.
    class_name: of transformers, for `architectures`.
    settings: `config.json` to our settings.
    config: our settings to what differs from transformers' defaults.
    tensors: our settings to the stored tensors.
    ignored: endings of stored tensors that hold nothing of ours.
    prefix: of names that a checkpoint without a head leaves out.
    as_stored: settings and names of stored tensors to settings.
  """

  model_type: str
  class_name: str
  settings: Callable[[Config], Settings]
  config: Callable[[Any], dict[str, Any]]
  tensors: Callable[[Any], list[Tensor]]
  ignored: tuple[str, ...] = ()
  prefix: str = ""
  as_stored: Callable[[Any, set[str]], Any] = lambda settings, names: settings


def same(name: str, leaf: str) -> Tensor:
  """A tensor that is stored as we hold it."""
  return Tensor(name, (leaf,), lambda x: (x,), lambda x: x)


def linear(
  name: str, leaf: str, inputs: Sequence[int], outputs: Sequence[int]
) -> Tensor:
  """A linear map, stored [out, in] with all axes merged."""
  return Tensor(
    name,
    (leaf,),
    lambda x: (x.T.reshape(*inputs, *outputs),),
    lambda x: x.reshape(math.prod(inputs), math.prod(outputs)).T,
  )


def vector(name: str, leaf: str, shape: Sequence[int]) -> Tensor:
  """A bias whose axes are merged when stored."""
  return Tensor(
    name, (leaf,), lambda x: (x.reshape(shape),), lambda x: x.reshape(-1)
  )


def norm(name: str, path: str) -> list[Tensor]:
  """A layer norm's scale and bias."""
  return [
    same(f"{name}.weight", f"{path}/scale"),
    same(f"{name}.bias", f"{path}/bias"),
  ]


def activation(name: str) -> str:
  """The key of `layers.ACTIVATIONS` for the hub's name of it.

  Raises:
    UserError: there is none.
  """
  if name not in ACTIVATIONS_IN:
    raise errors.unknown("activation", name, ACTIVATIONS_IN)
  return ACTIVATIONS_IN[name]


def rope(config: Config) -> tuple[dict[str, Any], float]:
  """Rotary settings of a config, old spelling or new, and the local base.

  Raises:
    UserError: a kind of scaling that the decoder does not have.
  """
  parameters = config.get("rope_parameters") or {}
  local = 0.0
  if "full_attention" in parameters:
    local = float(parameters["sliding_attention"]["rope_theta"])
    parameters = parameters["full_attention"]
  elif config.get("rope_local_base_freq"):
    local = float(config["rope_local_base_freq"])
  parameters = {**(config.get("rope_scaling") or {}), **parameters}
  kind = parameters.get("rope_type") or parameters.get("type") or "default"
  theta = parameters.get("rope_theta") or config.get("rope_theta") or 10_000.0
  settings = {"rope_theta": float(theta)}
  if kind == "linear":
    settings["rope_factor"] = float(parameters["factor"])
  elif kind == "llama3":
    settings |= {
      "rope_factor": float(parameters["factor"]),
      "rope_low": float(parameters["low_freq_factor"]),
      "rope_high": float(parameters["high_freq_factor"]),
      "rope_original_length": int(
        parameters["original_max_position_embeddings"]
      ),
    }
  elif kind != "default":
    raise errors.unknown("rope_type", kind, ("default", "linear", "llama3"))
  return settings, local


def window(config: Config, global_every: int = 0) -> dict[str, int]:
  """Settings that say which layers have a window, and how long it is.

  Args:
    config: old spelling or new.
    global_every: where the config has no pattern; 0 for no global layer.

  Raises:
    UserError: local and global layers do not alternate evenly.
  """
  size = config.get("sliding_window")
  if not size or config.get("use_sliding_window") is False:
    return {}
  count = config["num_hidden_layers"]
  kinds = config.get("layer_types")
  if kinds is None:
    every = config.get("sliding_window_pattern") or global_every
    return {"window": size, "global_every": every}
  local = [kind == "sliding_attention" for kind in kinds]
  if not any(local):
    return {}
  if all(local):
    # A pattern that is longer than the model leaves no global layer.
    return {"window": size}
  every = local.index(False) + 1
  if local != [number % every != 0 for number in range(1, count + 1)]:
    raise errors.UserError(
      "every k-th of config.json's layer_types must be 'full_attention', got"
      f" {list(kinds)}"
    )
  return {"window": size, "global_every": every}
