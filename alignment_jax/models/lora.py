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
from jaxtyping import Array, Key

from alignment_jax import errors
from alignment_jax.models import base

# The maps of attention, which the paper adapts.
ATTENTION = ("*/attention/*/kernel",)


def init(
  key: Key[Array, ""],
  params: Any,
  axes: Any,
  *,
  rank: int,
  targets: tuple[str, ...] = ATTENTION,
) -> dict[str, dict[str, Array]]:
  """Adapters that change nothing yet: A is random, B is 0.

  Args:
    key: consumed.
    params: the base.
    axes: `Model.axes` of it, by which inputs and outputs are told apart.
    rank: of each adapter.
    targets: patterns of paths such as `blocks/mlp/up/kernel`; `*` matches
      anything.

  Returns:
    Path -> `a` [*layers, *inputs, rank] and `b` [*layers, rank, *outputs].

  Raises:
    UserError: rank < 1, or a pattern that matches no kernel.
  """
  if rank < 1:
    raise errors.UserError(f"rank must be at least 1, got {rank}")
  kernels = _kernels(params, axes)
  for pattern in targets:
    if not fnmatch.filter(kernels, pattern):
      raise errors.unknown("kernel", pattern, kernels)
  chosen = sorted(
    path
    for path in kernels
    if any(fnmatch.fnmatch(path, pattern) for pattern in targets)
  )
  adapters = {}
  keys = jax.random.split(key, len(chosen))
  for path, own_key in zip(chosen, keys, strict=True):
    leaf, (layers, inputs) = kernels[path]
    front, back = leaf.shape[: layers + inputs], leaf.shape[layers + inputs :]
    fan_in = math.prod(front[layers:])
    a = jax.random.normal(own_key, (*front, rank), leaf.dtype)
    adapters[path] = {
      "a": a * jnp.asarray(fan_in**-0.5, leaf.dtype),
      "b": jnp.zeros((*front[:layers], rank, *back), leaf.dtype),
    }
  return adapters


def merge(
  params: Any, adapters: dict[str, dict[str, Array]], axes: Any, *, alpha: float
) -> Any:
  """The parameters with the adapters in them; gradients reach both.

  Args:
    params: the base.
    adapters: from `init`.
    axes: `Model.axes`.
    alpha: strength; the product is scaled by alpha / rank.

  Raises:
    UserError: an adapter for a kernel that the base does not have.
  """
  kernels = _kernels(params, axes)
  for path in adapters:
    if path not in kernels:
      raise errors.unknown("kernel", path, kernels)

  def add(path, leaf):
    pair = adapters.get(base.leaf_name(path))
    if pair is None:
      return leaf
    layers = kernels[base.leaf_name(path)][1][0]
    delta = _product(pair["a"], pair["b"], layers)
    rank = pair["a"].shape[-1]
    return leaf + jnp.asarray(alpha / rank, leaf.dtype) * delta

  return jax.tree_util.tree_map_with_path(add, params)


def _product(a, b, layers):
  contract = jnp.tensordot
  for _ in range(layers):
    contract = jax.vmap(contract, in_axes=(0, 0, None))
  return contract(a, b, 1)


def _kernels(params, axes):
  """Path -> kernel, and how many of its axes are layers and inputs.

  A map reads the stream, whose axis `width` comes first then, or writes it.
  T5's cross-attention keys and values, layers in the middle, are left out.
  """
  names = {
    base.leaf_name(path): tuple(spec)
    for path, spec in jax.tree_util.tree_leaves_with_path(
      axes, is_leaf=lambda leaf: isinstance(leaf, jax.P)
    )
  }
  found = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    path = base.leaf_name(path)
    layers = int(names[path][0] == "layers")
    own = names[path][layers:]
    if path.endswith("/kernel") and "layers" not in own:
      inputs = 1 if own[0] == "width" else len(own) - 1
      found[path] = leaf, (layers, inputs)
  return found
