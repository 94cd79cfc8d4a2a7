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
    params: a tree like it.
    decay: in [0, 1]; 1 leaves the average where it is.

  Raises:
    ValueError: the trees differ, or decay is out of range.
  """
  guards.fraction(decay=decay)

  def mix(old, new):
    rate = jnp.asarray(decay, old.dtype)
    return rate * old + (1 - rate) * new

  return jax.tree.map(mix, average, params)


def ema_warmup_decay(step: Int[Array, ""], *, decay: float) -> Float[Array, ""]:
  """min(decay, (1 + step) / (10 + step)): a short memory at first.

  The schedule of TensorFlow's ExponentialMovingAverage with `num_updates`.

  Raises:
    ValueError: decay is out of [0, 1].
  """
  guards.fraction(decay=decay)
  step = jnp.asarray(step, jnp.float32)
  return jnp.minimum(jnp.float32(decay), (1 + step) / (10 + step))


def ema_cosine_decay(
  step: Int[Array, ""], *, start: float, total_steps: int
) -> Float[Array, ""]:
  """From `start` up to 1 along half a cosine.

  Grill et al., 2020 (arXiv:2006.07733).
  1 - (1 - start) (1 + cos(pi step / total_steps)) / 2.

  Raises:
    ValueError: start is out of [0, 1], or total_steps < 1.
  """
  guards.fraction(start=start)
  guards.positive(total_steps=total_steps)
  progress = jnp.clip(jnp.asarray(step, jnp.float32) / total_steps, 0.0, 1.0)
  return 1 - (1 - start) * (1 + jnp.cos(jnp.pi * progress)) / 2
