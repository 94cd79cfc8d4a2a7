"""The loop around one compiled update: data in, metrics and checkpoints out."""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jaxtyping import Array

from alignment_jax import errors, parallel
from alignment_jax.training import batch_sources, checkpoint, metrics, state


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
  """All that one stage's loop needs.

  Attributes:
    title: what the progress bar says.
    update: from `step.make_update`.
    make_state: the state before the first step; compiled here, so that
      parameters are born where they belong.
    open_batches: first step -> what each update learns from; a context, since
      a source that works beside the loop has to be ended.
    key: of the whole run.
    mesh: where to run.
    axes: `Model.axes`.
    workdir: gets `checkpoints/`, `metrics.jsonl` and `tensorboard/`.
    steps: updates in all.
    log_every: steps between two lines of metrics.
    checkpoint_every: steps between two checkpoints.
    schedule: step -> learning rate, for the log.
    arguments: of `make_state`, such as a policy to start from; donated.
    headline: the metrics that the progress bar shows beside the loss.
    metadata: written beside each checkpoint.
    progress: whether to show the bar.
  """

  title: str
  update: Callable[..., tuple[state.TrainState, dict[str, Array]]]
  make_state: Callable[..., state.TrainState]
  open_batches: Callable[
    [int], contextlib.AbstractContextManager[batch_sources.BatchSource]
  ]
  key: Array
  mesh: jax.sharding.Mesh
  axes: Any
  workdir: pathlib.Path
  steps: int
  log_every: int
  checkpoint_every: int
  schedule: Callable[[int], Any]
  arguments: tuple[Any, ...] = ()
  headline: Sequence[str] = ()
  metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  progress: bool = True


def train(spec: Spec) -> state.TrainState:
  """Runs to `steps` from the newest checkpoint in `workdir`, or from the start.

  Batch n depends on n alone, and the key of step n on n alone: a run that was
  killed ends with the same parameters, bit for bit, as one that was not.

  Returns:
    The state after the last step.

  Raises:
    UserError: the loss is no longer a finite number, a checkpoint does not fit,
      or no batch could be made (what was learnt is saved then).
    RuntimeError: the update was compiled again after its second step.
  """
  # Shapes alone: they say where each leaf belongs before any of it exists.
  abstract = jax.eval_shape(spec.make_state, *spec.arguments)
  placed = parallel.shardings(spec.mesh, abstract, spec.axes)
  run = parallel.jit(
    spec.update,
    donate_argnums=0,
    out_shardings=(placed, parallel.replicated(spec.mesh)),
  )
  with contextlib.ExitStack() as stack:
    checkpoints = stack.enter_context(
      checkpoint.Checkpoints(spec.workdir / "checkpoints")
    )
    start = checkpoints.latest()
    if start is None:
      start = 0
      current = parallel.jit(
        spec.make_state,
        out_shardings=placed,
        donate_argnums=tuple(range(len(spec.arguments))),
      )(*spec.arguments)
    else:
      current = checkpoints.restore(
        start, checkpoint.target_of(abstract, placed)
      )
    writer = stack.enter_context(
      metrics.MetricsWriter(
        spec.workdir,
        start_step=start,
        total_steps=spec.steps,
        title=spec.title,
        headline=spec.headline,
        progress=spec.progress,
        enabled=parallel.is_main_process(),
      )
    )
    source = stack.enter_context(spec.open_batches(start))
    programs = 0
    for step in range(start, spec.steps):
      try:
        batch, data_stats = source(step, current)
      except batch_sources.BatchSourceError as error:
        if step > 0:
          checkpoints.save(step, current, {**spec.metadata, "step": step})
        kept = f"step {step} is saved" if step > 0 else "nothing was learnt yet"
        raise errors.UserError(
          f"'{spec.title}': {error} ({kept}; the same command goes on from"
          " there)"
        ) from error
      current, scalars = run(current, batch, spec.key)
      done = step + 1
      if step == start:
        # JAX shares programs between jits of one function, so there may be
        # more than this run's.
        programs = parallel.compilations(run)
      elif parallel.compilations(run) > programs:
        raise RuntimeError(
          f"the update of '{spec.title}' was compiled again at step {done}:"
          " the shape, dtype or sharding of a batch or of the state changed"
        )
      saving = done % spec.checkpoint_every == 0 or done == spec.steps
      # Fetching a number waits for the device, so not at every step. What is
      # saved is looked at first: a state that is not finite is never kept.
      if done % spec.log_every == 0 or saving:
        scalars = {name: float(value) for name, value in scalars.items()}
        scalars["learning_rate"] = float(spec.schedule(step))
        _check_finite(scalars, spec.title, done, checkpoints.latest())
        writer.write(done, {**scalars, **data_stats})
      if saving:
        checkpoints.save(done, current, {**spec.metadata, "step": done})
  return current


def _check_finite(
  scalars: Mapping[str, float], title: str, step: int, saved: int | None
) -> None:
  bad = [
    name
    for name in ("loss", "gradient_norm")
    if not math.isfinite(scalars[name])
  ]
  if bad:
    kept = f"the checkpoint of step {saved} is kept" if saved else "none saved"
    raise errors.UserError(
      f"{bad[0]} of '{title}' is {scalars[bad[0]]} at step {step} ({kept});"
      " lower optimizer.learning_rate or set optimizer.clip_norm, and use a new"
      " workdir"
    )
