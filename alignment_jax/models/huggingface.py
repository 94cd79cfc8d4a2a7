"""Checkpoints of the Hugging Face hub: a local folder in, a local folder out.

Weights are safetensors, read tensor by tensor straight into the arrays of each
device. Nothing is unpickled and no code of the folder is run.
"""

import functools
import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np

from alignment_jax import errors
from alignment_jax.models import base, zoo
from alignment_jax.models.architectures import ARCHITECTURES, Tensor
from alignment_jax.models.stored import (
  INDEX,
  WEIGHTS,
  SafetensorsFolder,
  Stored,
  read_json,
)

CONFIG = "config.json"
DTYPES = {
  "float32": np.float32,
  "bfloat16": ml_dtypes.bfloat16,
  "float16": np.float16,
}
# Bytes; XLA copies host arrays that start elsewhere.
ALIGNMENT = 64

# (abstract parameters, their logical axes) -> a sharding for each
Place = Callable[[Any, Any], Any]


def read_settings(folder: pathlib.Path, **changes) -> zoo.Settings:
  """The settings of the model in a folder.

  Args:
    folder: holds `config.json`.
    **changes: fields of the settings to replace, such as `dtype` or `remat`.

  Raises:
    UserError: no readable config, or one that this library cannot follow.
  """
  return settings_of(read_json(folder / CONFIG), folder / CONFIG, changes)


def settings_of(
  config: Mapping[str, Any],
  where: pathlib.Path,
  changes: Mapping[str, Any],
) -> zoo.Settings:
  """The settings that a `config.json` describes.

  Args:
    config: its content.
    where: it comes from, for errors.
    changes: fields of the settings to replace.

  Raises:
    UserError: this library cannot follow it.
  """
  if isinstance(config.get("text_config"), dict):
    config = {**config["text_config"]}
  kind = config.get("model_type")
  if kind not in ARCHITECTURES:
    raise errors.unknown(f"model_type in {where}", kind, ARCHITECTURES)
  try:
    settings = ARCHITECTURES[kind].settings(config)
  except KeyError as error:
    raise errors.UserError(
      f"{where} lacks the field {error}, which {kind} needs"
    ) from error
  except (TypeError, ValueError) as error:
    raise errors.UserError(f"{where}: {error}") from error
  return zoo.changed(settings, changes)


def load(
  folder: pathlib.Path, *, place: Place | None = None, **changes
) -> tuple[base.Model, base.Params]:
  """The model in a folder and its parameters, float32.

  Args:
    folder: `config.json` and safetensors, one file or several with an index.
    place: where each parameter goes, such as a call of `parallel.shardings`;
      all to the first device if None.
    **changes: see `read_settings`.

  Raises:
    UserError: a file is missing or damaged, or a tensor is missing, not
      expected, or of another shape than `config.json` says.
  """
  settings = read_settings(folder, **changes)
  architecture = ARCHITECTURES[settings.architecture]
  stored = SafetensorsFolder(folder, architecture.prefix)
  settings = architecture.as_stored(settings, stored.names())
  return assemble(settings, stored, place)


def assemble(
  settings: zoo.Settings, stored: Stored, place: Place | None
) -> tuple[base.Model, base.Params]:
  """The model of these settings with stored tensors as its parameters.

  Raises:
    UserError: a tensor is missing, not expected, or of another shape.
  """
  model = zoo.build(settings)
  abstract = jax.eval_shape(model.init, jax.random.key(0))
  sources, layer_axes = _sources(settings, abstract, model.axes)
  _check_names(stored, settings, sources)
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  shardings = (
    jax.tree.map(lambda _: device, abstract)
    if place is None
    else place(abstract, model.axes)
  )

  def read(path, leaf, sharding):
    name = base.leaf_name(path)
    fill = functools.partial(
      _fill, stored, sources[name], layer_axes[name], leaf.shape
    )
    # Waits, so that no more than one leaf is on its way to the devices.
    return jax.block_until_ready(
      jax.make_array_from_callback(leaf.shape, sharding, fill)
    )

  return model, jax.tree_util.tree_map_with_path(read, abstract, shardings)


