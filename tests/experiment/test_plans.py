"""A plan is made once, writes nothing, and says what the run then does."""

import collections
import dataclasses
import json

import jax
import numpy as np
import pytest

from alignment_jax import algorithms, data, errors, experiment
from alignment_jax.experiment import folder, keys
from configs import ppo, quickstart, rloo


@pytest.fixture
def counted(monkeypatch):
  """How often each method's algorithm is built, and each source opened."""
  built, opened = collections.Counter(), collections.Counter()

  class Counted(data.Source):
    def __init__(self, name, **options):
      opened[name] += 1
      super().__init__(name, **options)

  def counting(name, factory):
    def build(model, **keywords):
      built[name] += 1
      return factory(model, **keywords)

    # The signature is what a config's keywords are bound to.
    build.__wrapped__ = factory
    return build

  for name, method in algorithms.ALGORITHMS.items():
    counted = dataclasses.replace(
      method, factory=counting(name, method.factory)
    )
    monkeypatch.setitem(algorithms.ALGORITHMS, name, counted)
  monkeypatch.setattr(data, "Source", Counted)
  return built, opened


def test_a_run_builds_each_algorithm_and_opens_its_source_once(
  tmp_path, source, small, counted
):
  config = small(quickstart.get_config("tiny"), source)
  for stage in (config.sft, config.reward_model):
    stage.training.steps = 2
  config.evaluation.judge = "length"
  experiment.train(config, str(tmp_path / "run"))
  built, opened = counted
  assert built == {"sft": 1, "reward_model": 1, "ipo": 1}
  assert opened == {str(source): 1}


def test_a_plan_writes_nothing(tmp_path, source, small, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config = small(ppo.get_config("tiny"), source)
  experiment.plan(config, tmp_path / "run")
  assert list(tmp_path.iterdir()) == []


def test_a_plan_names_stages_starts_and_feedback(source, small):
  plan = experiment.plan(small(ppo.get_config("tiny"), source))
  sft, reward_model, main = plan.stages
  assert [stage.name for stage in plan.stages] == ["sft", "reward_model", "ppo"]
  assert sft.starts_from is None
  assert reward_model.starts_from == main.starts_from
  assert main.starts_from.name == "sft"
  assert main.critic_from.name == "reward_model"
  assert plan.main is main
  lines = {
    line.partition(":")[0]: line
    for line in experiment.describe(plan).splitlines()
  }
  assert "feedback: reward from reward_model" in lines["stage ppo"]
  assert "critic from reward_model" in lines["stage ppo"]
  assert "from new parameters" in lines["stage sft"]
  # 2 steps of 8 of the rows that the split left.
  rows = len(plan.sources.rows("prompt", "train"))
  epochs = f"2 steps of 8; {16 / rows:.1f} times through {rows} rows"
  assert epochs in lines["stage ppo"]


def test_a_plan_is_carried_out_as_training_does(tmp_path, source, small):
  config = small(quickstart.get_config("tiny"), source)
  config.reward_model = None
  config.sft.training.steps = 2
  config.evaluation.prompts = 0
  experiment.train(config, str(tmp_path / "trained"))
  experiment.run(experiment.plan(config), str(tmp_path / "planned"))
  for name in ("ipo/metrics.jsonl", "tokenizer.model", "config.json"):
    trained, planned = (
      (tmp_path / run / name).read_bytes() for run in ("trained", "planned")
    )
    assert trained == planned


def test_the_tokenizer_of_the_folder_is_taken(tmp_path, source, small):
  config = small(quickstart.get_config("tiny"), source)
  first = experiment.plan(config)
  folder.claim(tmp_path / "run", config.to_dict())
  other = data.SentencePieceTokenizer.train(
    ["other words"], tmp_path / "run" / folder.TOKENIZER, vocabulary_size=300
  )
  second = experiment.plan(config, tmp_path / "run")
  assert second.tokenizer_file == other.file != first.tokenizer_file
  assert second.model.settings.vocabulary_size == other.vocabulary_size


def test_a_tokenizer_that_tokenizes_otherwise_than_before_is_refused(
  tmp_path, source, small
):
  config = small(quickstart.get_config("tiny"), source)
  config.sft = config.reward_model = None
  config.evaluation.prompts = 0
  work = tmp_path / "run"
  experiment.train(config, str(work))
  # What libraries of another version would do to the same file.
  for directory in (work, work / "ipo"):
    path = directory / folder.PROBE
    ids = json.loads(path.read_text())
    path.write_text(json.dumps([ids[0], ids[1] + 1, *ids[2:]]))
  for use in (
    lambda: experiment.train(config, str(work)),
    lambda: experiment.generate(
      str(work / "ipo"), ["Say it"], seed=0, max_tokens=2
    ),
  ):
    with pytest.raises(errors.UserError, match="other tokens than when it was"):
      use()
  # Folders of earlier versions have nothing to compare.
  (work / folder.PROBE).unlink()
  experiment.train(config, str(work))


# Draws that finished runs depend on: they were numbered before they had names.
@pytest.mark.parametrize(
  ("part", "number"),
  [
    ("sft", 0),
    ("reward_model", 1),
    (keys.MAIN, 2),
    (keys.EVALUATION, 3),
    ("preference_model", 4),
  ],
)
def test_the_parts_of_old_runs_keep_their_draws(part, number):
  expected = jax.random.fold_in(jax.random.key(7), number)
  got = keys.key_of(7, part)
  assert jax.random.key_data(got).tolist() == (
    jax.random.key_data(expected).tolist()
  )


def test_a_new_part_draws_by_its_name():
  parts = ["sft", "reward_model", keys.MAIN, "critic", "probe", "critics"]
  drawn = [float(jax.random.normal(keys.key_of(0, part))) for part in parts]
  assert len(set(drawn)) == len(parts)


def test_a_stage_more_leaves_the_others_as_they_are(source, small):
  config = small(quickstart.get_config("tiny"), source)
  with_judge = experiment.plan(config)
  config.reward_model = None
  without = experiment.plan(config)
  for stage in without.stages:
    (same,) = (s for s in with_judge.stages if s.name == stage.name)
    np.testing.assert_array_equal(
      jax.random.key_data(same.key), jax.random.key_data(stage.key)
    )


def test_what_a_config_says_stands_in_the_folder(tmp_path, source, small):
  config = small(rloo.get_config("tiny"), source)
  config.sft = None
  config.evaluation.prompts = 0
  experiment.run(experiment.plan(config), str(tmp_path / "run"))
  stored = json.loads((tmp_path / "run" / "config.json").read_text())
  assert stored == json.loads(json.dumps(config.to_dict()))
