"""The loop around one compiled update: data in, metrics and checkpoints out."""

import contextlib
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array

from alignment_jax import errors, parallel
from alignment_jax.training import batch_sources, checkpoint, metrics, state


def train(
  update: Callable,
  make_state: Callable[..., state.TrainState],
  open_feed: Callable[
    [int], contextlib.AbstractContextManager[batch_sources.BatchSource]
  ],
  key: Array,
  *,
  mesh: jax.sharding.Mesh,
  axes: Any,
  workdir: pathlib.Path,
  title: str,
  steps: int,
  log_every: int,
  checkpoint_every: int,
  meta: dict[str, Any],
  schedule: Callable[[int], Array],
  headline: Sequence[str] = (),
  arguments: tuple[Any, ...] = (),
  progress: bool = True,
) -> state.TrainState:
  """Runs to `steps` from the newest checkpoint in `workdir`, or from the start.

  Batch n depends on n alone, and the key of step n on n alone: a run that was
  killed ends with the same parameters, bit for bit, as one that was not.

  Args:
    update: from `step.make_update`.
    make_state: the state before the first step; compiled here, so that
      parameters are born where they belong.
    open_feed: first step -> what each update learns from; a context, since
      one that works beside the loop has to be ended.
    key: of the whole run.
    mesh: where to run.
    axes: `Model.axes`.
    workdir: gets `checkpoints/`, `metrics.jsonl` and `tensorboard/`.
    title: what the progress bar says.
    headline: the metrics that it shows beside the loss.
    steps: updates in all.
    log_every: steps between two lines of metrics.
    checkpoint_every: steps between two checkpoints.
    meta: written beside each checkpoint.
    schedule: step -> learning rate, for the log.
    arguments: of `make_state`, such as a policy to start from; given away.
    progress: whether to show the bar.

  Returns:
    The state after the last step.

  Raises:
    UserError: the loss is no longer a finite number, a checkpoint does not fit,
      or the feed failed (what was learnt is saved then).
    RuntimeError: the update was compiled again after its second step.
  """
  abstract = jax.eval_shape(make_state, *arguments)
  placed = parallel.shardings(mesh, abstract, axes)
  run = parallel.jit(
    update, donate_argnums=0, out_shardings=(placed, parallel.replicated(mesh))
  )
  with contextlib.ExitStack() as stack:
    checkpoints = stack.enter_context(
      checkpoint.Checkpoints(workdir / "checkpoints")
    )
    start = checkpoints.latest()
    if start is None:
      start = 0
      current = parallel.jit(
        make_state,
        out_shardings=placed,
        donate_argnums=tuple(range(len(arguments))),
      )(*arguments)
    else:
      current = checkpoints.restore(
        start, checkpoint.target_of(abstract, placed)
      )
    writer = stack.enter_context(
      metrics.MetricsWriter(
        workdir,
        start_step=start,
        total_steps=steps,
        title=title,
        headline=headline,
        progress=progress,
        enabled=parallel.is_main_process(),
      )
    )
    feed = stack.enter_context(open_feed(start))
    for step in range(start, steps):
      try:
        batch, about = feed(step, current)
      except batch_sources.BatchSourceError as error:
        if step > 0:
          checkpoints.save(step, current, {**meta, "step": step})
        kept = f"step {step} is saved" if step > 0 else "nothing was learnt yet"
        raise errors.UserError(
          f"'{title}': {error} ({kept}; the same command goes on from there)"
        ) from error
      current, scalars = run(current, batch, key)
      done = step + 1
      if parallel.compilations(run) > 1 and step > start:
        raise RuntimeError(
          f"the update of '{title}' was compiled again at step {done}: the"
          " shape, dtype or sharding of a batch or of the state changed"
        )
      saving = done % checkpoint_every == 0 or done == steps
      if done % log_every == 0 or saving:
        scalars = {name: float(value) for name, value in scalars.items()}
        scalars["learning_rate"] = float(schedule(step))
        _check_finite(scalars, title, done, checkpoints.latest())
        writer.write(done, {**scalars, **about})
      if saving:
        checkpoints.save(done, current, {**meta, "step": done})
  return current


def _check_finite(scalars, title, step, saved):
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
