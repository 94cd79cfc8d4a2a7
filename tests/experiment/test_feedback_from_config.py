"""A judge that another run trained, and the judges of an evaluation."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import config_dict

from alignment_jax import data, errors, experiment, parallel, types
from alignment_jax.data import padding
from alignment_jax.experiment import (
  feedback_from_config,
  reading,
  stage_folder,
)
from alignment_jax.experiment.setup import Setup
from alignment_jax.training import checkpoint
from configs import ppo, quickstart, rloo


@pytest.fixture(scope="module")
def judged(tmp_path_factory, source, small):
  """A run whose result is a reward model."""
  config = small(quickstart.get_config("tiny"), source)
  config.sft.training.steps = 2
  config.reward_model = None
  config.algorithm = config_dict.create(name="reward_model", pooling="mean")
  root = tmp_path_factory.mktemp("runs") / "judge"
  experiment.train(config, str(root))
  return root


@pytest.fixture(scope="session")
def learning(small):
  """(source, judge, start) -> RLOO on the word of a judge in a folder."""

  def configure(source, judge, start):
    config = small(rloo.get_config("tiny"), source)
    config.sft = None
    config.init_from = str(start)
    config.sampling.judge = config_dict.create(
      name="reward_model", path=str(judge)
    )
    config.evaluation.judge = "rouge"
    return config

  return configure


def test_a_run_learns_from_another_runs_reward_model(
  tmp_path, judged, source, learning
):
  config = learning(source, judged / "reward_model", judged / "sft")
  experiment.train(config, str(tmp_path / "run"))
  lines = (tmp_path / "run" / "rloo" / "metrics.jsonl").read_text().splitlines()
  assert json.loads(lines[-1])["rewards/spread"] > 0  # 0 where nobody judges
  result, judge_result = (
    json.loads((root / "evaluation.json").read_text())
    for root in (tmp_path / "run", judged)
  )
  # It needs references, which are what the data call chosen.
  assert [rate["judge"] for rate in result["win_rates"]] == [
    "rouge",
    "reward model",
  ]
  name = "reward model accuracy"
  assert result["numbers"][name] == judge_result["numbers"][name]
  assert 1 < result["numbers"]["length of demonstrations"] <= 8  # the window
  lines = (tmp_path / "run" / "answers.jsonl").read_text().splitlines()
  scores = [json.loads(line)["after_score"] for line in lines]
  assert result["numbers"]["rouge after"] == pytest.approx(np.mean(scores))


def test_a_critic_starts_from_the_reward_model_of_another_run(
  tmp_path, judged, source, learning
):
  config = learning(source, judged / "reward_model", judged / "sft")
  config.algorithm = ppo.get_config("tiny").algorithm
  config.optimizer.learning_rate = 1e-30  # ends where it started
  config.training.steps = 2
  config.evaluation.prompts = 0
  experiment.train(config, str(tmp_path / "run"))
  model, _, _ = stage_folder.open_stage(judged / "sft")
  mesh = parallel.make_mesh(data=-1, fsdp=1, tensor=1)
  ended = stage_folder.load_tree(tmp_path / "run" / "ppo", "value", model, mesh)
  begun = stage_folder.load_tree(judged / "reward_model", "reward", model, mesh)
  same = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-20)
  jax.tree.map(same, ended, begun)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_reward_model_of_another_shape_starts_no_critic(
  judged, source, learning, layers
):
  config = learning(source, judged / "reward_model", judged / "sft")
  config.algorithm = ppo.get_config("tiny").algorithm
  config.sft, config.init_from = quickstart.get_config("tiny").sft, None
  config.model.layers = layers
  main = experiment.plan(config, judged).main
  # The judge has one layer.
  expected = judged / "reward_model" if layers == 1 else None
  assert (main.critic_from and main.critic_from.path) == expected


CIRCLE = [[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]]


def comparing(algorithm):
  config = rloo.get_config("tiny").unlock()
  config.algorithm = config_dict.create(**algorithm)
  config.sampling.judge = config_dict.create(
    name="lab_class_preference", words=["a", "b", "c"], matrix=CIRCLE
  )
  return config


def loader_of(tokenizer, rows, batch_size=1):
  return data.Loader(
    rows,
    "prompt",
    tokenizer,
    batch_size=batch_size,
    prompt_length=4,
    response_length=4,
    seed=0,
  )


def setup_of(judged, config, source):
  """A run in the folder of the one whose result is a reward model."""
  config.data.source = str(source)
  return Setup(experiment.plan(config, judged), judged)


def test_a_judge_of_two_texts_meets_every_pair(judged, source):
  config = comparing({"name": "online_ipo", "tau": 0.1})
  setup = setup_of(judged, config, source)
  tokenizer, mesh = setup.tokenizer, setup.mesh
  texts = ["a", "b", "c"]
  encoded = [tokenizer.encode(text) for text in texts]
  padded = padding.right_padded(encoded, max(map(len, encoded)), 0)
  responses = jax.tree.map(lambda a: jnp.asarray(a)[None], padded)
  rollout = types.Rollout(
    prompt=jax.tree.map(lambda a: a[:, 0], responses),
    responses=responses,
    logprobs=jnp.zeros(responses.ids.shape),
    ended=jnp.ones((1, 3), bool),
    version=jnp.zeros((1,), jnp.int32),
  )
  loader = loader_of(tokenizer, [{"prompt": "a"}])
  scores = feedback_from_config.rollout_judge(
    setup, "preference", mesh, loader
  )(rollout, 0)
  assert scores.preferences[0].tolist() == CIRCLE


def learns_by(judge, feedback, judged, rows, texts, demonstrations=None):
  """What a judge says of the responses `texts` to the first batch of `rows`."""
  judged, source = judged
  config = rloo.get_config("tiny").unlock()
  config.sampling.judge = config_dict.create(**judge)
  setup = setup_of(judged, config, source)
  tokenizer, mesh = setup.tokenizer, setup.mesh

  def tokens(texts):
    return padding.right_padded(list(map(tokenizer.encode, texts)), 24, 0)

  responses = jax.tree.map(lambda a: a[:, None], tokens(texts))
  rollout = types.Rollout(
    prompt=tokens(["the"] * len(texts)),
    responses=responses,
    logprobs=np.zeros(responses.ids.shape, np.float32),
    ended=np.ones((len(texts), 1), bool),
    version=np.zeros(len(texts), np.int32),
    demonstration=None if demonstrations is None else tokens(demonstrations),
  )
  loader = loader_of(tokenizer, rows, batch_size=len(texts))
  return feedback_from_config.rollout_judge(setup, feedback, mesh, loader)(
    rollout, 1
  )


def test_what_people_wrote_earns_nothing_on_average(judged, source, learning):
  config = learning(source, judged / "reward_model", judged / "sft")
  setup = setup_of(judged, config, source)
  loader = setup.loader("demonstration", "train", 8)
  demonstrations, _ = loader.rows(range(len(loader)))
  responses = jax.tree.map(lambda a: a[:, None], demonstrations.response)
  rollout = types.Rollout(
    prompt=demonstrations.prompt,
    responses=responses,
    logprobs=np.zeros(responses.ids.shape, np.float32),
    ended=np.ones((len(loader), 1), bool),
    version=np.zeros(len(loader), np.int32),
  )
  rewards = feedback_from_config.rollout_judge(
    setup, "reward", setup.mesh, loader
  )(rollout, 0)
  assert rewards.rewards.std() > 1e-3
  assert rewards.rewards.mean() == pytest.approx(0.0, abs=1e-5)


def test_reward_models_of_several_runs_are_an_ensemble(
  tmp_path, judged, source, learning
):
  # A second one whose head points the other way: centered, minus the first.
  other = tmp_path / "reward_model"
  shutil.copytree(judged / "reward_model", other)
  model, _, _ = stage_folder.open_stage(other)
  mesh = parallel.make_mesh(data=-1, fsdp=1, tensor=1)
  params = stage_folder.load_tree(other, "reward", model, mesh)
  turned = {**params, "head": jax.tree.map(jnp.negative, params["head"])}
  checkpoint.save_tree(other / stage_folder.FINAL, {"reward": turned})

  def rewards(*paths, **settings):
    judge = {"name": "reward_model", "path": paths, **settings}
    config = learning(source, judged / "reward_model", judged / "sft")
    config.sampling.judge = config_dict.create(**judge)
    setup = setup_of(judged, config, source)
    loader = setup.loader("demonstration", "train", 8)
    rows, _ = loader.rows(range(8))
    responses = jax.tree.map(lambda a: a[:, None], rows.response)
    rollout = types.Rollout(
      prompt=rows.prompt,
      responses=responses,
      logprobs=np.zeros(responses.ids.shape, np.float32),
      ended=np.ones((8, 1), bool),
      version=np.zeros(8, np.int32),
    )
    judge = feedback_from_config.rollout_judge(
      setup, "reward", setup.mesh, loader
    )
    return judge(rollout, 0).rewards

  alone = rewards(str(judged / "reward_model"))
  paths = str(judged / "reward_model"), str(other)
  assert np.abs(alone).max() > 1e-3
  np.testing.assert_allclose(rewards(*paths), 0 * alone, atol=1e-5)
  np.testing.assert_allclose(
    rewards(*paths, combine="worst"), -np.abs(alone), atol=1e-5
  )
  np.testing.assert_allclose(
    rewards(*paths, combine="less_deviation", coefficient=0.5),
    -0.5 * np.abs(alone),
    atol=1e-5,
  )
  with pytest.raises(errors.UserError, match="no combination 'best'; avail"):
    rewards(*paths, combine="best")
  with pytest.raises(errors.UserError, match="at least 0, got -1"):
    rewards(*paths, coefficient=-1.0)


def test_a_judge_sees_what_a_person_answered_to_each_prompt(
  judged, source, words
):
  rows = [{"prompt": "the", "response": word} for word in words[:4]]
  loader = loader_of(data.load_tokenizer(judged / "tokenizer.model"), rows, 2)
  demonstrations = [rows[row]["response"] for row in loader.indices(1)]
  right = learns_by(
    {"name": "rouge"}, "reward", (judged, source), rows, demonstrations
  )
  assert right.rewards.tolist() == [[1.0], [1.0]]
  swapped = learns_by(
    {"name": "rouge"}, "reward", (judged, source), rows, demonstrations[::-1]
  )
  assert swapped.rewards.tolist() == [[0.0], [0.0]]


def test_a_judge_that_compares_needs_data_with_references(judged, source):
  with pytest.raises(
    errors.UserError, match="rouge' compares with a reference"
  ):
    learns_by(
      {"name": "rouge"},
      "reward",
      (judged, source),
      [{"prompt": "the"}],
      ["sun"],
    )


SUM = {
  "name": "sum",
  "judges": {"rouge": {"variant": "rouge1"}, "length": {"weight": 0.1}},
}


def test_a_sum_is_one_reward_or_one_of_each_judge(judged, source):
  rows = [{"prompt": "the", "response": "sun and tree"}]
  texts, demonstrations = ["good sun"], ["sun and"]  # the window held no more
  total = learns_by(SUM, "reward", (judged, source), rows, texts)
  # One word of two and three in common: 2 * 1 / (2 + 3); two words.
  np.testing.assert_allclose(total.rewards, [[0.4 + 0.2]], rtol=1e-6)
  each = learns_by(
    SUM, "rewards", (judged, source), rows, texts, demonstrations
  )
  # A config's names are in alphabetical order: length, rouge.
  np.testing.assert_allclose(each.rewards, [[[0.2, 0.4]]], rtol=1e-6)
  np.testing.assert_allclose(each.demonstration, [[0.2, 0.8]], rtol=1e-6)


def test_a_judge_that_cannot_be_built_is_named_before_anything_runs():
  config = rloo.get_config("tiny").unlock()
  config.sampling.judge = config_dict.create(
    name="sum", judges=dict(rouge=dict(variant="rouge9"))
  )
  with pytest.raises(errors.UserError, match="no variant of ROUGE 'rouge9'"):
    reading.read(config)


def test_a_method_that_needs_rewards_takes_no_judge_of_two_texts():
  with pytest.raises(errors.UserError, match="compares two responses"):
    reading.read(comparing({"name": "rloo", "beta": 0.1}))


@pytest.mark.parametrize(
  ("judge", "message"),
  [
    ("nowhere", "nowhere is not the folder of a finished stage"),
    ("sft", "sft holds a stage of 'sft', but config.sampling.judge.name is"),
  ],
)
def test_a_judge_that_is_none_leaves_no_folder(
  tmp_path, judged, source, learning, judge, message
):
  with pytest.raises(errors.UserError) as caught:
    experiment.train(
      learning(source, judged / judge, judged / "sft"), str(tmp_path / "run")
    )
  assert message in str(caught.value)
  assert not (tmp_path / "run").exists()


def test_a_judge_that_reads_other_tokens_is_refused(
  tmp_path, judged, source, learning
):
  other = tmp_path / "judge"
  shutil.copytree(judged / "reward_model", other)
  with (other / "tokenizer.model").open("ab") as file:
    file.write(b"\n")
  with pytest.raises(errors.UserError, match="reads other tokens"):
    experiment.train(
      learning(source, other, judged / "sft"), str(tmp_path / "run")
    )


def test_a_judge_of_evaluation_that_needs_settings_is_refused():
  config = quickstart.get_config("tiny")
  config.evaluation.judge = "regex"
  with pytest.raises(errors.UserError) as caught:
    reading.read(config)
  assert "a name alone, and 'regex' needs more" in str(caught.value)


@pytest.mark.parametrize(
  ("judge", "message"),
  [
    ({}, "give another run's as config.sampling.judge.path"),
    ({"path": 3}, "config.sampling.judge.path must be of type str, got 3"),
    ({"folder": "a"}, "no setting of judge 'reward_model' 'folder'"),
  ],
)
def test_a_trained_judge_needs_a_run_that_trained_it(judge, message):
  config = rloo.get_config("tiny")
  config.sampling.judge = config_dict.ConfigDict(
    {"name": "reward_model", **judge}
  )
  with pytest.raises(errors.UserError) as caught:
    reading.read(config)
  assert message in str(caught.value)
