"""A batch is a function of seed and step, with masks that are right."""

import collections

import jax
import numpy as np
import pytest

from alignment_jax import errors, types
from alignment_jax.data.loader import Loader

KINDS = ["demonstration", "preference", "feedback"]


class Letters:
  """a is 3, b is 4, ...; pad and eos are the same id."""

  pad_id, bos_id, eos_id = 2, 1, 2
  prompt_prefix, prompt_suffix = [1], []

  def encode(self, text):
    return [ord(letter) - ord("a") + 3 for letter in text]


def rows(kind, count):
  """Row i has the prompt of letter i, and i as its number."""
  letters = [chr(ord("a") + i) for i in range(count)]
  if kind == "demonstration":
    return [{"prompt": c, "response": "xyz"} for c in letters]
  if kind == "preference":
    return [
      {
        "prompt": c,
        "chosen": "x",
        "rejected": "yz",
        "probability": 0.75,
        "weight": float(i + 1),
      }
      for i, c in enumerate(letters)
    ]
  return [
    {"prompt": c, "response": "xy", "reward": float(i)}
    for i, c in enumerate(letters)
  ]


def make(kind="demonstration", count=7, **changes):
  settings = {
    "batch_size": 4,
    "prompt_length": 3,
    "response_length": 5,
    "seed": 0,
  }
  return Loader(rows(kind, count), kind, Letters(), **{**settings, **changes})


def which(batch):
  """The rows in a batch, by their prompts' last tokens."""
  return (np.asarray(batch.prompt.ids)[:, -1] - 3).tolist()


def assert_equal(one, two):
  jax.tree.map(np.testing.assert_array_equal, one, two)


def test_a_demonstration_is_padded_beside_its_response():
  batch, _ = make(count=1, batch_size=1).batch(0)
  assert isinstance(batch, types.Demonstration)
  np.testing.assert_array_equal(batch.prompt.ids, [[2, 1, 3]])
  np.testing.assert_array_equal(batch.prompt.mask, [[False, True, True]])
  np.testing.assert_array_equal(batch.response.ids, [[26, 27, 28, 2, 2]])
  np.testing.assert_array_equal(batch.response.mask, [[1, 1, 1, 1, 0]])


def test_a_pair_has_weight_and_probability():
  batch, _ = make("preference", count=1, batch_size=1).batch(0)
  assert isinstance(batch, types.PreferencePair)
  np.testing.assert_array_equal(batch.chosen.mask.sum(1), [2])  # x, eos
  np.testing.assert_array_equal(batch.rejected.mask.sum(1), [3])
  assert (batch.weight.tolist(), batch.probability.tolist()) == ([1.0], [0.75])


def test_feedback_is_one_scored_response_to_each_prompt():
  batch, _ = make("feedback", count=4).batch(0)
  assert isinstance(batch, types.ScoredResponses)
  assert batch.responses.ids.shape == batch.responses.mask.shape == (4, 1, 5)
  assert batch.rewards.shape == (4, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_are_numpy_of_the_stated_types(kind):
  batch, _ = make(kind).batch(0)
  for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
    name = jax.tree_util.keystr(path)
    wanted = (
      np.int32 if "ids" in name else np.bool_ if "mask" in name else np.float32
    )
    assert isinstance(leaf, np.ndarray) and leaf.dtype == wanted, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_depends_on_seed_and_step_alone(kind):
  loader = make(kind)
  seen = [loader.batch(step)[0] for step in range(6)]
  fresh = make(kind)
  for step in (5, 0, 3, 3):  # as after a resume, in any order
    assert_equal(fresh.batch(step)[0], seen[step])


def test_another_seed_gives_another_order():
  def order(seed):
    loader = make(count=20, batch_size=20, seed=seed)
    return which(loader.batch(0)[0])

  assert order(0) != order(1)
  assert sorted(order(0)) == sorted(order(1)) == list(range(20))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 30])
