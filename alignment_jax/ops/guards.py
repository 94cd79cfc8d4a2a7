"""Guards that stand in the first line of a loss.

They look at shapes, dtypes and concrete numbers only, so they cost nothing
under `jax.jit`; a coefficient that is traced is not checked.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def same_shape_floats(**arrays: Array) -> tuple[Array, ...]:
  """The arrays in at least float32, after a check that they fit together.

  Refuses what broadcasting would accept: `[B]` against `[B, 1]` would give
  `[B, B]` numbers for B pairs.

  Returns:
    The arrays in the order given; bfloat16 and float16 become float32.

  Raises:
    ValueError: names the argument whose shape or dtype does not fit.
  """
  (first, reference), *_ = arrays.items()
  for name, array in arrays.items():
    if not jnp.issubdtype(jnp.result_type(array), jnp.floating):
      raise ValueError(
        f"{name} must hold floating-point numbers, got dtype"
        f" {jnp.result_type(array)}"
      )
    if jnp.shape(array) != jnp.shape(reference):
      raise ValueError(
        f"{name} has shape {jnp.shape(array)} but {first} has"
        f" {jnp.shape(reference)}; both must be the same"
      )
  return tuple(_at_least_float32(array) for array in arrays.values())


def positive(**coefficients) -> None:
  """Refuses a coefficient that is zero, negative or NaN."""
  for name, value in coefficients.items():
    if not isinstance(value, jax.core.Tracer) and not np.all(
      np.asarray(value) > 0
    ):
      raise ValueError(f"{name} must be > 0, got {value}")


def within(low: float, high: float, **coefficients) -> None:
  """Refuses a coefficient outside `low <= value < high`."""
  for name, value in coefficients.items():
    if isinstance(value, jax.core.Tracer):
      continue
    numbers = np.asarray(value)
    if not np.all((numbers >= low) & (numbers < high)):
      raise ValueError(f"{name} must be in [{low}, {high}), got {value}")


def _at_least_float32(array):
  # Not `jnp.promote_types`, which refuses under strict dtype promotion.
  dtype = jnp.result_type(array)
  return jnp.asarray(array, dtype if jnp.finfo(dtype).bits >= 32 else "float32")
