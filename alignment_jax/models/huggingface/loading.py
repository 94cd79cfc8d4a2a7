"""Weights read tensor by tensor, straight into the arrays of each device."""

import functools
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from alignment_jax import errors, files
from alignment_jax.models import base, zoo
from alignment_jax.models.architectures import ARCHITECTURES, Tensor
from alignment_jax.models.huggingface import leaves as leaves_of
from alignment_jax.models.stored import NEXT_STEP, SafetensorsFolder, Stored

CONFIG = "config.json"
# Bytes; XLA copies host arrays that start elsewhere.
ALIGNMENT = 64

# (abstract parameters, their logical axes) -> a sharding for each
ShardingFn = Callable[[PyTree, PyTree], PyTree]
# A stored tensor, and which of its leaves is meant.
Source = tuple[Tensor, int]


def read_settings(folder: pathlib.Path, **changes: Any) -> zoo.Settings:
  """The settings of the model in a folder.

  Args:
    folder: holds `config.json`.
    **changes: fields of the settings to replace, such as `dtype` or `remat`.

  Raises:
    UserError: no readable config, or one that this library cannot follow.
  """
  config = files.read_json(folder / CONFIG, next_step=NEXT_STEP)
  return settings_of(config, folder / CONFIG, changes)


def settings_of(
  config: Mapping[str, Any],
  path: pathlib.Path,
  changes: Mapping[str, Any],
) -> zoo.Settings:
  """The settings that a `config.json` describes.

  Args:
    config: its content.
    path: where it comes from, for errors.
    changes: fields of the settings to replace.

  Raises:
    UserError: this library cannot follow it.
  """
  if isinstance(config.get("text_config"), dict):
    config = {**config["text_config"]}
  kind = config.get("model_type")
  if kind not in ARCHITECTURES:
    raise errors.unknown(f"model_type in {path}", kind, ARCHITECTURES)
  try:
    settings = ARCHITECTURES[kind].settings(config)
  except KeyError as error:
    raise errors.UserError(
      f"{path} lacks the field {error}, which {kind} needs"
    ) from error
  except (TypeError, ValueError) as error:
    raise errors.UserError(f"{path}: {error}") from error
  return zoo.changed(settings, changes)


def load(
  folder: pathlib.Path,
  *,
  sharding_fn: ShardingFn | None = None,
  **changes: Any,
) -> tuple[base.Model, base.Params]:
  """The model in a folder and its parameters, float32.

  Args:
    folder: `config.json` and safetensors, one file or several with an index.
    sharding_fn: says where each parameter goes, such as a call of
      `parallel.shardings`; all to the first device if None.
    **changes: see `read_settings`.

  Raises:
    UserError: a file is missing or damaged, or a tensor is missing, not
      expected, or of another shape than `config.json` says.
  """
  settings = read_settings(folder, **changes)
  architecture = ARCHITECTURES[settings.architecture]
  stored = SafetensorsFolder(folder, architecture.prefix)
  settings = architecture.as_stored(settings, stored.names())
  return assemble(settings, stored, sharding_fn)


def assemble(
  settings: zoo.Settings, stored: Stored, sharding_fn: ShardingFn | None
) -> tuple[base.Model, base.Params]:
  """The model of these settings with stored tensors as its parameters.

  Raises:
    UserError: a tensor is missing, not expected, or of another shape.
  """
  model = zoo.build(settings)
  abstract = jax.eval_shape(model.init, jax.random.key(0))
  leaves, layer_axes = leaves_of.leaves_and_layer_axes(abstract, model.axes)
  sources = _sources(settings, leaves)
  _check_names(stored, settings, leaves, layer_axes)
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  shardings = (
    jax.tree.map(lambda _: device, abstract)
    if sharding_fn is None
    else sharding_fn(abstract, model.axes)
  )

  def read(
    path: tuple[Any, ...],
    leaf: jax.ShapeDtypeStruct,
    sharding: jax.sharding.Sharding,
  ) -> jax.Array:
    name = base.leaf_name(path)
    fill: Any = functools.partial(
      _fill, stored, sources[name], layer_axes[name], leaf.shape
    )
    # Waits, so that no more than one leaf is on its way to the devices.
    return jax.block_until_ready(
      jax.make_array_from_callback(leaf.shape, sharding, fill)
    )

  return model, jax.tree_util.tree_map_with_path(read, abstract, shardings)


