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
from alignment_jax.algorithms.base import Collect
from alignment_jax.training import step as steps
from alignment_jax.training.state import TrainState

Batches = Callable[[int], tuple[Any, Mapping[str, Any]]]
Feed = Callable[[int, TrainState], tuple[Any, Mapping[str, Any]]]

# Further than a run is long: where the prompts and draws of further rounds are.
FAR = 2**22

# (rollout on the host, number of the batch that it answers) -> what
# `Collect.wants`
Judge = Callable[[Any, int], np.ndarray]


class FeedError(errors.UserError):
  """No batch can be made; what has been learnt so far is worth saving."""


class Judged(NamedTuple):
  """A rollout, what the judge said of it, and numbers about its prompts."""

  rollout: Any
  scores: np.ndarray
  about: Mapping[str, Any]


def offline(batches: Batches, mesh: jax.sharding.Mesh) -> Feed:
  """The data as they are."""

  def feed(step, state):
    del state
    batch, about = batches(step)
    return parallel.put_batch(mesh, batch), about

  return feed


def sampler(
  collect: Collect,
  judge: Judge,
  batches: Batches,
  key: jax.Array,
  *,
  mesh: jax.sharding.Mesh,
) -> Callable[[int, int, Any, Any], Judged]:
  """(step, version, trainable, slow) -> the judged rollout of that step.

  Raises, when called:
    FeedError: the judge failed, or said something that is no score.
  """
  sample = parallel.guarded(
    parallel.jit(collect.sample), "sampling", programs=2
  )

  def run(step, version, trainable, slow):
    judged = attempt(step, step, version, trainable, slow)
    if collect.useful is None:
      return judged
    missing = ~collect.useful(judged.scores)
    rounds = 0
    while missing.any() and rounds < collect.rounds:
      rounds += 1
      # Prompts and draws of a step that no run reaches.
      more = attempt(step, step + rounds * FAR, version, trainable, slow)
      judged, missing = _filled(
        judged, missing, more, np.asarray(collect.useful(more.scores))
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
    if collect.wants == "nothing":
      return Judged(rollout, np.zeros(rollout.ended.shape, np.float32), about)
    try:
      scores = np.asarray(judge(rollout, place), np.float32)
    except errors.UserError as error:
      raise FeedError(f"at step {step}: {error}") from error
    except Exception as error:  # a judge is a program: it may raise anything
      raise FeedError(f"the judge failed at step {step}: {error!r}") from error
    _check(collect, rollout, scores, step)
    return Judged(rollout, scores, about)

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


def preparer(collect: Collect, mesh: jax.sharding.Mesh) -> Callable:
  """(step, state, Judged) -> the batch of that step, and numbers about it."""
  prepare = parallel.jit(collect.prepare)

  def run(step, state, judged):
    rollout, scores = parallel.put_batch(mesh, (judged.rollout, judged.scores))
    batch = prepare(state.trainable, state.slow, rollout, scores)
    staleness = step - int(judged.rollout.version[0])
    return batch, {**judged.about, "staleness": staleness}

  return run


def synchronous(
  collect: Collect,
  judge: Judge,
  batches: Batches,
  key: jax.Array,
  *,
  mesh: jax.sharding.Mesh,
) -> Feed:
  """Rollouts of the policy as it is, one after the other with learning.

  Args:
    collect: of the algorithm.
    judge: of its rollouts.
    batches: step -> (batch of prompts on the host, numbers about it).
    key: of the run; each step draws from its own.
    mesh: where to sample.
  """
  make = sampler(collect, judge, batches, key, mesh=mesh)
  finish = preparer(collect, mesh)

  def feed(step, state):
    return finish(step, state, make(step, step, state.trainable, state.slow))

  return feed


def _check(collect, rollout, scores, step):
  """Refuses what is not one finite score per response."""
  rows, count = rollout.responses.ids.shape[:2]
  judges = scores.shape[2] if scores.ndim == 3 else 1
  shape = {
    "reward": (rows, count),
    "rewards": (rows, count + 1, judges),
    "preference": (rows, count, count),
  }[collect.wants]
  if scores.shape != shape:
    raise FeedError(
      f"the judge returned scores of shape {scores.shape} at step {step} for"
      f" {rows} prompts with {count} responses each; expected {shape}"
    )
  bad = np.argwhere(~np.isfinite(scores))
  if len(bad):
    place = ", ".join(map(str, bad[0]))
    raise FeedError(
      f"the judge returned {scores[tuple(bad[0])]} at step {step}, place"
      f" [{place}] of {scores.shape}; every score must be a finite number"
    )