def save(
  folder: pathlib.Path,
  settings: zoo.Settings,
  params: base.Params,
  *,
  dtype: str = "float32",
  max_shard_bytes: int = 5 * 2**30,
  config: Mapping[str, Any] | None = None,
) -> None:
  """Writes a folder that `transformers.from_pretrained` loads.

  Args:
    folder: made if it is not there.
    settings: of the model.
    params: its parameters, on any mesh that this process can read whole.
    dtype: of the stored weights, a key of `DTYPES`.
    max_shard_bytes: a file is closed before it grows beyond this.
    config: fields of `config.json` to keep, such as token ids.

  Raises:
    UserError: no such dtype, or the folder holds weights already.
  """
  from safetensors.numpy import save_file

  if dtype not in DTYPES:
    raise errors.unknown("dtype", dtype, DTYPES)
  folder.mkdir(parents=True, exist_ok=True)
  if (folder / WEIGHTS).exists() or (folder / INDEX).exists():
    raise errors.UserError(f"{folder} holds weights already; name a new folder")
  architecture = ARCHITECTURES[settings.architecture]
  model = zoo.build(settings)
  leaves, layer_axes = _leaves(params, model.axes)
  plan = list(_plan(settings, architecture.tensors(settings), leaves, dtype))
  shards = _shards(plan, max_shard_bytes)
  names, total = {}, 0
  for index, shard in enumerate(shards):
    name = (
      WEIGHTS
      if len(shards) == 1
      else f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors"
    )
    arrays = {}
    for stored_name, tensor, layer, _ in shard:
      parts = [
        _layer_of(leaves[leaf], layer_axes[leaf], layer)
        for leaf in tensor.leaves
      ]
      arrays[stored_name] = np.ascontiguousarray(
        tensor.save(*parts).astype(DTYPES[dtype])
      )
      names[stored_name] = name
      total += arrays[stored_name].nbytes
    save_file(arrays, folder / name, metadata={"format": "pt"})
  if len(shards) > 1:
    _write_json(
      folder / INDEX,
      {"metadata": {"total_size": total}, "weight_map": names},
    )
  # Last: a folder with a config is a whole one.
  _write_json(
    folder / CONFIG,
    {
      **(config or {}),
      **architecture.config(settings),
      "model_type": architecture.model_type,
      "architectures": [architecture.class_name],
      "dtype": dtype,
    },
  )


def _sources(settings, abstract, axes):
  """Leaf -> (tensor, place among its leaves); and leaf -> its layer axis."""
  leaves, layer_axes = _leaves(abstract, axes)
  tensors = ARCHITECTURES[settings.architecture].tensors(settings)
  sources = {
    leaf: (tensor, place)
    for tensor in tensors
    for place, leaf in enumerate(tensor.leaves)
  }
  missing = leaves.keys() - sources.keys()
  if missing:
    raise ValueError(f"no stored tensor for {sorted(missing)}")
  return sources, layer_axes


def _check_names(stored, settings, sources):
  """Refuses a folder that lacks a tensor, or holds one that has no place."""
  architecture = ARCHITECTURES[settings.architecture]
  wanted = {
    name
    for tensor, _ in sources.values()
    for name in _names_of(tensor, _count(settings, tensor))
  }
  there = stored.names()
  missing = sorted(wanted - there)
  if missing:
    raise errors.UserError(
      f"{stored.folder}: no tensor '{missing[0]}'"
      + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
      + f", which {settings.architecture} with this {CONFIG} needs"
    )
  extra = sorted(
    name
    for name in there - wanted
    if not name.endswith(architecture.ignored)
    and not (name == "lm_head.weight" and settings.tied)
  )
  if extra:
    raise errors.UserError(
      f"{stored.folder}: tensor '{extra[0]}'"
      + (f" and {len(extra) - 1} more" if len(extra) > 1 else "")
      + f" is not part of {settings.architecture} with this {CONFIG}"
    )


