"""Guards that stand in the first line of a loss.

They look at shapes, dtypes and concrete numbers only, so they cost nothing
under `jax.jit`; a coefficient that is traced is not checked.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike

# What a method is configured with; under a transformation it may be traced.
Coefficient = ArrayLike


def same_shape_floats(**arrays: Array) -> tuple[Array, ...]:
  """The arrays in at least float32, after a check that they fit together.

  Refuses what broadcasting would accept: `[B]` against `[B, 1]` would give
  `[B, B]` numbers for B pairs.

  Returns:
    The arrays in the order given; bfloat16 and float16 become float32.

  Raises:
    ValueError: names the argument whose shape or dtype does not fit.
  """
  first, reference = next(iter(arrays.items()))
  return floats_of_shape(jnp.shape(reference), first, **arrays)


def floats_of_shape(
  shape: tuple[int, ...], what: str, **arrays: Array
) -> tuple[Array, ...]:
  """The arrays in at least float32, after a check that all have `shape`.

  Args:
    shape: what each must have.
    what: whose shape that is, for the error.
    **arrays: to check.

  Raises:
    ValueError: names the argument whose shape or dtype does not fit.
  """
  for name, array in arrays.items():
    if not jnp.issubdtype(jnp.result_type(array), jnp.floating):
      raise ValueError(
        f"{name} must hold floating-point numbers, got dtype"
        f" {jnp.result_type(array)}"
      )
    _fits(shape, what, name, array)
  return tuple(_at_least_float32(array) for array in arrays.values())


def flags_of_shape(shape: tuple[int, ...], what: str, **arrays: Array) -> None:
  """Refuses arrays that are not boolean or do not have `shape`."""
  for name, array in arrays.items():
    if jnp.result_type(array) != jnp.bool:
      raise ValueError(
        f"{name} must be boolean, got dtype {jnp.result_type(array)}"
      )
    _fits(shape, what, name, array)


def groups(**arrays: Array) -> None:
  """Refuses arrays with fewer than two responses in their last axis."""
  for name, array in arrays.items():
    if jnp.ndim(array) == 0 or jnp.shape(array)[-1] < 2:
      raise ValueError(
        f"{name} need K >= 2 responses in their last axis, got"
        f" {jnp.shape(array)}"
      )


def positive(**coefficients: Coefficient) -> None:
  """Refuses a coefficient that is zero, negative or NaN."""
  _check(lambda x: x > 0, "> 0", coefficients)


def non_negative(**coefficients: Coefficient) -> None:
  """Refuses a coefficient that is negative or NaN."""
  _check(lambda x: x >= 0, ">= 0", coefficients)


def within(low: float, high: float, **coefficients: Coefficient) -> None:
  """Refuses a coefficient outside `low <= value < high`."""
  _check(lambda x: (x >= low) & (x < high), f"in [{low}, {high})", coefficients)


def between(low: float, high: float, **coefficients: Coefficient) -> None:
  """Refuses a coefficient outside `low < value < high`."""
  _check(lambda x: (x > low) & (x < high), f"in ({low}, {high})", coefficients)


def fraction(**coefficients: Coefficient) -> None:
  """Refuses a coefficient outside `0 <= value <= 1`."""
  _check(lambda x: (x >= 0) & (x <= 1), "in [0, 1]", coefficients)


def _check(
  allowed: Callable[[np.ndarray], Any],
  words: str,
  coefficients: Mapping[str, Coefficient],
) -> None:
  for name, value in coefficients.items():
    if not isinstance(value, Tracer) and not np.all(allowed(np.asarray(value))):
      raise ValueError(f"{name} must be {words}, got {value}")


def _fits(
  shape: tuple[int, ...], what: str, name: str, array: ArrayLike
) -> None:
  if jnp.shape(array) != shape:
    raise ValueError(
      f"{name} has shape {jnp.shape(array)} but {what} has {shape}; both must"
      " be the same"
    )


def _at_least_float32(array: ArrayLike) -> Array:
  # Not `jnp.promote_types`, which refuses under strict dtype promotion.
  dtype = jnp.result_type(array)
  return jnp.asarray(array, dtype if jnp.finfo(dtype).bits >= 32 else "float32")
