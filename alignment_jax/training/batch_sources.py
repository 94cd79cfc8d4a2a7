"""What each update learns from: data as they are, or rollouts with feedback.

A batch source is called with the number of updates made so far and the state,
and returns a batch on the devices and numbers about it. It depends on these two
and the run's key alone, so that a resumed run gets what the uninterrupted one
would have got.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Key, PyTree

from alignment_jax import errors, parallel
from alignment_jax.algorithm import Judge, Rollouts
from alignment_jax.training import step as steps
from alignment_jax.training.state import TrainState
from alignment_jax.types import Feedback, Rollout

DataStats = Mapping[str, Any]
# index of a batch -> (the batch on the host, numbers about it)
Batches = Callable[[int], tuple[Any, DataStats]]
# (updates made, state) -> (the batch on the devices, numbers about it)
BatchSource = Callable[[int, TrainState], tuple[Any, DataStats]]

# Further than a run is long: where the prompts and draws of further rounds are.
EXTRA_ROUND_OFFSET = 2**22


class BatchSourceError(errors.UserError):
  """No batch can be made; what has been learnt so far is worth saving."""


class ScoredRollout(NamedTuple):
  """A rollout on the host, its feedback, and numbers about its prompts."""

  rollout: Rollout
  feedback: Feedback
  data_stats: DataStats


# (step, version, trainable, slow) -> the scored rollout of that step
Sampler = Callable[[int, int, PyTree, PyTree], ScoredRollout]
# (step, state, ScoredRollout) -> the batch of that step, and numbers about it
Preparer = Callable[[int, TrainState, ScoredRollout], tuple[Any, DataStats]]


def offline(batches: Batches, mesh: jax.sharding.Mesh) -> BatchSource:
  """The data as they are."""

  def source(step: int, state: TrainState) -> tuple[Any, DataStats]:
    del state
    batch, data_stats = batches(step)
    return parallel.put_batch(mesh, batch), data_stats

  return source


def sampler(
  rollouts: Rollouts,
  judge: Judge,
  batches: Batches,
  key: Key[Array, ""],
  *,
  mesh: jax.sharding.Mesh,
) -> Sampler:
  """(step, version, trainable, slow) -> the scored rollout of that step.

  Raises, when called:
    BatchSourceError: the judge failed, or returned what the method cannot use.
  """
  sample = parallel.guarded(
    parallel.jit(rollouts.sample), "sampling", programs=2
  )

  def run(
    step: int, version: int, trainable: PyTree, slow: PyTree
  ) -> ScoredRollout:
    scored = attempt(step, step, version, trainable, slow)
    if rollouts.keep is None:
      return scored
    missing = ~rollouts.keep(scored.feedback)
    rounds = 0
    while missing.any() and rounds < rollouts.extra_rounds:
      rounds += 1
      # Prompts and draws of a step that no run reaches.
      further = attempt(
        step, step + rounds * EXTRA_ROUND_OFFSET, version, trainable, slow
      )
      scored, missing = _filled(
        scored, missing, further, rollouts.keep(further.feedback)
      )
    data_stats = {**scored.data_stats, "groups/rounds": rounds}
    return scored._replace(data_stats=data_stats)

  def attempt(
    step: int, index: int, version: int, trainable: PyTree, slow: PyTree
  ) -> ScoredRollout:
    """One round for `step`, on the prompts and with the draws of `index`."""
    batch, data_stats = batches(index)
    collect_key, _ = steps.keys_of(key, index)
    rollout = jax.device_get(
      sample(trainable, slow, parallel.put_batch(mesh, batch), collect_key)
    )
    rollout = rollout.replace(version=np.full_like(rollout.version, version))
    if rollouts.feedback == "none":
      return ScoredRollout(rollout, Feedback(), data_stats)
    try:
      feedback = jax.tree.map(
        lambda part: np.asarray(part, np.float32), judge(rollout, index)
      )
    except errors.UserError as error:
      raise BatchSourceError(f"at step {step}: {error}") from error
    except Exception as error:  # a judge is a program: it may raise anything
      raise BatchSourceError(
        f"the judge failed at step {step}: {error!r}"
      ) from error
    _check(rollouts, rollout, feedback, step)
    return ScoredRollout(rollout, feedback, data_stats)

  return run


def _filled(
  scored: ScoredRollout,
  missing: Bool[np.ndarray, "B"],
  further: ScoredRollout,
  useful: Bool[np.ndarray, "B"],
) -> tuple[ScoredRollout, Bool[np.ndarray, "B"]]:
  """Rows that are missing in one rollout, from the useful ones of another."""
  targets, sources = np.flatnonzero(missing), np.flatnonzero(useful)
  count = min(len(targets), len(sources))
  targets, sources = targets[:count], sources[:count]

  def fill(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    filled = np.array(old)  # a copy: arrays from a device cannot be written
    filled[targets] = new[sources]
    return filled

  rollout, feedback = jax.tree.map(
    fill,
    (scored.rollout, scored.feedback),
    (further.rollout, further.feedback),
  )
  still_missing = missing.copy()
  still_missing[targets] = False
  return scored._replace(rollout=rollout, feedback=feedback), still_missing


def preparer(rollouts: Rollouts, mesh: jax.sharding.Mesh) -> Preparer:
  """(step, state, ScoredRollout) -> the batch of that step, and its numbers."""
  prepare = parallel.jit(rollouts.prepare)

  def run(
    step: int, state: TrainState, scored: ScoredRollout
  ) -> tuple[Any, DataStats]:
    rollout, feedback = parallel.put_batch(
      mesh, (scored.rollout, scored.feedback)
    )
    batch = prepare(state.trainable, state.slow, rollout, feedback)
    staleness = step - int(scored.rollout.version[0])
    return batch, {**scored.data_stats, "staleness": staleness}

  return run


def synchronous(
  rollouts: Rollouts,
  judge: Judge,
  batches: Batches,
  key: Key[Array, ""],
  *,
  mesh: jax.sharding.Mesh,
) -> BatchSource:
  """Rollouts of the policy as it is, one after the other with learning.

  Args:
    rollouts: of the algorithm.
    judge: of its rollouts.
    batches: step -> (batch of prompts on the host, numbers about it).
    key: of the run; each step draws from its own.
    mesh: where to sample.
  """
  make = sampler(rollouts, judge, batches, key, mesh=mesh)
  finish = preparer(rollouts, mesh)

  def source(step: int, state: TrainState) -> tuple[Any, DataStats]:
    return finish(step, state, make(step, step, state.trainable, state.slow))

  return source


def _check(
  rollouts: Rollouts, rollout: Rollout, feedback: Feedback, step: int
) -> None:
  """Refuses feedback that lacks a part or holds what is no finite number."""
  for name, expected in _shapes(rollouts, rollout, feedback).items():
    scores = getattr(feedback, name)
    if expected is None:
      if scores is not None:
        raise BatchSourceError(
          f"the judge returned {name} at step {step}; a method that learns from"
          f" '{rollouts.feedback}' has no use for them on this rollout"
        )
      continue
    if scores is None:
      raise BatchSourceError(
        f"the judge returned no {name} at step {step}; a method that learns"
        f" from '{rollouts.feedback}' needs them, of shape {expected}"
      )
    if scores.shape != expected:
      rows, count = rollout.responses.ids.shape[:2]
      raise BatchSourceError(
        f"the judge returned {name} of shape {scores.shape} at step {step} for"
        f" {rows} prompts with {count} responses each; expected {expected}"
      )
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
      index = ", ".join(map(str, bad[0]))
      raise BatchSourceError(
        f"the judge returned {scores[tuple(bad[0])]} at step {step}, entry"
        f" [{index}] of {name} {scores.shape}; every score must be a finite"
        " number"
      )


def _shapes(
  rollouts: Rollouts, rollout: Rollout, feedback: Feedback
) -> dict[str, tuple[int, ...] | None]:
  """The shape of each part of the feedback; None of a part that is not read."""
  rows, count = rollout.responses.ids.shape[:2]
  opponents = None
  if rollout.opponents is not None:
    opponents = rollout.opponents.ids.shape[1]
  shapes: dict[str, tuple[int, ...] | None] = dict.fromkeys(
    ("rewards", "opponents", "demonstration", "preferences")
  )
  if rollouts.feedback == "reward":
    shapes["rewards"] = rows, count
    if opponents is not None:
      shapes["opponents"] = rows, opponents
  elif rollouts.feedback == "rewards":
    # How many judges there are is known to the judge alone.
    given = feedback.rewards
    judges = given.shape[2] if given is not None and given.ndim == 3 else 1
    shapes["rewards"] = rows, count, judges
    shapes["demonstration"] = rows, judges
  else:
    shapes["preferences"] = (
      rows,
      count,
      count if opponents is None else opponents,
    )
  return shapes
