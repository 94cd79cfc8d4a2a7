"""Generation and learning side by side (Noukhovitch et al., 2024).

arXiv:2410.18252: while the learner updates on one rollout, the next ones are
sampled with the parameters from before. Rollout n is sampled by version

    max(n - staleness, last checkpoint at or before n)

so who sampled what is a function of the step alone: a run can be replayed, and
a resumed run goes on exactly as the uninterrupted one, which started its
pipeline anew at each checkpoint too.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from alignment_jax import parallel
from alignment_jax.training import batch_sources
from alignment_jax.training.state import TrainState

POLL_SECONDS = 1.0


def version_of(step: int, *, staleness: int, restart_every: int) -> int:
  """How many updates the parameters had that sample the rollout of `step`."""
  return max(step - staleness, step // restart_every * restart_every)


class Asynchronous:
  """A feed whose rollouts are made by a thread, on devices of its own.

  A context manager: leaving it ends the thread.

  Args:
    make: from `batch_sources.sampler`, on the generator's devices.
    finish: from `batch_sources.preparer`, on the learner's.
    place: the parameters that sample -> themselves on the generator's devices.
    start: the first step.
    steps: one past the last.
    staleness: versions that a rollout may lag behind; 0 samples with the
      parameters that learn from it, as `batch_sources.synchronous` does, bit
      for bit.
    restart_every: updates between two checkpoints.
  """

  def __init__(
    self,
    make: Callable,
    finish: Callable,
    *,
    place: Callable[[PyTree], PyTree],
    start: int,
    steps: int,
    staleness: int,
    restart_every: int,
  ):
    if staleness < 0:
      raise ValueError(f"staleness must be >= 0, got {staleness}")
    self._make, self._finish, self._place = make, finish, place
    self._steps = range(start, steps)
    self._needed = {
      step: max(
        start,
        version_of(step, staleness=staleness, restart_every=restart_every),
      )
      for step in self._steps
    }
    self._versions: dict[int, Any] = {}
    self._published = threading.Condition()
    # At most so many finished rollouts wait; the generator waits then.
    self._done: queue.Queue = queue.Queue(maxsize=max(1, staleness))
    self._stopped = threading.Event()
    self._thread = threading.Thread(
      target=self._generate, name="generator", daemon=True
    )

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *exception):
    self._stopped.set()
    with self._published:
      self._published.notify_all()
    self._thread.join()

  def __call__(
    self, step: int, state: TrainState
  ) -> tuple[Any, Mapping[str, Any]]:
    """Hands the generator this version; waits for this step's rollout.

    Raises:
      BatchSourceError: the generator failed.
    """
    if step in self._needed.values():
      # Copies: the update gives its state away.
      params = self._place(
        jax.tree.map(jnp.copy, (state.trainable, state.slow))
      )
      with self._published:
        self._versions[step] = params
        self._published.notify_all()
    return self._finish(step, state, self._next(step))

  def _next(self, step):
    while True:
      try:
        made, result = self._done.get(timeout=POLL_SECONDS)
      except queue.Empty:
        if not self._thread.is_alive():
          raise batch_sources.BatchSourceError(
            f"the generator ended without a rollout for step {step}"
          ) from None
        continue
      if isinstance(result, batch_sources.BatchSourceError):
        raise result
      if isinstance(result, BaseException):
        raise batch_sources.BatchSourceError(
          f"the generator failed at step {made}: {result!r}"
        ) from result
      return result

  def _generate(self):
    for step in self._steps:
      try:
        params = self._version(self._needed[step])
        if params is None:
          return
        result = self._make(step, self._needed[step], *params)
      except BaseException as error:  # handed over: the learner raises it
        self._put(step, error)
        return
      self._put(step, result)

  def _version(self, version):
    """These parameters, when they are there; None if it is time to stop."""
    with self._published:
      self._published.wait_for(
        lambda: version in self._versions or self._stopped.is_set()
      )
      if self._stopped.is_set():
        return None
      for old in [v for v in self._versions if v < version]:
        del self._versions[old]
      return self._versions[version]

  def _put(self, step, result):
    while not self._stopped.is_set():
      try:
        self._done.put((step, result), timeout=POLL_SECONDS)
        return
      except queue.Full:
        continue


def placer(mesh: jax.sharding.Mesh, axes: PyTree) -> Callable:
  """Copies of parameters on a mesh, split as `parallel.shardings` says."""

  def place(tree):
    return jax.device_put(tree, parallel.shardings(mesh, tree, axes))

  return place