def test_every_epoch_has_every_row_once(batch_size):
  loader = make(count=7, batch_size=batch_size)
  steps = -(-7 * 6 // batch_size)
  seen = [i for step in range(steps) for i in which(loader.batch(step)[0])]
  epochs = [seen[7 * e : 7 * (e + 1)] for e in range(6)]
  assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
  assert len(set(map(tuple, epochs))) > 1  # each in its own order


def test_a_batch_may_be_larger_than_the_data():
  batch, _ = make(count=3, batch_size=10).batch(1)
  counts = collections.Counter(which(batch))
  assert sorted(counts) == [0, 1, 2] and sum(counts.values()) == 10


def test_the_order_far_into_training_needs_no_walk_to_it():
  assert len(which(make().batch(10**9)[0])) == 4


def test_a_batch_of_prompts_has_those_of_the_demonstrations():
  prompts, _ = make("prompt", count=5).batch(0)
  assert_equal(
    prompts.prompt, make("demonstration", count=5).batch(0)[0].prompt
  )


def test_a_batch_says_where_its_rows_are():
  loader = make(count=5)
  assert which(loader.batch(2)[0]) == loader.indices(2)


def test_rewards_have_mean_zero_and_variance_one_over_the_data():
  batch, _ = make("feedback", count=8, batch_size=8).batch(0)
  assert abs(batch.rewards.mean()) < 1e-6
  assert abs(batch.rewards.std() - 1) < 1e-6


def test_held_out_rewards_are_scaled_as_the_training_rewards():
  train = make("feedback", count=8)
  assert train.reward_scale == (3.5, np.arange(8).std())
  held_out = make("feedback", count=2, reward_scale=train.reward_scale)
  batch, _ = held_out.rows([0, 1])
  np.testing.assert_allclose(
    batch.rewards[:2, 0], (np.arange(2) - 3.5) / np.arange(8).std(), rtol=1e-6
  )


def test_a_scale_of_zero_and_one_leaves_rewards_as_they_are():
  batch, _ = make("feedback", count=4, reward_scale=(0.0, 1.0)).batch(0)
  assert batch.rewards[:, 0].tolist() == which(batch)


def test_equal_rewards_become_zero():
  source = [{"prompt": "a", "response": "b", "reward": 3.0}] * 2
  loader = Loader(
    source,
    "feedback",
    Letters(),
    batch_size=2,
    prompt_length=2,
    response_length=2,
    seed=0,
  )
  assert loader.batch(0)[0].rewards.tolist() == [[0.0], [0.0]]


def test_what_was_cut_and_what_is_empty_is_counted():
  source = [
    {"prompt": "ab", "chosen": "abcdef", "rejected": "abcde"},  # both cut
    {"prompt": "abc", "chosen": "a", "rejected": "abcd"},  # the prompt cut
    {"prompt": "a", "chosen": "", "rejected": "a"},  # an empty response
  ]
  source = [{**row, "probability": 1.0, "weight": 1.0} for row in source]
  loader = Loader(
    source,
    "preference",
    Letters(),
    batch_size=3,
    prompt_length=3,
    response_length=5,
    seed=0,
  )
  _, counts = loader.batch(0)
  assert counts == {
    "data/prompts_cut": 1,
    "data/responses_cut": 2,
    "data/empty_responses": 1,
  }


def test_a_row_is_tokenized_once():
  class Counting(Letters):
    calls = 0

    def encode(self, text):
      Counting.calls += 1
      return super().encode(text)

  loader = Loader(
    rows("demonstration", 3),
    "demonstration",
    Counting(),
    batch_size=3,
    prompt_length=3,
    response_length=3,
    seed=0,
  )
  for step in range(5):
    loader.batch(step)
  assert Counting.calls == 6  # three prompts, three responses


def test_raw_rows_stay_at_hand():
  loader = make(count=3)
  assert len(loader) == 3
  assert loader.source[2]["prompt"] == "c"


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"prompt_length": 0}, "prompt_length"),
    ({"response_length": -1}, "response_length"),
    ({"seed": -1}, "seed"),
    ({"reward_scale": (0.0, 0.0)}, "deviation"),
    ({"reward_scale": (0.0, float("nan"))}, "deviation"),
    ({"count": 0}, "no demonstrations"),
  ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
  with pytest.raises(errors.UserError, match=message):
    make(**changes)


def test_an_unknown_kind_lists_the_kinds():
  with pytest.raises(errors.UserError, match="preference"):
    Loader(
      [{}],
      "pairs",
      Letters(),
      batch_size=1,
      prompt_length=1,
      response_length=1,
      seed=0,
    )
