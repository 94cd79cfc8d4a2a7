"""Every config: its flags, and that a run that lost its end finds it again."""

import ast
import importlib
import inspect
import json
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from alignment_jax import algorithms, experiment

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 4

# Need a model or data that are fetched; their parts have tests of their own.
FETCHED = {"rcfd_xsum", "smollm2_ipo"}
CONFIGS = sorted(
  path.stem
  for path in (ROOT / "configs").glob("*.py")
  if path.stem not in ("__init__", "base")
)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_one_hop_from_what_it_shares(name):
  tree = ast.parse((ROOT / "configs" / f"{name}.py").read_text())
  imports = [
    ast.unparse(node)
    for node in ast.walk(tree)
    if isinstance(node, ast.Import | ast.ImportFrom)
  ]
  assert imports == ["from configs import base"]


# What no config names: a run gives them.
GIVEN = {"model", "sampling", "eos_id"}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_names_every_setting_of_its_method(name):
  # A flag can only set what is there.
  config = importlib.import_module(f"configs.{name}").get_config()
  factory = algorithms.ALGORITHMS[config.algorithm.name].factory
  settings = set(inspect.signature(factory).parameters) - GIVEN
  assert settings == set(config.algorithm) - {"name"}


def of(name, source):
  config = importlib.import_module(f"configs.{name}").get_config("tiny")
  with config.unlocked():
    if name != "lab":  # whose judge knows the words of its own data alone
      config.data.source = str(source)
    config.evaluation.prompts = 0
    for section in (config, config.get("sft"), config.get("reward_model")):
      if section:
        section.training.steps = min(section.training.steps, STEPS)
        section.training.checkpoint_every = STEPS // 2
        section.training.log_every = 1
        # Each of the eight devices has a row of each minibatch.
        section.training.batch_size = 8 * section.training.minibatches
  return config


def leaves(path):
  with ocp.StandardCheckpointer() as checkpointer:
    return jax.tree.leaves_with_path(checkpointer.restore(path.absolute()))


def lose_the_end(stage):
  """What a machine leaves that dies after half of the steps."""
  shutil.rmtree(stage / "final")
  shutil.rmtree(stage / "checkpoints" / str(STEPS))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in CONFIGS if n not in FETCHED])
def test_a_run_that_lost_its_end_finds_it_again(tmp_path, source, name):
  config = of(name, source)
  work = tmp_path / "run"
  experiment.train(config, str(work))
  stage = work / config.algorithm.name
  last = stage / "checkpoints" / str(STEPS) / "state"
  expected = leaves(last)
  lines = (stage / "metrics.jsonl").read_text()
  lose_the_end(stage)
  experiment.train(config, str(work))
  for (path, was), (found_path, value) in zip(
    expected, leaves(last), strict=True
  ):
    assert found_path == path
    np.testing.assert_array_equal(value, was, err_msg=str(path))
  again = (stage / "metrics.jsonl").read_text()
  assert [json.loads(line) for line in again.splitlines()] == [
    json.loads(line) for line in lines.splitlines()
  ]
