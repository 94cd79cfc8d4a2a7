"""Where arrays live and where programs are compiled.

The mesh has the axes `data` (batch), `fsdp` (batch and parameters) and
`tensor` (heads, MLP, vocabulary). Rooms below training are pure functions and
do not compile; what compiles does it with `jit` here, so that one place can say
how: the only one that calls `jax.jit`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jaxtyping import ArrayLike, PyTree

from alignment_jax import errors

BATCH_AXES = ("data", "fsdp")

# Logical axis of a parameter -> mesh axis; an axis not named is not split.
RULES = {
  "heads": "tensor",
  "kv_heads": "tensor",
  "mlp": "tensor",
  "vocabulary": "tensor",
  "width": "fsdp",
}


def make_mesh(
  *,
  data: int,
  fsdp: int,
  tensor: int,
  devices: Sequence[Any] | None = None,
) -> Mesh:
  """A mesh over this program's devices, or some of them.

  Args:
    data: devices that hold a copy each and share the batch; -1 takes the rest.
    fsdp: devices that share the batch and the parameters.
    tensor: devices that share heads, MLPs and vocabulary.
    devices: those to use; all if None.

  Raises:
    UserError: the sizes do not multiply to the number of devices.
  """
  count = jax.device_count() if devices is None else len(devices)
  if fsdp < 1 or tensor < 1 or (data < 1 and data != -1):
    raise errors.UserError(
      "mesh sizes must be >= 1 (data may be -1 for the rest), got"
      f" data={data}, fsdp={fsdp}, tensor={tensor}"
    )
  sizes = (count // (fsdp * tensor) if data == -1 else data, fsdp, tensor)
  if math.prod(sizes) != count:
    raise errors.UserError(
      f"a mesh of data={data}, fsdp={fsdp}, tensor={tensor} does not fit"
      f" {count} device{'s' if count > 1 else ''}; the product must be {count}"
      " (for fake devices on a CPU set JAX_NUM_CPU_DEVICES)"
    )
  return jax.make_mesh(
    sizes,
    ("data", "fsdp", "tensor"),
    axis_types=(AxisType.Auto,) * 3,
    devices=devices,
  )


def replicated(mesh: Mesh) -> NamedSharding:
  """Every device holds the whole array."""
  return NamedSharding(mesh, jax.P())


def shardings(mesh: Mesh, tree: PyTree, axes: PyTree) -> PyTree:
  """A sharding for each leaf of a train state, or of part of one.

  A leaf is split like the parameter whose path its own path ends with: so the
  optimizer's moments and the reference lie where the policy lies. An axis that
  its mesh axis does not divide is not split. Anything else is replicated.

  Args:
    mesh: from `make_mesh`.
    tree: arrays or their shapes.
    axes: `Model.axes`, logical axis names for each parameter.
  """
  axes_of = {
    _names(path): names
    for path, names in jax.tree_util.tree_leaves_with_path(axes)
  }

  def sharding(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
    path = _names(path)
    for start in range(len(path)):
      names = axes_of.get(path[start:])
      if names is not None and len(names) == len(leaf.shape):
        return NamedSharding(mesh, _spec(mesh, names, leaf.shape))
    return replicated(mesh)

  return jax.tree_util.tree_map_with_path(sharding, tree)


def describe(mesh: Mesh, tree: PyTree, axes: PyTree) -> str:
  """A table of parameters, their shapes and what they are split over."""
  rows = [("parameter", "shape", "split over")]
  for (path, leaf), sharding in zip(
    jax.tree_util.tree_leaves_with_path(tree),
    jax.tree.leaves(shardings(mesh, tree, axes)),
    strict=True,
  ):
    split = ", ".join("-" if axis is None else axis for axis in sharding.spec)
    rows.append(("/".join(_names(path)), str(tuple(leaf.shape)), split or "-"))
  widths = [max(len(row[i]) for row in rows) for i in range(2)]
  return "\n".join(
    f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {split}"
    for name, shape, split in rows
  )


def check_batch_size(mesh: Mesh, batch_size: int, microbatches: int) -> None:
  """Raises if the batch cannot be split evenly over devices and microbatches.

  Raises:
    UserError: says by what the batch size must be divisible.
  """
  unit = math.prod(mesh.shape[axis] for axis in BATCH_AXES) * microbatches
  if batch_size < 1 or batch_size % unit:
    raise errors.UserError(
      f"batch_size {batch_size} must be a multiple of {unit}, the devices that"
      " share the batch (data x fsdp) times microbatches"
    )


def put_batch(mesh: Mesh, batch: PyTree) -> PyTree:
  """Host arrays of the whole batch to the devices, split over rows.

  Every host passes the same whole batch and keeps its own part.
  """
  sharding = NamedSharding(mesh, jax.P(BATCH_AXES))

  def put(array: ArrayLike) -> jax.Array:
    host = np.asarray(array)
    return jax.make_array_from_callback(
      host.shape, sharding, lambda index: host[index]
    )

  return jax.tree.map(put, batch)


def batches(tree: PyTree, batch_size: int) -> Iterator[PyTree]:
  """Host arrays in parts of one size; the last part repeats the last row.

  So a program that is run on the parts is compiled for one shape alone.
  """
  count = jax.tree.leaves(tree)[0].shape[0]
  for start in range(0, count, batch_size):
    rows = np.minimum(np.arange(start, start + batch_size), count - 1)
    yield jax.tree.map(lambda array, rows=rows: np.asarray(array)[rows], tree)


def map_batches(
  function: Callable[..., Any],
  rows: tuple[PyTree, ...],
  *,
  mesh: Mesh,
  batch_size: int,
) -> Any:
  """`function` of all rows of host arrays, `batch_size` of them at a time.

  Args:
    function: from `jit`, with replicated results; takes each of `rows`.
    rows: trees of arrays whose first axis is the rows, the same number in all.
    mesh: where to run.
    batch_size: rows at a time.

  Returns:
    What `function` returns of each row, on the host.
  """
  parts = [
    jax.device_get(function(*put_batch(mesh, part)))
    for part in batches(rows, batch_size)
  ]
  count = jax.tree.leaves(rows)[0].shape[0]
  return jax.tree.map(lambda *part: np.concatenate(part)[:count], *parts)


def jit(function: Callable, **options: Any) -> Callable:
  """`jax.jit` with its own options: the door of the rooms that compile."""
  return jax.jit(function, **options)


def compilations(function: Callable) -> int:
  """How many programs a jitted function has been compiled to."""
  return function._cache_size()  # noqa: SLF001


def guarded(function: Callable, name: str, *, programs: int = 1) -> Callable:
  """A jitted function that says so when it is compiled once too often.

  Args:
    function: from `jit`.
    name: for the error.
    programs: how many it may be compiled to: one for each shape it is to see.

  Raises:
    RuntimeError: in a call that compiled one more; names the shapes.
  """

  # JAX shares programs between jits of one function.
  compiled_before = compilations(function)

  def run(*args: Any, **kwargs: Any) -> Any:
    out = function(*args, **kwargs)
    if compilations(function) > compiled_before + programs:
      shapes = sorted(
        {str(jax.typeof(leaf)) for leaf in jax.tree.leaves((args, kwargs))}
      )
      raise RuntimeError(
        f"{name} was compiled {compilations(function)} times where {programs}"
        " was expected; a shape, dtype or sharding changed. The last call had"
        f" {', '.join(shapes)}"
      )
    return out

  return run


def is_main_process() -> bool:
  """Whether this process writes logs and reports."""
  return jax.process_index() == 0


def _names(path: tuple[Any, ...]) -> tuple[str, ...]:
  return tuple(
    str(
      getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", "")))
    )
    for entry in path
  )


def _spec(mesh: Mesh, names: jax.P, shape: tuple[int, ...]) -> jax.P:
  split = []
  for name, size in zip(names, shape, strict=True):
    axis = RULES.get(name)
    devices = 1 if axis is None else mesh.shape[axis]
    split.append(axis if devices > 1 and size % devices == 0 else None)
  return jax.P(*split)
