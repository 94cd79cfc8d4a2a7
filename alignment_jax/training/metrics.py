"""What a run writes while it trains: numbers on disk and a line to look at.

`metrics.jsonl` is the record, one JSON object per line. TensorBoard files and
the progress display show the same numbers and may be lost without harm. What
the numbers mean is decided by the algorithms, not here.
"""

import json
import logging
import math
import os
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, SupportsFloat, runtime_checkable

import numpy as np

from alignment_jax import errors, files

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0  # where no terminal can show a bar
SHOWN = 4  # metrics on a line: the loss and the first three of the others


class MetricsWriter:
  """Writes the metrics of one run; opened again after a kill, it goes on.

  Steps count finished updates: `start_step` of them are in the checkpoint that
  the run continues from. Lines of later steps belong to work that was lost, and
  are dropped when the writer opens, so that each step stands in `metrics.jsonl`
  once. `start_step=0` begins anew and drops every line. TensorBoard hides the
  events that a SessionLog START supersedes; their bytes stay on disk.

  Args:
    workdir: where `metrics.jsonl` and `tensorboard/` go; made if missing.
    start_step: finished updates when the run (re)starts, >= 0.
    total_steps: finished updates when the run ends.
    title: what the progress display calls the run.
    headline: the metrics that it shows beside the loss, as the method says.
    progress: whether to show progress on standard error.
    enabled: False on every process but the first: then nothing is written,
      and the metrics are not even fetched from the device.

  Raises:
    UserError: `metrics.jsonl` is damaged elsewhere than in its last line.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    *,
    start_step: int,
    total_steps: int,
    title: str,
    progress: bool,
    headline: Sequence[str] = (),
    enabled: bool = True,
  ) -> None:
    self._closed = False
    self._sinks: list[_Sink] = []
    if not enabled:
      return
    workdir = pathlib.Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    self._sinks.append(_JsonLines(workdir / "metrics.jsonl", start_step))
    try:
      self._sinks.append(_TensorBoard(workdir / "tensorboard", start_step))
    except ImportError:
      logger.warning(
        "no TensorBoard files, %s",
        errors.how_to_install("tensorboard", extra="viz"),
      )
    if progress:
      names = ("loss", *headline, "gradient_norm", "learning_rate")
      self._sinks.append(_progress(title, start_step, total_steps, names))

  def __enter__(self) -> "MetricsWriter":
    return self

  def __exit__(self, *exception: object) -> None:
    del exception
    self.close()

  def write(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
    """Appends one line; it survives a kill of the process, not of the machine.

    Args:
      step: finished updates.
      metrics: numbers or scalar arrays by name; not finite is allowed.
    """
    if self._closed:
      raise ValueError(f"metrics of step {step} written after close()")
    if not self._sinks:
      return
    numbers = {name: _number(name, value) for name, value in metrics.items()}
    for sink in self._sinks:
      sink.write(int(step), numbers)

  def close(self) -> None:
    """Closes the files and ends the progress display; may be called twice."""
    self._closed = True
    while self._sinks:
      self._sinks.pop().close()


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, int | float]]:
  """Reads `metrics.jsonl`: one dict per line, with its `step`.

  A last line that is cut short, by a kill or because the run is writing just
  now, is left out.

  Raises:
    UserError: there is no such file, or another line is not a JSON object.
  """
  return [
    {
      # What is not finite was written as "nan", "inf" or "-inf".
      name: float(value) if isinstance(value, str) else value
      for name, value in row.items()
    }
    for _, row in _lines(pathlib.Path(path))
  ]


@runtime_checkable
class _Sink(Protocol):
  """Where the metrics of a step go."""

  def write(self, step: int, metrics: Mapping[str, float]) -> None: ...

  def close(self) -> None: ...


def _number(name: str, value: Any) -> float:
  if name == "step":
    raise ValueError("a metric cannot be called 'step': each line has one")
  if np.ndim(value) != 0:
    raise ValueError(f"metric '{name}' has shape {np.shape(value)}, not ()")
  return float(value)


def _lines(path: pathlib.Path) -> list[tuple[bytes, dict[str, Any]]]:
  """Each whole line, and the row that it holds."""
  try:
    lines = path.read_bytes().splitlines()
  except FileNotFoundError:
    raise errors.UserError(
      f"no metrics at {path}; has this run written its first step?"
    ) from None
  rows = []
  for index, line in enumerate(lines):
    try:
      row = json.loads(line)
      int(row["step"])
    except (ValueError, TypeError, KeyError):
      if index == len(lines) - 1:
        break  # torn
      raise errors.UserError(
        f"line {index + 1} of {path} is not a JSON object with a step; mend or"
        " remove it"
      ) from None
    rows.append((line, row))
  return rows


class _JsonLines:
  """`metrics.jsonl`, first cut back to the steps that still count."""

  def __init__(self, path: pathlib.Path, start_step: int) -> None:
    if path.exists():
      lines = [
        line + b"\n"
        for line, row in _lines(path)
        if start_step > 0 and row["step"] <= start_step
      ]
      files.write_bytes(path, b"".join(lines))
    self._file = open(path, "a", encoding="utf-8")

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    row = {
      name: value if math.isfinite(value) else str(value)
      for name, value in metrics.items()
    }
    line = json.dumps({"step": step, **row}, allow_nan=False)
    self._file.write(line + "\n")
    self._file.flush()

  def close(self) -> None:
    self._file.close()


class _TensorBoard:
  """An event file, record by record, with no TensorFlow and no thread.

  `tensorboard.summary.Writer` would import TensorFlow where it is installed,
  and has no word for a restart.
  """

  def __init__(self, directory: pathlib.Path, start_step: int) -> None:
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer import record_writer

    events: Any = event_pb2  # its classes are made when it is imported
    summaries: Any = summary_pb2
    self._event, self._summary = events.Event, summaries.Summary
    directory.mkdir(parents=True, exist_ok=True)
    # TensorBoard reads files in the order of their names; the count keeps it
    # where two starts fall into one second.
    count = len(list(directory.glob("*tfevents*")))
    name = f"events.out.tfevents.{int(time.time()):010d}.{count:05d}"
    self._records = record_writer.RecordWriter(open(directory / name, "wb"))
    self._add(file_version="brain.Event:2")
    # START hides what older files hold at this step and later. The first START
    # of a directory hides nothing, so a fresh run writes one too.
    self._add(
      step=start_step + 1 if start_step > 0 else 0,
      session_log=events.SessionLog(status=events.SessionLog.START),
    )
    self._records.flush()

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    values = [
      self._summary.Value(tag=name, simple_value=value)
      for name, value in metrics.items()
    ]
    self._add(step=step, summary=self._summary(value=values))
    self._records.flush()

  def close(self) -> None:
    self._records.close()

  def _add(self, **fields: Any) -> None:
    event = self._event(wall_time=time.time(), **fields)
    self._records.write(event.SerializeToString())


def _progress(
  title: str, start_step: int, total_steps: int, names: Sequence[str]
) -> _Sink:
  """A bar on a terminal; lines elsewhere, and where rich is missing."""
  if sys.stderr.isatty():
    try:
      return _Bar(title, start_step, total_steps, names)
    except ImportError:
      logger.warning(
        "no progress bar, %s", errors.how_to_install("rich", extra="viz")
      )
  return _PlainLines(title, start_step, total_steps, names)


def _summary(metrics: Mapping[str, float], names: Sequence[str]) -> str:
  shown = [name for name in names if name in metrics][:SHOWN]
  return "  ".join(f"{name} {metrics[name]:.4g}" for name in shown)


class _Bar:
  def __init__(
    self, title: str, start_step: int, total_steps: int, names: Sequence[str]
  ) -> None:
    from rich import console, progress

    self._names = names
    self._progress = progress.Progress(
      progress.TextColumn("{task.description}", markup=False),
      progress.BarColumn(),
      progress.MofNCompleteColumn(),
      progress.TextColumn("{task.fields[summary]}", markup=False),
      progress.TimeElapsedColumn(),
      progress.TimeRemainingColumn(),
      console=console.Console(stderr=True),
    )
    self._task = self._progress.add_task(
      title, total=total_steps, completed=start_step, summary=""
    )
    self._progress.start()

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    self._progress.update(self._task, completed=step)
    # An evaluation has a line of its own: the last loss stays in sight.
    if summary := _summary(metrics, self._names):
      self._progress.update(self._task, summary=summary)

  def close(self) -> None:
    self._progress.stop()


class _PlainLines:
  def __init__(
    self, title: str, start_step: int, total_steps: int, names: Sequence[str]
  ) -> None:
    self._title, self._total, self._names = title, total_steps, names
    self._start_step, self._start_time = start_step, time.monotonic()
    self._next_time = -math.inf
    self._pending = ""

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    now = time.monotonic()
    rate = (step - self._start_step) / max(now - self._start_time, 1e-9)
    self._pending = (
      f"{self._title}  step {step}/{self._total}"
      f"  {_summary(metrics, self._names)}  ({rate:.3g} steps/s)"
    )
    if now >= self._next_time:
      self._next_time = now + SECONDS_BETWEEN_LINES
      self._print()

  def close(self) -> None:
    self._print()

  def _print(self) -> None:
    if self._pending:
      print(self._pending, file=sys.stderr, flush=True)
    self._pending = ""
