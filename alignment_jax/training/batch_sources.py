"""What each update learns from: data as they are, or rollouts that were judged.

A feed is called with the number of updates made so far and the state, and
returns a batch on the devices and numbers about it. It depends on these two and
the run's key alone, so that a resumed run is fed as the uninterrupted one.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from alignment_jax import errors, parallel
from alignment_jax.algorithm import Rollouts
from alignment_jax.training import step as steps
from alignment_jax.training.state import TrainState

Batches = Callable[[int], tuple[Any, Mapping[str, Any]]]
BatchSource = Callable[[int, TrainState], tuple[Any, Mapping[str, Any]]]

# Further than a run is long: where the prompts and draws of further rounds are.
EXTRA_ROUND_OFFSET = 2**22

# (rollout on the host, number of the batch that it answers) -> what
# `Rollouts.feedback`
Judge = Callable[[Any, int], np.ndarray]


class BatchSourceError(errors.UserError):
  """No batch can be made; what has been learnt so far is worth saving."""


class ScoredRollout(NamedTuple):
  """A rollout, what the judge said of it, and numbers about its prompts."""

  rollout: Any
  scores: np.ndarray
  about: Mapping[str, Any]


def offline(batches: Batches, mesh: jax.sharding.Mesh) -> BatchSource:
  """The data as they are."""

  def feed(step, state):
    del state
    batch, about = batches(step)
    return parallel.put_batch(mesh, batch), about

  return feed


def sampler(
  rollouts: Rollouts,
  judge: Judge,
  batches: Batches,
  key: jax.Array,
  *,
  mesh: jax.sharding.Mesh,
) -> Callable[[int, int, Any, Any], ScoredRollout]:
  """(step, version, trainable, slow) -> the judged rollout of that step.

  Raises, when called:
    BatchSourceError: the judge failed, or said something that is no score.
  """
  sample = parallel.guarded(
    parallel.jit(rollouts.sample), "sampling", programs=2
  )

  def run(step, version, trainable, slow):
    judged = attempt(step, step, version, trainable, slow)
    if rollouts.keep is None:
      return judged
    missing = ~rollouts.keep(judged.scores)
    rounds = 0
    while missing.any() and rounds < rollouts.extra_rounds:
      rounds += 1
      # Prompts and draws of a step that no run reaches.
      more = attempt(
        step, step + rounds * EXTRA_ROUND_OFFSET, version, trainable, slow
      )
      judged, missing = _filled(
        judged, missing, more, np.asarray(rollouts.keep(more.scores))
      )
    about = {**judged.about, "groups/rounds": rounds}
    return judged._replace(about=about)

  def attempt(step, place, version, trainable, slow):
    batch, about = batches(place)
    collect_key, _ = steps.keys_of(key, place)
    rollout = jax.device_get(
      sample(trainable, slow, parallel.put_batch(mesh, batch), collect_key)
    )
    rollout = rollout.replace(version=np.full_like(rollout.version, version))
    if rollouts.feedback == "none":
      return ScoredRollout(
        rollout, np.zeros(rollout.ended.shape, np.float32), about
      )
    try:
      scores = np.asarray(judge(rollout, place), np.float32)
    except errors.UserError as error:
      raise BatchSourceError(f"at step {step}: {error}") from error
    except Exception as error:  # a judge is a program: it may raise anything
      raise BatchSourceError(
        f"the judge failed at step {step}: {error!r}"
      ) from error
    _check(rollouts, rollout, scores, step)
    return ScoredRollout(rollout, scores, about)

  return run


def _filled(judged, missing, more, useful):
  """Rows that are missing in one rollout, from the useful ones of another."""
  places, found = np.flatnonzero(missing), np.flatnonzero(useful)
  count = min(len(places), len(found))
  places, found = places[:count], found[:count]

  def fill(old, new):
    filled = np.array(old)
    filled[places] = new[found]
    return filled

  rollout, scores = jax.tree.map(
    fill, (judged.rollout, judged.scores), (more.rollout, more.scores)
  )
  left = missing.copy()
  left[places] = False
  return judged._replace(rollout=rollout, scores=scores), left


def preparer(rollouts: Rollouts, mesh: jax.sharding.Mesh) -> Callable:
  """(step, state, ScoredRollout) -> the batch of that step, and its numbers."""
  prepare = parallel.jit(rollouts.prepare)

  def run(step, state, judged):
    rollout, scores = parallel.put_batch(mesh, (judged.rollout, judged.scores))
    batch = prepare(state.trainable, state.slow, rollout, scores)
    staleness = step - int(judged.rollout.version[0])
    return batch, {**judged.about, "staleness": staleness}

  return run


def synchronous(
  rollouts: Rollouts,
  judge: Judge,
  batches: Batches,
  key: jax.Array,
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

  def feed(step, state):
    return finish(step, state, make(step, step, state.trainable, state.slow))

  return feed


def _check(rollouts, rollout, scores, step):
  """Refuses what is not one finite score per response."""
  rows, count = rollout.responses.ids.shape[:2]
  judges = scores.shape[2] if scores.ndim == 3 else 1
  shape = {
    "reward": (rows, count),
    "rewards": (rows, count + 1, judges),
    "preference": (rows, count, count),
  }[rollouts.feedback]
  if scores.shape != shape:
    raise BatchSourceError(
      f"the judge returned scores of shape {scores.shape} at step {step} for"
      f" {rows} prompts with {count} responses each; expected {shape}"
    )
  bad = np.argwhere(~np.isfinite(scores))
  if len(bad):
    place = ", ".join(map(str, bad[0]))
    raise BatchSourceError(
      f"the judge returned {scores[tuple(bad[0])]} at step {step}, place"
      f" [{place}] of {scores.shape}; every score must be a finite number"
    )
