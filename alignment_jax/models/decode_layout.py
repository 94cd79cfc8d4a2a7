"""Parameters and caches in the layout that is quickest token by token.

It changes the order of numbers in memory, not what is computed. Above the
border only `Model.for_decoding` and `Model.init_cache` are seen; below it a
projection asks whether its kernel is `Rows`.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

# Up to this many states at once, a product is worth the layout.
FEW = 32


@flax.struct.dataclass
class Rows:
  """A projection's kernel as a matrix, a row for each output."""

  matrix: Float[Array, "O I"]


def for_decoding(params: PyTree, axes: PyTree, *, stack: str) -> PyTree:
  """The same parameters, the stacked layers apart and their kernels as `Rows`.

  A step that sliced a layer from the stack would copy it for each token.

  Args:
    params: of a model; returned as they are if they have the layout already.
    axes: the same tree; the logical names of each leaf's axes.
    stack: name of the parameters whose first axis is the layer. Each
      projection in them is from or to the width.
  """
  if isinstance(params[stack], tuple):
    return params
  layers = unstack(params[stack])
  return params | {
    stack: tuple(_with_rows(layer, axes[stack]) for layer in layers)
  }


def unstack(tree: PyTree) -> tuple[PyTree, ...]:
  """One tree for each entry of the first axis."""
  count = jax.tree.leaves(tree)[0].shape[0]
  return tuple(
    jax.tree.map(lambda array, i=i: array[i], tree) for i in range(count)
  )


def _with_rows(params: PyTree, axes: PyTree) -> PyTree:
  """One layer's parameters; the axes are those of the stack."""
  if not isinstance(params, dict):
    return params
  parts = {name: _with_rows(part, axes[name]) for name, part in params.items()}
  if "kernel" in parts:
    kernel = parts["kernel"]
    _, first, *_ = axes["kernel"]
    if first == "width":
      matrix = kernel.reshape(kernel.shape[0], -1)
    else:
      matrix = kernel.reshape(-1, kernel.shape[-1])
    parts["kernel"] = Rows(matrix.T)
  return parts


def product_of_few(
  rows: Float[Array, "O I"], x: Float[Array, "N I"], dtype: Any
) -> Float[Array, "N O"]:
  """x rows^T, for an N of at most `FEW` or so.

  Where the large operand is on the right, XLA on CPU packs it anew in every
  product; with N = 8 that costs as much as the product. So it stands on the
  left, and a barrier keeps XLA from changing the sides; other platforms may.

  Args:
    rows: the large operand.
    x: the states.
    dtype: of the sums; None for that of the operands.
  """
  out = jax.lax.dot_general(
    rows, x, (((1,), (1,)), ((), ())), preferred_element_type=dtype
  )
  out = jax.lax.platform_dependent(
    out, cpu=jax.lax.optimization_barrier, default=lambda array: array
  )
  return out.T


def in_slots(key: Array, value: Array) -> tuple[Array, Array]:
  """[..., S, H, D] as a cache holds them: [..., H, D, S] and [..., H, S, D].

  The products of a single query with both then read along their last axis.
  """
  return jnp.moveaxis(key, -3, -1), jnp.swapaxes(value, -3, -2)


def from_slots(key: Array, value: Array) -> tuple[Array, Array]:
  """The inverse of `in_slots`."""
  return jnp.moveaxis(key, -1, -3), jnp.swapaxes(value, -3, -2)
