"""A folder that `transformers` loads, written file by file."""

import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np

from alignment_jax import errors, files
from alignment_jax.models import base, zoo
from alignment_jax.models.architectures import ARCHITECTURES, Tensor
from alignment_jax.models.huggingface import leaves as leaves_of
from alignment_jax.models.huggingface.loading import CONFIG
from alignment_jax.models.stored import INDEX, WEIGHTS

DTYPES = {
  "float32": np.float32,
  "bfloat16": ml_dtypes.bfloat16,
  "float16": np.float16,
}


class Entry(NamedTuple):
  """A tensor that is to be written: a whole one, or one layer of it."""

  name: str
  tensor: Tensor
  layer: int | None
  size: int


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
  leaves, layer_axes = leaves_of.leaves_and_layer_axes(params, model.axes)
  entries = [
    entry
    for tensor in architecture.tensors(settings)
    for entry in _entries(tensor, leaves, layer_axes, dtype)
  ]
  shards = _shards(entries, max_shard_bytes)
  weight_map, total = {}, 0
  for index, shard in enumerate(shards):
    name = (
      WEIGHTS
      if len(shards) == 1
      else f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors"
    )
    arrays = {}
    for entry in shard:
      parts = [
        _layer_of(leaves[leaf], layer_axes[leaf], entry.layer)
        for leaf in entry.tensor.leaves
      ]
      array = entry.tensor.save(*parts).astype(DTYPES[dtype])
      arrays[entry.name] = np.ascontiguousarray(array)
      weight_map[entry.name] = name
      total += array.nbytes
    save_file(arrays, folder / name, metadata={"format": "pt"})
  if len(shards) > 1:
    files.write_json(
      folder / INDEX,
      {"metadata": {"total_size": total}, "weight_map": weight_map},
    )
  # Last: a folder with a config is a whole one.
  files.write_json(
    folder / CONFIG,
    {
      **(config or {}),
      **architecture.config(settings),
      "model_type": architecture.model_type,
      "architectures": [architecture.class_name],
      "dtype": dtype,
    },
  )


def _entries(
  tensor: Tensor,
  leaves: Mapping[str, Any],
  layer_axes: Mapping[str, int | None],
  dtype: str,
) -> Iterator[Entry]:
  """What is to be written of a tensor."""
  names = leaves_of.names_of(tensor, leaves, layer_axes)
  count = sum(leaves[leaf].size for leaf in tensor.leaves)
  size = count * np.dtype(DTYPES[dtype]).itemsize // len(names)
  for name, layer in names:
    yield Entry(name, tensor, layer, size)


def _shards(entries: Iterable[Entry], limit: int) -> list[list[Entry]]:
  """The entries in their order, file by file, none larger than the limit."""
  shards, room = [[]], limit
  for entry in entries:
    if shards[-1] and entry.size > room:
      shards.append([])
      room = limit
    shards[-1].append(entry)
    room -= entry.size
  return shards


def _layer_of(leaf: Any, axis: int | None, layer: int | None) -> np.ndarray:
  if axis is None or layer is None:
    return np.asarray(leaf)
  return np.asarray(jax.lax.index_in_dim(leaf, layer, axis, keepdims=False))
