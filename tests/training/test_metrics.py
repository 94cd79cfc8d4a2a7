"""What a run writes while it trains, and what a resumed one replaces."""

import json
import math
import os
import pathlib
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

from alignment_jax import errors
from alignment_jax.training import metrics


def _writer(workdir, start_step=0, **changes):
  settings = {"total_steps": 10, "title": "ipo", "progress": False}
  return metrics.MetricsWriter(
    workdir, start_step=start_step, **(settings | changes)
  )


def _write_steps(workdir, start_step, steps, value):
  with _writer(workdir, start_step) as writer:
    for step in steps:
      writer.write(step, {"loss": value})


def _rows(workdir):
  return metrics.read_metrics(workdir / "metrics.jsonl")


def _events(workdir):
  accumulator = event_accumulator.EventAccumulator(
    str(workdir / "tensorboard"), size_guidance={"tensors": 0, "scalars": 0}
  )
  accumulator.Reload()
  return [(e.step, e.value) for e in accumulator.Scalars("loss")]


def test_what_is_written_is_read(tmp_path):
  with _writer(tmp_path / "new" / "run") as writer:
    writer.write(1, {"loss": 0.5, "rewards/margins": -2})
    writer.write(2, {"loss": np.float32(0.25)})
    writer.write(3, {"loss": jnp.float32(0.125)})
  assert _rows(tmp_path / "new" / "run") == [
    {"step": 1, "loss": 0.5, "rewards/margins": -2.0},
    {"step": 2, "loss": 0.25},
    {"step": 3, "loss": 0.125},
  ]


def test_numbers_that_are_not_finite_keep_the_file_valid_json(tmp_path):
  with _writer(tmp_path) as writer:
    writer.write(1, {"a": math.nan, "b": math.inf, "c": -math.inf})

  def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")

  line = (tmp_path / "metrics.jsonl").read_text()
  assert json.loads(line, parse_constant=refuse) == {
    "step": 1,
    "a": "nan",
    "b": "inf",
    "c": "-inf",
  }
  (row,) = _rows(tmp_path)
  assert math.isnan(row["a"])
  assert (row["b"], row["c"]) == (math.inf, -math.inf)


def test_a_line_can_be_read_before_the_writer_closes(tmp_path):
  with _writer(tmp_path) as writer:
    writer.write(1, {"loss": 1.0})
    assert _rows(tmp_path) == [{"step": 1, "loss": 1.0}]
    assert _events(tmp_path) == [(1, 1.0)]


def test_a_resumed_run_replaces_the_steps_after_its_checkpoint(tmp_path):
  _write_steps(tmp_path, 0, [1, 2, 3, 4], 1.0)
  _write_steps(tmp_path, 2, [3, 4, 5], 9.0)
  expected = [(1, 1.0), (2, 1.0), (3, 9.0), (4, 9.0), (5, 9.0)]
  assert [(r["step"], r["loss"]) for r in _rows(tmp_path)] == expected


def test_tensorboard_hides_the_steps_that_a_resumed_run_replaces(tmp_path):
  _write_steps(tmp_path, 0, [1, 2, 3, 4], 1.0)
  _write_steps(tmp_path, 2, [3], 9.0)
  assert _events(tmp_path) == [(1, 1.0), (2, 1.0), (3, 9.0)]


def test_tensorboard_orders_many_starts_within_one_second(tmp_path):
  for start in range(12):  # the names would sort 1, 10, 11, 2 without padding
    _write_steps(tmp_path, start, [start + 1, start + 2], float(start))
  last = [(step, step - 1.0) for step in range(1, 13)] + [(13, 11.0)]
  assert _events(tmp_path) == last


def test_a_fresh_start_drops_every_line_even_of_step_zero(tmp_path):
  _write_steps(tmp_path, 0, [0, 1], 1.0)
  _write_steps(tmp_path, 0, [0], 9.0)
  assert _rows(tmp_path) == [{"step": 0, "loss": 9.0}]
  assert _events(tmp_path) == [(0, 9.0)]


def test_a_torn_last_line_is_dropped_by_reader_and_resume(tmp_path):
  _write_steps(tmp_path, 0, [1, 2], 1.0)
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(path.read_bytes() + b'{"step": 3, "lo')
  assert [r["step"] for r in _rows(tmp_path)] == [1, 2]
  _write_steps(tmp_path, 5, [6], 1.0)
  assert [r["step"] for r in _rows(tmp_path)] == [1, 2, 6]
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    "metrics.jsonl",
    "tensorboard",
  ]


def test_a_whole_last_line_without_its_newline_is_kept(tmp_path):
  (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}')
  _write_steps(tmp_path, 1, [2], 1.0)
  assert [r["step"] for r in _rows(tmp_path)] == [1, 2]


@pytest.mark.parametrize("bad", ["{broken", "[1]", '{"loss": 1.0}', ""])
def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(tmp_path, bad):
  path = tmp_path / "metrics.jsonl"
  text = f'{{"step": 1}}\n{bad}\n{{"step": 3}}\n'
  path.write_text(text)
  with pytest.raises(errors.UserError, match="line 2 of .*metrics.jsonl"):
    metrics.read_metrics(path)
  with pytest.raises(errors.UserError, match="line 2"):
    _writer(tmp_path, 3)
  assert path.read_text() == text


