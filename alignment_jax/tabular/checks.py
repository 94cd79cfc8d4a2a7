"""Guards of the functions in this room: does a world fit together?

As in `ops.guards`, shapes and dtypes are always checked, and numbers only when
they are concrete: under `jax.jit` a matrix is taken as it is.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from alignment_jax.ops import guards

# How far P + P^T may be from 1 after float32 arithmetic.
TOLERANCE = 1e-5


def game(preferences: Array, **policies: Array) -> tuple[Array, ...]:
  """Checks a game; returns the matrix and the policies in at least float32.

  Args:
    preferences: [*batch, A, A], P[i, j] = probability that i is preferred to
      j.
    **policies: [*batch, A] each; their names appear in the errors.

  Returns:
    The matrix, then the policies in the order given.

  Raises:
    ValueError: names the argument whose shape or dtype does not fit, or
      `preferences` when it is outside [0, 1] or P + P^T is not 1.
  """
  (preferences,) = guards.same_shape_floats(preferences=preferences)
  preference_matrix(preferences)
  rows = preferences.shape[:-1]
  for name, policy in policies.items():
    if jnp.shape(policy) != rows:
      raise ValueError(
        f"{name} has shape {jnp.shape(policy)} but preferences has"
        f" {preferences.shape}; expected {rows}"
      )
  if not policies:
    return (preferences,)
  arrays = guards.same_shape_floats(**policies)
  for name, array in zip(policies, arrays, strict=True):
    if array.dtype != preferences.dtype:
      raise ValueError(
        f"{name} has dtype {array.dtype} but preferences has"
        f" {preferences.dtype}; both must be the same"
      )
  return (preferences, *arrays)


def preference_matrix(preferences: Array | np.ndarray) -> None:
  """Raises unless P is [..., A, A] in [0, 1] with P + P^T = 1."""
  shape = preferences.shape
  if len(shape) < 2 or shape[-1] != shape[-2]:
    raise ValueError(f"preferences must be [..., A, A], got shape {shape}")
  if isinstance(preferences, Tracer):
    return
  matrix = np.asarray(preferences)
  if not np.all((matrix >= 0) & (matrix <= 1)):
    raise ValueError("preferences must lie in [0, 1]")
  gap = np.max(np.abs(matrix + np.swapaxes(matrix, -1, -2) - 1), initial=0)
  if gap > TOLERANCE:
    raise ValueError(
      f"preferences must satisfy P + P^T = 1, found a gap of {gap:.3g}; a tie"
      " and the diagonal are 1/2"
    )


def at_least(low: int, **counts: int) -> None:
  """Raises if a count is below `low`."""
  for name, count in counts.items():
    if count < low:
      raise ValueError(f"{name} must be at least {low}, got {count}")
