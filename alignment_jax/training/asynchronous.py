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

# (step, version, trainable, slow) -> the scored rollout of that step
MakeRollout = Callable[[int, int, Any, Any], Any]
# (step, state, scored rollout) -> the batch of that step, and its numbers
MakeBatch = Callable[[int, Any, Any], tuple[Any, Mapping[str, Any]]]
Transfer = Callable[[PyTree], PyTree]


def version_of(step: int, *, staleness: int, restart_every: int) -> int:
  """How many updates the parameters had that sample the rollout of `step`."""
  return max(step - staleness, step // restart_every * restart_every)


class Asynchronous:
  """A source of batches whose rollouts a thread samples, on its own devices.

  A context manager: leaving it ends the thread.

  Args:
    make_rollout: from `batch_sources.sampler`, on the generator's devices.
    make_batch: from `batch_sources.preparer`, on the learner's.
    transfer: from `transfer_to`: parameters -> themselves on the generator's
      devices.
    start: the first step.
    steps: one past the last.
    staleness: versions that a rollout may lag behind; 0 samples with the
      parameters that learn from it, as `batch_sources.synchronous` does, bit
      for bit.
    restart_every: updates between two checkpoints.
  """

  def __init__(
    self,
    make_rollout: MakeRollout,
    make_batch: MakeBatch,
    *,
    transfer: Transfer,
    start: int,
    steps: int,
    staleness: int,
    restart_every: int,
  ) -> None:
    if staleness < 0:
      raise ValueError(f"staleness must be >= 0, got {staleness}")
    self._make_rollout, self._make_batch = make_rollout, make_batch
    self._transfer = transfer
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
    # Needs no bound: the generator waits for versions, so that at most
    # `staleness` rollouts wait for a learner that has taken its own.
    self._done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    self._stopped = threading.Event()
    self._thread = threading.Thread(
      target=self._generate, name="generator", daemon=True
    )

  def __enter__(self) -> "Asynchronous":
    self._thread.start()
    return self

  def __exit__(self, *exception: object) -> None:
    del exception
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
      # Copies, for the update donates the buffers of its state.
      params = self._transfer(
        jax.tree.map(jnp.copy, (state.trainable, state.slow))
      )
      with self._published:
        self._versions[step] = params
        self._published.notify_all()
    return self._make_batch(step, state, self._next(step))

  def _next(self, step: int) -> Any:
    while True:
      try:
        number, result = self._done.get(timeout=POLL_SECONDS)
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
          f"the generator failed at step {number}: {result!r}"
        ) from result
      return result

  def _generate(self) -> None:
    for step in self._steps:
      try:
        params = self._version(self._needed[step])
        if params is None:
          return
        result = self._make_rollout(step, self._needed[step], *params)
      except BaseException as error:  # the learner raises it
        self._done.put((step, error))
        return
      self._done.put((step, result))

  def _version(self, version: int) -> tuple[PyTree, PyTree] | None:
    """Waits for these parameters; None when it is time to stop."""
    with self._published:
      self._published.wait_for(
        lambda: version in self._versions or self._stopped.is_set()
      )
      if self._stopped.is_set():
        return None
      for old in [v for v in self._versions if v < version]:
        del self._versions[old]
      return self._versions[version]


def transfer_to(mesh: jax.sharding.Mesh, axes: PyTree) -> Transfer:
  """Puts parameters on a mesh, split as `parallel.shardings` says."""

  def transfer(tree: PyTree) -> PyTree:
    return jax.device_put(tree, parallel.shardings(mesh, tree, axes))

  return transfer
