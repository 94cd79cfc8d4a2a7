"""Whole runs through the scripts, as a user starts them, on a small file."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = "sun rain tree bird song road hill lake fire wind".split()


@pytest.fixture(scope="module")
def preferences(tmp_path_factory):
  """Twenty pairs, as a user writes them."""
  path = tmp_path_factory.mktemp("data") / "mine.jsonl"
  with path.open("w") as file:
    for index in range(20):
      word = WORDS[index % 10]
      row = {
        "prompt": f"Say number {index} about the {word}",
        "chosen": f"the {word} is good and bright",
        "rejected": f"no {word} here",
      }
      file.write(json.dumps(row) + "\n")
  return path


def started(script, *arguments, env=None):
  # Fresh processes cannot ask the test process for its devices.
  environment = {**os.environ, "JAX_PLATFORMS": "cpu", **(env or {})}
  return subprocess.Popen(
    [sys.executable, f"experiments/{script}.py", *map(str, arguments)],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def run(script, *arguments, env=None):
  process = started(script, *arguments, env=env)
  out, err = process.communicate(timeout=400)
  return process.returncode, out, err


def test_a_plan_is_printed_and_nothing_is_written(preferences, tmp_path):
  workdir = tmp_path / "run"
  code, out, err = run("train", *arguments(workdir, preferences), "--plan")
  assert code == 0, err
  assert "stage dpo: 12 steps of 8;" in out and "from sft" in out
  assert not workdir.exists()
  # A plan needs no folder; a run does.
  anywhere = [a for a in arguments(workdir, preferences) if "workdir" not in a]
  assert run("train", *anywhere, "--plan")[1] == out
  code, _, err = run("train", *anywhere)
  assert code == 2 and "give --workdir" in err


def arguments(workdir, source, *more, config="dpo"):
  return [
    f"--config=configs/{config}.py:tiny",
    f"--workdir={workdir}",
    f"--config.data.source={source}",
    "--config.reward_model.training.steps=0",
    "--config.sft.training.steps=4",
    "--config.training.steps=12",
    "--config.training.checkpoint_every=3",
    "--config.evaluation.prompts=4",
    *more,
  ]


def leaves(path):
  with ocp.StandardCheckpointer() as checkpointer:
    tree = checkpointer.restore(path.absolute())
  flat = []

  def walk(value):
    if isinstance(value, dict):
      for name in sorted(value):
        walk(value[name])
    else:
      flat.append(np.asarray(value))

  walk(tree)
  return flat


@pytest.fixture(scope="module")
def finished(tmp_path_factory, preferences):
  workdir = tmp_path_factory.mktemp("runs") / "whole"
  code, out, err = run("train", *arguments(workdir, preferences))
  assert code == 0, err
  return workdir, out


def test_a_users_own_preferences_train_with_one_flag(finished):
  workdir, out = finished
  assert "report.html" in out
  result = json.loads((workdir / "evaluation.json").read_text())
  assert result["win_rates"][0]["judge"] == "vader"
  assert "KL to the policy before" in result["numbers"]
  page = (workdir / "report.html").read_text()
  assert page.count("<svg") >= 3
  assert "the sun" in page or "about the" in page


@pytest.fixture(scope="module")
def feedback(tmp_path_factory):
  """Twenty single responses with a reward."""
  path = tmp_path_factory.mktemp("data") / "rated.jsonl"
  with path.open("w") as file:
    for index in range(20):
      row = {
        "prompt": f"Say number {index} about the {WORDS[index % 10]}",
        "response": f"the {WORDS[index % 7]} is there",
        "reward": index / 10,
      }
      file.write(json.dumps(row) + "\n")
  return path


@pytest.mark.parametrize("config", ["quickstart", "quickstart_t5", "dro_t5"])
def test_every_config_trains_in_its_tiny_form(
  tmp_path, preferences, feedback, config
):
  # dpo is `finished` above. No reward model can be had from single responses.
  rated = config == "dro_t5"
  more = ["--config.evaluation.prompts=0", "--config.training.steps=3"]
  code, out, err = run(
    "train",
    *arguments(
      tmp_path / "run", feedback if rated else preferences, config=config
    ),
    *more,
  )
  assert code == 0, err
  name = "dro" if rated else "ipo"
  lines = (tmp_path / "run" / name / "metrics.jsonl").read_text().splitlines()
  assert json.loads(lines[-1])["step"] == 3
  assert np.isfinite(json.loads(lines[-1])["loss"])


@pytest.fixture(scope="module")
def with_adapters(tmp_path_factory, preferences):
  """A run whose main stage trains adapters."""
  workdir = tmp_path_factory.mktemp("runs") / "with_adapters"
  code, _, err = run(
    "train",
    *arguments(workdir, preferences, config="smollm2_ipo"),
    "--config.training.steps=3",
  )
  assert code == 0, err
  return workdir


def restored(path):
  with ocp.StandardCheckpointer() as checkpointer:
    return checkpointer.restore(path.absolute())


def test_a_stage_of_adapters_ends_with_full_parameters(with_adapters):
  state = restored(with_adapters / "ipo" / "checkpoints" / "3" / "state")
  base = state["slow"]["base"]
  start = restored(with_adapters / "sft" / "final")["policy"]
  final = restored(with_adapters / "ipo" / "final")["policy"]
  paths = set(state["trainable"]["policy"])
  assert paths == {
    f"blocks/attention/{name}/kernel"
    for name in ("key", "out", "query", "value")
  }
  jax.tree.map(np.testing.assert_array_equal, base, start)
  np.testing.assert_array_equal(
    final["blocks"]["mlp"]["up"]["kernel"],
    base["blocks"]["mlp"]["up"]["kernel"],
  )
  # Rank and alpha of the config.
  pair = state["trainable"]["policy"]["blocks/attention/query/kernel"]
  expected = 16.0 / 4 * np.einsum("ldr,lrhw->ldhw", pair["a"], pair["b"])
  kernel, old = (
    tree["blocks"]["attention"]["query"]["kernel"] for tree in (final, base)
  )
  assert np.abs(expected).max() > 1e-5
  np.testing.assert_allclose(kernel - old, expected, atol=1e-6)
  result = json.loads((with_adapters / "evaluation.json").read_text())
  assert result["numbers"]["KL to the policy before"] != 0


def test_what_an_imported_model_cannot_adapt_leaves_no_folder(
  tmp_path, finished, preferences
):
  workdir, _ = finished
  code, _, err = run(
    "train",
    *arguments(
      tmp_path / "new",
      preferences,
      f"--config.init_from={workdir / 'dpo'}",
      "--config.lora.rank=2",
      "--config.lora.targets=('*/nothing',)",
    ),
  )
  message = "no kernel '*/nothing'; available: blocks/attention/key/kernel"
  assert message in one_error(code, err)
  assert not (tmp_path / "new").exists()


def test_a_killed_run_ends_bit_for_bit_like_one_that_was_not(
  tmp_path, preferences, finished
):
  process = started("train", *arguments(tmp_path / "killed", preferences))
  checkpoint = tmp_path / "killed" / "dpo" / "checkpoints" / "3"
  until = time.monotonic() + 300
  while not checkpoint.is_dir() and process.poll() is None:
    assert time.monotonic() < until
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert not (tmp_path / "killed" / "dpo" / "final").exists()
  code, _, err = run("train", *arguments(tmp_path / "killed", preferences))
  assert code == 0, err
  workdir, _ = finished
  for whole, resumed in zip(
    leaves(workdir / "dpo" / "final"),
    leaves(tmp_path / "killed" / "dpo" / "final"),
    strict=True,
  ):
    np.testing.assert_array_equal(whole, resumed)


def test_generate_and_evaluate_read_what_train_wrote(finished):
  workdir, _ = finished
  code, out, err = run(
    "generate",
    f"--model={workdir / 'dpo'}",
    "--prompt=Say something",
    "--max_tokens=6",
    "--temperature=0",
  )
  assert code == 0, err
  assert out.startswith("Say something | ")
  code, out, err = run("evaluate", f"--workdir={workdir}", "--prompts=2")
  assert code == 0, err
  assert "win rate under vader" in out
  code, _, err = run("evaluate", f"--workdir={workdir}", "--prompts=-1")
  assert one_error(code, err) == "error: prompts must be >= 1, got -1"


def one_error(code, err):
  lines = [line for line in err.splitlines() if line.startswith("error: ")]
  assert code == 2 and len(lines) == 1 and "Traceback" not in err, err
  return lines[0]


def test_another_config_in_the_same_workdir_names_the_field(
  finished, preferences
):
  workdir, _ = finished
  more = "--config.optimizer.learning_rate=0.5"
  code, _, err = run("train", *arguments(workdir, preferences, more))
  assert "optimizer.learning_rate is 0.001 there and 0.5 now" in one_error(
    code, err
  )


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--config.algorithm.name=ip0", "no algorithm 'ip0'; available: "),
    (
      "--config.model.name=gpt9",
      "no model 'gpt9'; available: decoder, decoder_mini",
    ),
    ("--config.data.source=nothing.jsonl", "nothing.jsonl"),
    ("--config.data.source=nothing.csv", "no data source 'nothing.csv'"),
    ("--config.mesh.fsdp=3", "does not fit 1 device"),
    ("--config.init_from=nowhere", "`make smollm2` makes data/smollm2"),
  ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(
  tmp_path, preferences, flag, message
):
  workdir = tmp_path / "new"
  code, _, err = run("train", *arguments(workdir, preferences, flag))
  assert message in one_error(code, err)
  assert not workdir.exists()


@pytest.mark.parametrize(
  "flag",
  ["--config.training.stepz=3", "--config.training.steps=many"],
)
def test_a_flag_that_does_not_fit_the_config_is_refused_without_a_trace(
  tmp_path, preferences, flag
):
  workdir = tmp_path / "new"
  code, _, err = run("train", *arguments(workdir, preferences, flag))
  assert code != 0
  assert "Traceback" not in err, err
  assert flag.split("=")[0].rsplit(".", 1)[1] in err
  assert not workdir.exists()


def test_a_workdir_that_cannot_be_written_is_one_line(tmp_path, preferences):
  (tmp_path / "file").write_text("not a folder")
  code, _, err = run("train", *arguments(tmp_path / "file" / "x", preferences))
  assert "cannot write to" in one_error(code, err)


def test_a_folder_with_other_files_is_left_alone(tmp_path, preferences):
  (tmp_path / "thesis.tex").write_text("years of work")
  code, _, err = run("train", *arguments(tmp_path, preferences))
  assert "not a run of ours" in one_error(code, err)
  assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
