"""Flags of the scripts: the value of each one matters.

A script is run in a process of its own, which then sets one flag after another,
so that what is compiled once serves them all.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRIVER = """
import contextlib, io, json, sys
from absl import flags
from absl.testing import flagsaver
import {script} as module
from alignment_jax import errors

runs = json.loads(sys.argv[1])
required = [f"--{{n}}={{v}}" for n, v in runs[0].items() if n != "prompt"]
flags.FLAGS([sys.argv[0], *required])
printed = []
for values in runs:
  with flagsaver.flagsaver(**values), io.StringIO() as out:
    with contextlib.redirect_stdout(out):
      try:
        module.main()
        printed.append(out.getvalue())
      except errors.UserError as error:
        printed.append(f"error: {{error}}")
print(json.dumps(printed))
"""


def printed(script, runs):
  """What each run prints, one after another in one process."""
  done = subprocess.run(
    [
      *(sys.executable, "-c", DRIVER.format(script=script)),
      json.dumps(runs, default=str),
    ],
    cwd=ROOT,
    env={
      **os.environ,
      "JAX_PLATFORMS": "cpu",
      "PYTHONPATH": f"{ROOT / 'experiments'}:{ROOT}",
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def generated(hub, tmp_path_factory):
  """What generate.py prints under each flag, and the base without it."""
  folder = tmp_path_factory.mktemp("asked")
  (folder / "asked.txt").write_text("de\n")
  base = {"model": hub, "max_tokens": 6, "temperature": 2.0}
  runs = {
    "base": {"prompt": ["abc"]},
    "no prompt": {},
    "prompt": {"prompt": ["xyz"]},
    "prompts_file": {"prompts_file": folder / "asked.txt"},
    "output": {"prompt": ["abc"], "output": folder / "out.jsonl"},
    "stream": {
      "prompt": ["abc"],
      "output": folder / "again.jsonl",
      "stream": True,
    },
    "samples": {"prompt": ["abc"], "samples": 3},
    "revisions": {"prompt": ["abc"], "revisions": 1},
    "two": {"prompt": ["abc", "abc"]},
    "batch_size": {"prompt": ["abc", "abc"], "batch_size": 1},
    "max_tokens": {"prompt": ["abc"], "max_tokens": 1},
    "seed": {"prompt": ["abc"], "seed": 1},
    "temperature": {"prompt": ["abc"], "temperature": 0.0},
    "top_k": {"prompt": ["abc"], "top_k": 1},
    "top_p": {"prompt": ["abc"], "top_p": 1e-6},
    "min_p": {"prompt": ["abc"], "min_p": 1.0},
    "chat": {"prompt": ["abc"], "temperature": 0.0, "chat": True},
  }
  outputs = printed("generate", [{**base, **run} for run in runs.values()])
  return dict(zip(runs, outputs, strict=True)), folder


def test_generate_says_what_it_was_asked(generated):
  texts, _ = generated
  assert texts["base"].startswith("abc | ")
  assert texts["prompt"].startswith("xyz | ")
  assert texts["prompts_file"].startswith("de | ")
  assert texts["no prompt"] == "error: give --prompt or --prompts_file"


def test_generate_writes_where_it_is_told_and_shows_what_it_streams(generated):
  texts, folder = generated
  assert texts["output"] == ""
  assert texts["stream"].startswith("abc | ")
  row = json.loads((folder / "out.jsonl").read_text())
  assert row.keys() == {"prompt", "response"} and row["prompt"] == "abc"


def test_generate_samples_as_often_and_as_long_as_it_is_told(generated):
  texts, _ = generated
  assert texts["samples"].count("abc | ") == 3
  assert len(texts["max_tokens"]) < len(texts["base"])
  assert "was not trained to revise" in texts["revisions"]
  # Each batch has a key of its own.
  assert texts["two"] != texts["batch_size"]


def test_generate_samples_from_the_distribution_it_is_told(generated):
  texts, _ = generated
  assert texts["seed"] != texts["base"] != texts["temperature"]
  # Each leaves the most likely token alone.
  for name in ("top_k", "top_p", "min_p"):
    assert texts[name] == texts["temperature"]
  assert texts["chat"] != texts["temperature"]


def test_convert_exports_with_the_type_and_the_size_it_is_told(hub, tmp_path):
  runs = [
    {"source": hub, "target": tmp_path / "stage"},
    {"source": tmp_path / "stage", "target": tmp_path / "whole"},
    {
      "source": tmp_path / "stage",
      "target": tmp_path / "split",
      "dtype": "bfloat16",
      "shard_mb": 0,
    },
  ]
  printed("convert", runs)

  def exported(name):
    config = json.loads((tmp_path / name / "config.json").read_text())
    files = list((tmp_path / name).glob("*.safetensors"))
    return config["dtype"], sum(f.stat().st_size for f in files), len(files)

  whole, split = exported("whole"), exported("split")
  assert (whole[0], split[0]) == ("float32", "bfloat16")
  assert split[1] < 0.8 * whole[1]
  assert whole[2] == 1 < split[2]


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("refresh.name=ema", "config.refresh.name is now config.reference_update"),
    ("algorithm.wants=reward", "is now config.algorithm.feedback"),
    ("algorithm.wnats=reward", "'wnats'"),
  ],
)
def test_a_renamed_flag_answers_with_the_new_name(tmp_path, flag, message):
  done = subprocess.run(
    [
      *(sys.executable, "experiments/train.py"),
      "--config=configs/online_dpo.py:tiny",
      f"--workdir={tmp_path}",
      f"--config.{flag}",
    ],
    cwd=ROOT,
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert done.stderr.startswith("error: ") and message in done.stderr
  assert len(done.stderr.splitlines()) == 1
