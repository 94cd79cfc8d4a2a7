"""Elastic Reset: back to an average, whose own start is the initial policy."""

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
  """What follows an update: the average moves, and every `period` both jump.

  Noukhovitch et al., 2023 (arXiv:2312.07551), Algorithm 1:

      average <- decay average + (1 - decay) params
      every `period` steps, not at 0:  params <- average, then
                                       average <- initial

  The order matters. The state of the optimizer is not touched.

  Args:
    params: tree of arrays, after the update.
    average: a tree like it.
    initial: a tree like it, the policy that training started from.
    step: updates so far, this one included.
    decay: of the average, in [0, 1].
    period: updates between two resets, >= 1.
    applies: path of a leaf, such as `policy/blocks/mlp/out/kernel`, to whether
      it is averaged and reset; a value head should not be.

  Returns:
    Parameters and average. At a reset the parameters equal the average of that
    step bit for bit, and the average equals `initial`.

  Raises:
    ValueError: the trees differ, or a coefficient is out of range.
  """
  guards.fraction(decay=decay)
  guards.positive(period=period)
  step = jnp.asarray(step, jnp.int32)
  now = (step > 0) & (step % period == 0)

  def leaf(path, current, mean, first):
    if not applies(jax.tree_util.keystr(path, simple=True, separator="/")):
      return current, mean
    rate = jnp.asarray(decay, mean.dtype)
    mean = rate * mean + (1 - rate) * current
    return jnp.where(now, mean, current), jnp.where(now, first, mean)

  both = jax.tree_util.tree_map_with_path(leaf, params, average, initial)
  return tuple(
    jax.tree.map(lambda _, pair, side=side: pair[side], params, both)
    for side in (0, 1)
  )
