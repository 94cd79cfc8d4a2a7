"""Named optimizers: schedule, clipping, update rule and decay mask."""

from collections.abc import Callable

import jax
import optax
from jaxtyping import PyTree

from alignment_jax import errors

# `a` and `b` are the factors of a low-rank adapter.
_LINEAR_MAPS = ("kernel", "weight", "a", "b")


def _decayed(params: PyTree) -> PyTree:
  """Weight decay is for linear maps: not for norms, biases or embeddings."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: getattr(path[-1], "key", None) in _LINEAR_MAPS, params
  )


def _adamw(
  learning_rate: optax.Schedule, weight_decay: float
) -> optax.GradientTransformation:
  return optax.adamw(learning_rate, weight_decay=weight_decay, mask=_decayed)


def _adafactor(
  learning_rate: optax.Schedule, weight_decay: float
) -> optax.GradientTransformation:
  # Decay 0.8 and no relative step: the settings of the T5 papers.
  return optax.adafactor(
    learning_rate,
    decay_rate=0.8,
    multiply_by_parameter_scale=False,
    weight_decay_rate=weight_decay or None,
    weight_decay_mask=_decayed,
  )


def _sgd(
  learning_rate: optax.Schedule, weight_decay: float
) -> optax.GradientTransformation:
  return optax.chain(
    optax.add_decayed_weights(weight_decay, mask=_decayed),
    optax.sgd(learning_rate),
  )


# (schedule of the learning rate, weight decay) -> an update rule
Rule = Callable[[optax.Schedule, float], optax.GradientTransformation]
OPTIMIZERS: dict[str, Rule] = {
  "adafactor": _adafactor,
  "adamw": _adamw,
  "sgd": _sgd,
}


def _constant(peak: float, steps: int) -> optax.Schedule:
  del steps
  return optax.constant_schedule(peak)


def _linear(peak: float, steps: int) -> optax.Schedule:
  return optax.linear_schedule(peak, 0.0, steps)


def _cosine(peak: float, steps: int) -> optax.Schedule:
  return optax.cosine_decay_schedule(peak, steps)


# (peak, steps from there to the end) -> a schedule
SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
  "constant": _constant,
  "cosine": _cosine,
  "linear": _linear,
}


def make_schedule(
  name: str, *, learning_rate: float, warmup_steps: int, total_steps: int
) -> optax.Schedule:
  """Linear warm-up, then the named schedule down to 0 at `total_steps`.

  Raises:
    UserError: no such name, or a number out of range.
  """
  if name not in SCHEDULES:
    raise errors.unknown("schedule", name, SCHEDULES)
  if not learning_rate > 0:
    raise errors.UserError(f"learning_rate must be > 0, got {learning_rate}")
  if not 0 <= warmup_steps <= total_steps:
    raise errors.UserError(
      f"warmup_steps must be between 0 and the {total_steps} training steps,"
      f" got {warmup_steps}"
    )
  main = SCHEDULES[name](learning_rate, max(total_steps - warmup_steps, 1))
  if warmup_steps == 0:
    return main
  # The first update already moves: the ramp ends one step into the future.
  ramp = optax.linear_schedule(
    learning_rate / (warmup_steps + 1), learning_rate, warmup_steps
  )
  return optax.join_schedules([ramp, main], [warmup_steps])


def make_optimizer(
  name: str,
  schedule: optax.Schedule,
  *,
  weight_decay: float,
  clip_norm: float | None,
) -> optax.GradientTransformation:
  """The named optimizer behind clipping by the global gradient norm.

  Args:
    name: a key of `OPTIMIZERS`.
    schedule: the learning rate of each step.
    weight_decay: decoupled decay of linear maps, per unit of learning rate.
    clip_norm: largest global norm of a gradient, > 0; None does not clip.

  Raises:
    UserError: no such name, or a number out of range.
  """
  if name not in OPTIMIZERS:
    raise errors.unknown("optimizer", name, OPTIMIZERS)
  if weight_decay < 0:
    raise errors.UserError(f"weight_decay must be >= 0, got {weight_decay}")
  if clip_norm is not None and clip_norm <= 0:
    raise errors.UserError(f"clip_norm must be > 0 or None, got {clip_norm}")
  rule = OPTIMIZERS[name](schedule, weight_decay)
  if clip_norm is None:
    return rule
  return optax.chain(optax.clip_by_global_norm(clip_norm), rule)