def _sources(
  settings: zoo.Settings, leaves: Mapping[str, Any]
) -> dict[str, Source]:
  """Where each leaf is stored."""
  sources = {
    leaf: (tensor, index)
    for tensor in ARCHITECTURES[settings.architecture].tensors(settings)
    for index, leaf in enumerate(tensor.leaves)
  }
  missing = leaves.keys() - sources.keys()
  if missing:
    raise ValueError(f"no stored tensor for {sorted(missing)}")
  return sources


def _check_names(
  stored: Stored,
  settings: zoo.Settings,
  leaves: Mapping[str, Any],
  layer_axes: Mapping[str, int | None],
) -> None:
  """Raises if a tensor is missing, or one is there that no leaf comes from."""
  architecture = ARCHITECTURES[settings.architecture]
  expected = {
    name
    for tensor in architecture.tensors(settings)
    for name, _ in leaves_of.names_of(tensor, leaves, layer_axes)
  }
  names = stored.names()
  missing = sorted(expected - names)
  if missing:
    raise errors.UserError(
      f"{stored.folder}: no tensor '{missing[0]}'"
      + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
      + f", which {settings.architecture} with this {CONFIG} needs"
    )
  extra = sorted(
    name
    for name in names - expected
    if not name.endswith(architecture.ignored)
    # A tied head may be stored a second time.
    and not (name == "lm_head.weight" and settings.tied)
  )
  if extra:
    raise errors.UserError(
      f"{stored.folder}: tensor '{extra[0]}'"
      + (f" and {len(extra) - 1} more" if len(extra) > 1 else "")
      + f" is not part of {settings.architecture} with this {CONFIG}"
    )


def _fill(
  stored: Stored,
  source: Source,
  layer_axis: int | None,
  shape: tuple[int, ...],
  index: tuple[slice, ...],
) -> np.ndarray:
  """The part of a leaf that one device holds, read layer by layer."""
  tensor, leaf_index = source
  index = tuple(
    slice(*part.indices(size)) for part, size in zip(index, shape, strict=True)
  )
  if layer_axis is None:
    return _part(stored, tensor, tensor.name, leaf_index, shape)[index]
  layer_shape = shape[:layer_axis] + shape[layer_axis + 1 :]
  layer_slice = index[:layer_axis] + index[layer_axis + 1 :]
  layers = range(shape[layer_axis])[index[layer_axis]]
  filled = _aligned(
    [len(range(size)[part]) for part, size in zip(index, shape, strict=True)]
  )
  # In place, so that a leaf of many layers is never held twice.
  by_layer = np.moveaxis(filled, layer_axis, 0)
  for row, layer in enumerate(layers):
    name = tensor.name.format(i=layer)
    part = _part(stored, tensor, name, leaf_index, layer_shape)
    by_layer[row] = part[layer_slice]
  return filled


def _aligned(shape: Sequence[int]) -> np.ndarray:
  """Empty float32 memory that a CPU device takes over without a copy."""
  size = 4 * math.prod(shape)
  memory = np.empty(size + ALIGNMENT, np.uint8)
  start = -memory.ctypes.data % ALIGNMENT
  return memory[start : start + size].view(np.float32).reshape(shape)


def _part(
  stored: Stored,
  tensor: Tensor,
  name: str,
  leaf_index: int,
  shape: tuple[int, ...],
) -> np.ndarray:
  """One of the leaves that a stored tensor holds, float32."""
  array = stored.read(name)
  try:
    part = tensor.load(array)[leaf_index]
  except ValueError:
    part = None
  if part is None or part.shape != shape:
    raise errors.UserError(
      f"{stored.folder}: tensor '{name}' has shape {array.shape}, which does"
      f" not give the {shape} that {CONFIG} asks of"
      f" '{tensor.leaves[leaf_index]}'"
    )
  return np.asarray(part, np.float32)
