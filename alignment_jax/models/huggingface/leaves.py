"""Which leaves the stored tensors of an architecture are, layer by layer."""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import PyTree

from alignment_jax.models import base
from alignment_jax.models.architectures import Tensor


def leaves_and_layer_axes(
  tree: PyTree, axes: PyTree
) -> tuple[dict[str, Any], dict[str, int | None]]:
  """Leaves by path, and which axis of each is the layers', or None."""
  leaves = {
    base.leaf_name(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
  layer_axes = {
    base.leaf_name(path): names.index("layers") if "layers" in names else None
    for path, spec in jax.tree_util.tree_leaves_with_path(axes)
    for names in [tuple(spec)]
  }
  return leaves, layer_axes


def names_of(
  tensor: Tensor,
  leaves: Mapping[str, Any],
  layer_axes: Mapping[str, int | None],
) -> list[tuple[str, int | None]]:
  """The names a tensor is stored under, and of which layer each is."""
  leaf = tensor.leaves[0]
  axis = layer_axes[leaf]
  if axis is None:
    return [(tensor.name, None)]
  count = leaves[leaf].shape[axis]
  return [(tensor.name.format(i=layer), layer) for layer in range(count)]