def test_after_kill_9_and_a_resume_each_step_stands_once(tmp_path):
  script = (
    "import sys\n"
    "from alignment_jax.training import metrics\n"
    "writer = metrics.MetricsWriter(sys.argv[1], start_step=0, total_steps=9,"
    " title='x', progress=False)\n"
    "for step in range(1, 6): writer.write(step, {'loss': 1.0})\n"
    "print('written', flush=True)\n"
    "input()\n"
  )
  process = subprocess.Popen(
    [sys.executable, "-c", script, str(tmp_path)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    cwd=pathlib.Path(__file__).parents[2],
    env=os.environ | {"JAX_PLATFORMS": "cpu"},
  )
  with process:
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
  _write_steps(tmp_path, 3, range(4, 10), 2.0)
  assert [r["step"] for r in _rows(tmp_path)] == list(range(1, 10))
  assert [step for step, _ in _events(tmp_path)] == list(range(1, 10))


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
  with pytest.raises(errors.UserError, match=r"no metrics at .*none\.jsonl"):
    metrics.read_metrics(tmp_path / "none.jsonl")


def test_a_process_that_is_not_enabled_writes_nothing(tmp_path):
  with _writer(tmp_path / "run", enabled=False) as writer:
    writer.write(1, {"loss": 1.0})
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("bad", "message"),
  [
    ({"loss": np.zeros(2)}, r"'loss' has shape \(2,\)"),
    ({"step": 1.0}, "step"),
  ],
)
def test_a_metric_that_is_no_scalar_or_takes_the_steps_name_raises(
  tmp_path, bad, message
):
  with _writer(tmp_path) as writer:
    with pytest.raises(ValueError, match=message):
      writer.write(1, bad)
  assert _rows(tmp_path) == []


def test_writing_after_close_raises(tmp_path):
  writer = _writer(tmp_path)
  writer.close()
  writer.close()
  with pytest.raises(ValueError, match="step 1 written after close"):
    writer.write(1, {"loss": 1.0})


def test_progress_without_a_terminal_is_a_line_now_and_then(tmp_path, capsys):
  with _writer(
    tmp_path, start_step=4, progress=True, headline=["kl"]
  ) as writer:
    for step in range(5, 11):
      writer.write(step, {"hidden": 1.0, "kl": 0.5, "loss": step / 100})
  first, last = capsys.readouterr().err.splitlines()
  assert first.startswith("ipo  step 5/10  loss 0.05  kl 0.5  (")
  assert last.startswith("ipo  step 10/10  loss 0.1  kl 0.5  (")


def test_a_line_comes_every_ten_seconds_with_the_speed_since_the_start(
  tmp_path, capsys, monkeypatch
):
  clock = iter([100.0, 102.0, 111.0, 112.0, 120.0])
  monkeypatch.setattr(metrics.time, "monotonic", lambda: next(clock))
  with _writer(tmp_path, start_step=4, progress=True) as writer:
    for step in (8, 9, 10, 11):
      writer.write(step, {"loss": 0.5})
      assert capsys.readouterr().err.count("steps/s") == (step in (8, 10))
  # The last line is shown at the end: 7 steps in 20 seconds.
  assert capsys.readouterr().err == (
    "ipo  step 11/10  loss 0.5  (0.35 steps/s)\n"
  )


@pytest.mark.parametrize(
  "headline, shown",
  [
    ([], "loss 1  gradient_norm 4  learning_rate 5"),
    (["kl", "absent"], "loss 1  kl 2  gradient_norm 4  learning_rate 5"),
    (["win_rate", "kl"], "loss 1  win_rate 3  kl 2  gradient_norm 4"),
    (["win_rate", "kl", "a", "b"], "loss 1  win_rate 3  kl 2  a 6"),
  ],
)
def test_the_line_shows_the_loss_and_what_the_method_says_leads(
  tmp_path, capsys, headline, shown
):
  row = {"learning_rate": 5, "b": 7, "a": 6, "gradient_norm": 4}
  with _writer(tmp_path, progress=True, headline=headline) as writer:
    writer.write(1, {**row, "win_rate": 3, "kl": 2, "loss": 1})
  assert capsys.readouterr().err.startswith(f"ipo  step 1/10  {shown}  (")


def test_progress_on_a_terminal_is_a_bar(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
  monkeypatch.setenv("TERM", "xterm")
  monkeypatch.setenv("COLUMNS", "120")
  with _writer(tmp_path, start_step=4, progress=True) as writer:
    writer.write(10, {"loss": 0.5})
    writer.write(10, {"eval/win_rate": 0.7})  # keeps the loss in sight
  shown = capsys.readouterr().err
  assert "10/10" in shown
  assert "loss 0.5" in shown


@pytest.mark.parametrize("missing", ["rich", "tensorboard.compat.proto"])
def test_without_the_extra_a_run_goes_on_after_one_warning(
  tmp_path, monkeypatch, caplog, missing
):
  monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
  monkeypatch.setenv("TERM", "xterm")
  monkeypatch.setitem(sys.modules, missing, None)
  with _writer(tmp_path, progress=True) as writer:
    writer.write(1, {"loss": 0.5})
  assert _rows(tmp_path) == [{"step": 1, "loss": 0.5}]
  (record,) = caplog.records
  assert "pip install -e '.[viz]'" in record.message