def _fill(stored, source, layer_axis, shape, index):
  """The part of a leaf that one device holds, read layer by layer."""
  tensor, place = source
  index = tuple(
    slice(*part.indices(size)) for part, size in zip(index, shape, strict=True)
  )
  if layer_axis is None:
    return _part(stored, tensor, tensor.name, place, shape)[index]
  of_layer = shape[:layer_axis] + shape[layer_axis + 1 :]
  rest = index[:layer_axis] + index[layer_axis + 1 :]
  layers = range(shape[layer_axis])[index[layer_axis]]
  filled = _aligned(
    [len(range(size)[part]) for part, size in zip(index, shape, strict=True)]
  )
  # In place, so that a leaf of many layers is never held twice.
  for place_in_leaf, layer in enumerate(layers):
    part = _part(stored, tensor, tensor.name.format(i=layer), place, of_layer)
    np.moveaxis(filled, layer_axis, 0)[place_in_leaf] = part[rest]
  return filled


def _aligned(shape):
  """Empty float32 memory that a CPU device takes over without a copy."""
  count = 4 * math.prod(shape)
  memory = np.empty(count + ALIGNMENT, np.uint8)
  start = -memory.ctypes.data % ALIGNMENT
  return memory[start : start + count].view(np.float32).reshape(shape)


def _part(stored, tensor, name, place, shape):
  array = stored.read(name)
  try:
    part = tensor.load(array)[place]
  except ValueError:
    part = None
  if part is None or part.shape != shape:
    raise errors.UserError(
      f"{stored.folder}: tensor '{name}' has shape {array.shape}, which does"
      f" not give the {shape} that {CONFIG} asks of '{tensor.leaves[place]}'"
    )
  return np.asarray(part, np.float32)


def _plan(settings, tensors, leaves, dtype) -> Iterator[tuple]:
  """Stored name, tensor, layer and bytes of everything to be written."""
  size = np.dtype(DTYPES[dtype]).itemsize
  for tensor in tensors:
    count = _count(settings, tensor)
    whole = sum(leaves[leaf].size for leaf in tensor.leaves)
    for layer, name in enumerate(_names_of(tensor, count)):
      yield (
        name,
        tensor,
        None if count is None else layer,
        whole * size // (count or 1),
      )


def _shards(plan, limit):
  shards, room = [[]], limit
  for entry in plan:
    if shards[-1] and entry[3] > room:
      shards.append([])
      room = limit
    shards[-1].append(entry)
    room -= entry[3]
  return shards


def _names_of(tensor: Tensor, count: int | None) -> list[str]:
  if count is None:
    return [tensor.name]
  return [tensor.name.format(i=layer) for layer in range(count)]


def _count(settings, tensor):
  """How many layers a tensor is stored for; None for one of the whole."""
  if "{i}" not in tensor.name:
    return None
  if hasattr(settings, "layers"):
    return settings.layers
  side = "encoder" if tensor.name.startswith("encoder") else "decoder"
  return getattr(settings, f"{side}_layers")


def _leaves(tree, axes):
  """Leaves by path, and where each has its axis of layers, or None."""
  leaves = {
    base.leaf_name(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
  places = {}
  for path, names in jax.tree_util.tree_leaves_with_path(
    axes, is_leaf=lambda leaf: isinstance(leaf, jax.P)
  ):
    names = tuple(names)
    places[base.leaf_name(path)] = (
      names.index("layers") if "layers" in names else None
    )
  return leaves, places


def _layer_of(leaf, axis, layer):
  if axis is None:
    return np.asarray(leaf)
  return np.asarray(jax.lax.index_in_dim(leaf, layer, axis, keepdims=False))


def _write_json(path, values):
  path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
