"""Elastic Reset: periodically return to a moving average of the weights."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from alignment_jax.ops import guards


def elastic_reset(
  params: Any,
  average: Any,
  initial: Any,
  step: Int[Array, ""] | int,
  *,
  decay: float,
  period: int,
  applies: Callable[[str], bool] = lambda path: True,
) -> tuple[Any, Any]:
  """After an update, move the average; every `period` steps, reset both.

  Noukhovitch et al., 2023 (arXiv:2312.07551), Algorithm 1:

      average <- decay average + (1 - decay) params
      every `period` steps, not at 0:  params <- average, then
                                       average <- initial

  The order matters. The state of the optimizer is left alone.

  Args:
    params: tree of arrays, after the update.
    average: a tree of the same structure.
    initial: a tree of the same structure, the policy before training.
    step: number of updates so far, including this one.
    decay: decay of the average, in [0, 1].
    period: updates between two resets, >= 1.
    applies: whether the leaf at a path, such as `policy/blocks/mlp/out/kernel`,
      is averaged and reset; a value head should not be.

  Returns:
    Parameters and average. At a reset the parameters equal the average of that
    step bit for bit, and the average equals `initial`.

  Raises:
    ValueError: the trees differ, or a coefficient is out of range.

  Example:
    The average moves to 0.5 * 0 + 0.5 * 4 = 2; step 2 is a reset.

    >>> params, average, initial = jnp.array([[4.0], [0.0], [1.0]])
    >>> params, average = losses.elastic_reset(
    ...   params, average, initial, step=2, decay=0.5, period=2
    ... )
    >>> params.tolist(), average.tolist()
    ([2.0], [1.0])
  """
  guards.fraction(decay=decay)
  guards.positive(period=period)
  step = jnp.asarray(step, jnp.int32)
  reset = (step > 0) & (step % period == 0)

  def leaf(
    path: jax.tree_util.KeyPath, current: Array, mean: Array, start: Array
  ) -> tuple[Array, Array]:
    if not applies(jax.tree_util.keystr(path, simple=True, separator="/")):
      return current, mean
    # In the leaf's dtype: a float32 rate would promote a bfloat16 average.
    rate = jnp.asarray(decay, mean.dtype)
    mean = rate * mean + (1 - rate) * current
    return jnp.where(reset, mean, current), jnp.where(reset, start, mean)

  both = jax.tree_util.tree_map_with_path(leaf, params, average, initial)
  return tuple(
    jax.tree.map(lambda _, pair, side=side: pair[side], params, both)
    for side in (0, 1)
  )
