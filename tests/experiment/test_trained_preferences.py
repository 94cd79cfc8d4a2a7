"""A run that trains its own judge of two answers; methods without a judge."""

import json

import jax
import numpy as np
import pytest
from ml_collections import config_dict

from alignment_jax import errors, experiment, types
from alignment_jax.experiment import feedback_from_config, folder, reading
from alignment_jax.experiment.setup import Setup
from configs import gail, preference_model, quickstart, rloo, soft_q, srpo


@pytest.fixture(scope="session")
def bare(small):
  """(config, source) -> a small config without SFT, judge and evaluation."""

  def shrink(config, source):
    config = small(config, source)
    config.evaluation.prompts = 0
    config.sft = config.reward_model = None
    if config.preference_model is not None:
      config.preference_model.training.steps = 2
    return config

  return shrink


def metrics_of(root, stage):
  lines = (root / stage / "metrics.jsonl").read_text().splitlines()
  return json.loads(lines[-1])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, source, bare):
  """The config and folder of a run that judges by its preference model."""
  config = bare(preference_model.get_config("tiny"), source)
  config.evaluation.prompts = 2
  root = tmp_path_factory.mktemp("runs") / "run"
  experiment.train(config, str(root))
  return config, root


def test_a_method_on_preferences_learns_from_the_model_of_its_run(finished):
  _, root = finished
  assert metrics_of(root, "preference_model")["loss"] > 0
  # Were nobody to judge, every comparison would be undecided.
  assert metrics_of(root, "nash_md")["win_rate/undecided"] < 1
  numbers = json.loads((root / "evaluation.json").read_text())["numbers"]
  assert 0 <= numbers["preference model accuracy"] <= 1


def test_its_preferences_of_both_sides_sum_to_one(finished):
  config, root = finished
  setup = Setup(experiment.plan(config, root), root)
  judge = feedback_from_config.preference_scorer(
    setup, setup.mesh, root / "preference_model"
  )
  random = np.random.default_rng(0)

  def tokens(*shape):
    ids = random.integers(3, 200, shape).astype(np.int32)
    return types.Tokens(ids, np.ones(shape, bool))

  prompt, responses = tokens(3, 8), tokens(3, 4, 8)
  got = judge(prompt, responses, None)
  assert got.shape == (3, 4, 4)
  np.testing.assert_allclose(got + got.swapaxes(1, 2), 1, atol=1e-6)
  np.testing.assert_array_equal(got[:, range(4), range(4)], 0.5)
  # The same pair in other places gets the same number.
  order = [2, 0, 3, 1]
  turned = judge(prompt, jax.tree.map(lambda a: a[:, order], responses), None)
  np.testing.assert_allclose(
    turned, got[:, order][:, :, order], rtol=1e-4, atol=1e-5
  )
  # Against opponents, pair by pair: here two that are among the responses.
  opponents = jax.tree.map(lambda a: a[:, [3, 1]], responses)
  against = judge(prompt, responses, opponents)
  assert against.shape == (3, 4, 2)
  np.testing.assert_allclose(against, got[:, :, [3, 1]], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_method_without_a_judge_trains_from_its_config(
  tmp_path, source, bare
):
  experiment.train(bare(gail.get_config("tiny"), source), str(tmp_path / "run"))
  assert metrics_of(tmp_path / "run", "gail")["loss/discriminator"] > 0


@pytest.mark.slow
def test_texts_of_a_template_become_the_tokens_of_the_run(
  tmp_path, source, bare, finished
):
  config = bare(srpo.get_config("tiny"), source)
  root = tmp_path / "run"
  experiment.train(config, str(root))
  # One update in, policy and reference have hardly parted: 1 - 0.8 / 2.
  first = json.loads(
    (root / "srpo" / "metrics.jsonl").read_text().splitlines()[0]
  )
  assert first["loss"] == pytest.approx(0.6, abs=0.1)
  metadata = json.loads((root / "srpo" / "model.json").read_text())
  assert metadata["algorithm"]["template"] == list(config.algorithm.template)
  plain, revised = (
    list(
      experiment.generate(
        str(root / "srpo"),
        ["Say it", "Say the rain"],
        seed=0,
        max_tokens=8,
        revisions=revisions,
      )
    )
    for revisions in (0, 2)
  )
  assert [len(answers) for answers in revised] == [1, 1]
  assert plain != revised
  with pytest.raises(errors.UserError, match="was not trained to revise"):
    experiment.generate(
      str(finished[1] / "nash_md"),
      ["Say it"],
      seed=0,
      max_tokens=8,
      revisions=1,
    )


def with_judge(module, name):
  config = module.get_config("tiny").unlock()
  config.sampling.judge = config_dict.create(name=name)
  return config


@pytest.mark.parametrize(
  ("module", "judge", "message"),
  [
    (
      gail,
      "vader",
      "needs no judge, but config.sampling.judge.name is 'vader'",
    ),
    (rloo, "none", "algorithm 'rloo' needs a judge"),
    (rloo, "preference_model", "the run trains none: set config.preference"),
  ],
)
def test_a_judge_that_does_not_fit_the_method_is_refused(
  module, judge, message
):
  with pytest.raises(errors.UserError) as caught:
    reading.read(with_judge(module, judge))
  assert message in str(caught.value)


def test_rewards_cannot_be_had_from_a_preference_model():
  config = with_judge(rloo, "preference_model")
  config.preference_model = preference_model.get_config("tiny").preference_model
  with pytest.raises(errors.UserError, match="'rloo' needs rewards"):
    reading.read(config)


@pytest.mark.parametrize(
  ("module", "name", "value", "message"),
  [
    (soft_q, "eos_id", 3, "eos_id is the tokenizer's; leave it out"),
    (srpo, "template", ("one",), "template must have two parts"),
    (srpo, "template", (1, 2), "template must be a tuple of texts"),
  ],
)
def test_settings_that_are_tokens_are_checked(
  source, module, name, value, message
):
  config = module.get_config("tiny").unlock()
  with config.algorithm.ignore_type():
    config.algorithm[name] = value
  config.data.source = str(source)
  with pytest.raises(errors.UserError, match=message):
    experiment.plan(config)


def test_the_folder_of_a_version_without_preference_models_is_read(tmp_path):
  old = quickstart.get_config("tiny").to_dict()
  del old["preference_model"]
  (tmp_path / "config.json").write_text(json.dumps(old))
  read = reading.read(config_dict.ConfigDict(folder.read_config(tmp_path)))
  assert read.preference_model is None
