"""Exponential moving averages of parameters, and schedules of their decay."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from alignment_jax.ops import guards


def ema(average: Any, params: Any, *, decay: float) -> Any:
  """decay * average + (1 - decay) * params, leaf by leaf, without debiasing.

  Args:
    average: tree of arrays.
    params: a tree of the same structure.
    decay: in [0, 1]; 1 leaves the average unchanged.

  Raises:
    ValueError: the trees differ, or decay is out of range.

  Example:
    0.75 * 0 + 0.25 * 4.

    >>> losses.ema(jnp.array([0.0]), jnp.array([4.0]), decay=0.75).tolist()
    [1.0]
  """
  guards.fraction(decay=decay)

  def mix(old: Array, new: Array) -> Array:
    # In the leaf's dtype: a float32 rate would promote a bfloat16 average.
    rate = jnp.asarray(decay, old.dtype)
    return rate * old + (1 - rate) * new

  return jax.tree.map(mix, average, params)


def ema_warmup_decay(step: Int[Array, ""], *, decay: float) -> Float[Array, ""]:
  """min(decay, (1 + step) / (10 + step)): a short memory at first.

  The schedule of TensorFlow's `ExponentialMovingAverage` with `num_updates`.

  Args:
    step: number of updates so far.
    decay: the limit for many steps, in [0, 1].

  Raises:
    ValueError: decay is out of [0, 1].

  Example:
    9 / 18 at step 8; later the limit.

    >>> steps = [jnp.array(8), jnp.array(1000)]
    >>> [float(losses.ema_warmup_decay(step, decay=0.75)) for step in steps]
    [0.5, 0.75]
  """
  guards.fraction(decay=decay)
  step = jnp.asarray(step, jnp.float32)
  return jnp.minimum(jnp.float32(decay), (1 + step) / (10 + step))


def ema_cosine_decay(
  step: Int[Array, ""], *, start: float, total_steps: int
) -> Float[Array, ""]:
  """From `start` up to 1 along half a cosine.

  Grill et al., 2020 (arXiv:2006.07733):
  1 - (1 - start) (1 + cos(pi step / total_steps)) / 2.

  Args:
    step: number of updates so far; past `total_steps` the decay stays 1.
    start: decay at step 0, in [0, 1].
    total_steps: steps until the decay is 1, >= 1.

  Raises:
    ValueError: start is out of [0, 1], or total_steps < 1.

  Example:
    Half way, the cosine is 0: 1 - (1 - 0.5) / 2.

    >>> decay = losses.ema_cosine_decay(jnp.array(5), start=0.5, total_steps=10)
    >>> f"{decay:.4f}"
    '0.7500'
  """
  guards.fraction(start=start)
  guards.positive(total_steps=total_steps)
  progress = jnp.clip(jnp.asarray(step, jnp.float32) / total_steps, 0.0, 1.0)
  return 1 - (1 - start) * (1 + jnp.cos(jnp.pi * progress)) / 2
