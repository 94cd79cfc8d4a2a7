"""Low-rank adapters as functions on the parameter tree.

Hu et al., 2021 (arXiv:2106.09685): a kernel W becomes W + alpha / rank A B. The
base is not touched, so it stays at hand as the reference. Merged parameters are
those of the model itself: they score, sample and export as any others.
"""

import fnmatch
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import errors
from alignment_jax.models import base

# Path of a kernel -> its `a` [*layers, *inputs, rank] and `b` [*layers, rank,
# *outputs].
Adapters = dict[str, dict[str, Array]]

# The maps of attention, which the paper adapts.
ATTENTION = ("*/attention/*/kernel",)


def init(
  key: Key[Array, ""],
  params: PyTree,
  axes: PyTree,
  *,
  rank: int,
  targets: tuple[str, ...] = ATTENTION,
) -> Adapters:
  """Adapters that change nothing yet: A is random, B is 0.

  Args:
    key: consumed.
    params: the base.
    axes: `Model.axes` of it, by which inputs and outputs are told apart.
    rank: of each adapter.
    targets: patterns of paths such as `blocks/mlp/up/kernel`; `*` matches
      anything.

  Returns:
    One adapter for each kernel that a pattern matches.

  Raises:
    UserError: rank < 1, or a pattern that matches no kernel.
  """
  if rank < 1:
    raise errors.UserError(f"rank must be at least 1, got {rank}")
  kernels = _kernels(params, axes)
  for pattern in targets:
    if not fnmatch.filter(kernels, pattern):
      raise errors.unknown("kernel", pattern, kernels)
  paths = sorted(
    path
    for path in kernels
    if any(fnmatch.fnmatch(path, pattern) for pattern in targets)
  )
  adapters = {}
  keys = jax.random.split(key, len(paths))
  for path, path_key in zip(paths, keys, strict=True):
    leaf, (layers, inputs) = kernels[path]
    front, back = leaf.shape[: layers + inputs], leaf.shape[layers + inputs :]
    fan_in = math.prod(front[layers:])
    a = jax.random.normal(path_key, (*front, rank), leaf.dtype)
    adapters[path] = {
      "a": a * jnp.asarray(fan_in**-0.5, leaf.dtype),
      "b": jnp.zeros((*front[:layers], rank, *back), leaf.dtype),
    }
  return adapters


def merge(
  params: PyTree, adapters: Adapters, axes: PyTree, *, alpha: float
) -> PyTree:
  """The parameters with the adapters in them; gradients reach both.

  Args:
    params: the base.
    adapters: from `init`.
    axes: `Model.axes`.
    alpha: the product of A and B is scaled by alpha / rank.

  Raises:
    UserError: an adapter for a kernel that the base does not have.
  """
  kernels = _kernels(params, axes)
  for path in adapters:
    if path not in kernels:
      raise errors.unknown("kernel", path, kernels)

  def add(path: tuple[Any, ...], leaf: Array) -> Array:
    pair = adapters.get(base.leaf_name(path))
    if pair is None:
      return leaf
    layers = kernels[base.leaf_name(path)][1][0]
    delta = _product(pair["a"], pair["b"], layers)
    rank = pair["a"].shape[-1]
    return leaf + jnp.asarray(alpha / rank, leaf.dtype) * delta

  return jax.tree_util.tree_map_with_path(add, params)


def _product(a: Array, b: Array, layers: int) -> Array:
  """A B, layer by layer where the first axis is the layer."""
  contract = jnp.tensordot
  for _ in range(layers):
    contract = jax.vmap(contract, in_axes=(0, 0, None))
  return contract(a, b, 1)


def _kernels(
  params: PyTree, axes: PyTree
) -> dict[str, tuple[Array, tuple[int, int]]]:
  """Path -> kernel, and how many of its axes are layers and inputs.

  A map reads the stream, whose axis `width` comes first then, or writes it.
  T5's cross-attention keys and values, layers in the middle, are left out.
  """
  names = {
    base.leaf_name(path): tuple(spec)
    for path, spec in jax.tree_util.tree_leaves_with_path(axes)
  }
  kernels = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    path = base.leaf_name(path)
    layers = int(names[path][0] == "layers")
    layer_names = names[path][layers:]
    if path.endswith("/kernel") and "layers" not in layer_names:
      inputs = 1 if layer_names[0] == "width" else len(layer_names) - 1
      kernels[path] = leaf, (layers, inputs)
  return kernels
