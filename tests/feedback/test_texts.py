"""Judges of texts, asked about rollouts of token arrays."""

import numpy as np
import pytest

from alignment_jax import types
from alignment_jax.feedback import rollout_judges, texts


def tokens(rows):
  """Texts as character codes, right-padded, in the shape of `rows`."""
  flat = np.array(rows, object)
  width = max(map(len, flat.reshape(-1)))
  ids = np.zeros((*flat.shape, width), np.int32)
  mask = np.zeros(ids.shape, bool)
  for index, text in np.ndenumerate(flat):
    ids[(*index, slice(len(text)))] = [ord(letter) for letter in text]
    mask[(*index, slice(len(text)))] = True
  return types.Tokens(ids, mask)


def decode(ids):
  return "".join(map(chr, ids))


def rollout_of(prompts, responses, **parts):
  sampled = tokens(responses)
  return types.Rollout(
    prompt=tokens(prompts),
    responses=sampled,
    logprobs=np.zeros(sampled.ids.shape, np.float32),
    ended=np.ones(sampled.ids.shape[:2], bool),
    version=np.zeros(len(prompts), np.int32),
    **parts,
  )


def references(index):
  return {7: ["x", None]}[index]


class Recorded:
  """Length of each response, or of the first less that of the second; notes
  how it was asked."""

  def __init__(self, weight=1.0):
    self.weight = weight
    self.calls = []

  def __call__(self, prompts, responses, references=None):
    self.calls.append((prompts, responses, references))
    lengths = [self.weight * len(text) for text in responses]
    return np.asarray(lengths, np.float32)


def test_every_response_is_judged_with_its_prompt_and_reference():
  judge, double = Recorded(), Recorded(2.0)
  score = texts.rewards([judge, double], decode, references)
  rollout = rollout_of(["p", "q"], [["a", "bb"], ["", "dddd"]])
  got = score(rollout.prompt, rollout.responses, 7)
  assert (
    judge.calls
    == double.calls
    == [(["p", "p", "q", "q"], ["a", "bb", "", "dddd"], ["x", "x", None, None])]
  )
  lengths = np.asarray([[1, 2], [0, 4]])
  np.testing.assert_array_equal(got, np.stack([lengths, 2 * lengths], -1))


def judged(kind, rollout, **settings):
  score = texts.rewards([Recorded(), Recorded(2.0)], decode, references)
  return rollout_judges.from_rewards(
    score, kind, **{"preference_scale": 0.5, **settings}
  )(rollout, 7)


ROLLOUT = rollout_of(
  ["p", "q"],
  [["a", "bb"], ["", "dddd"]],
  opponents=tokens([["aaa", "b", "bb"], ["a", "aa", ""]]),
  demonstration=tokens(["aaaaa", "a"]),
)


def test_a_reward_is_the_judges_sum_of_responses_and_opponents():
  got = judged("reward", ROLLOUT)
  np.testing.assert_array_equal(got.rewards, [[3, 6], [0, 12]])
  np.testing.assert_array_equal(got.opponents, [[9, 3, 6], [3, 6, 0]])
  assert got.demonstration is None and got.preferences is None
  worst = judged("reward", ROLLOUT, combination="worst")
  np.testing.assert_array_equal(worst.rewards, [[1, 2], [0, 4]])


def test_rewards_of_several_judges_stay_apart_beside_the_demonstration():
  got = judged("rewards", ROLLOUT)
  np.testing.assert_array_equal(
    got.rewards, [[[1, 2], [2, 4]], [[0, 0], [4, 8]]]
  )
  np.testing.assert_array_equal(got.demonstration, [[5, 10], [1, 2]])
  assert got.opponents is None and got.preferences is None


def test_preferences_from_rewards_are_against_the_opponents_if_there_are_any():
  rewards = np.asarray([[3, 6], [0, 12]])
  opponents = np.asarray([[9, 3, 6], [3, 6, 0]])

  def sigmoid(first, second):
    margin = first[:, :, None] - second[:, None, :]
    return 1 / (1 + np.exp(-0.5 * margin))

  got = judged("preference", ROLLOUT)
  np.testing.assert_allclose(
    got.preferences, sigmoid(rewards, opponents), rtol=1e-6
  )
  assert got.rewards is None and got.opponents is None
  alone = judged("preference", ROLLOUT.replace(opponents=None))
  np.testing.assert_allclose(
    alone.preferences, sigmoid(rewards, rewards), rtol=1e-6
  )
  hard = judged("preference", ROLLOUT, preference_scale=0.0)
  np.testing.assert_array_equal(hard.preferences[0], [[0, 0.5, 0], [0, 1, 0.5]])


def first_is_longer(calls):
  """P of the longer is 0.7, and 0.2 more for what is read first."""

  def prefer(prompts, first, second, references=None):
    calls.append((prompts, first, second, references))
    better = [
      0.5 if len(one) == len(other) else 0.7 if len(one) > len(other) else 0.3
      for one, other in zip(first, second, strict=True)
    ]
    return np.asarray(better, np.float32) + np.float32(0.2)

  return prefer


def test_each_two_responses_meet_once_in_both_orders():
  calls = []
  judge = rollout_judges.from_comparisons(
    texts.comparisons(first_is_longer(calls), decode, references)
  )
  got = judge(rollout_of(["p", "q"], [["a", "bb"], ["ccc", ""]]), 7)
  np.testing.assert_allclose(
    got.preferences,
    [[[0.5, 0.3], [0.7, 0.5]], [[0.5, 0.7], [0.3, 0.5]]],
    rtol=1e-6,
  )
  assert calls == [
    (
      ["p", "q", "p", "q"],
      ["a", "ccc", "bb", ""],
      ["bb", "", "a", "ccc"],
      ["x", None, "x", None],
    )
  ]


def test_only_the_pairs_with_an_opponent_are_compared():
  calls = []
  judge = rollout_judges.from_comparisons(
    texts.comparisons(first_is_longer(calls), decode, references)
  )
  got = judge(ROLLOUT, 7)
  assert got.preferences.shape == (2, 2, 3)
  np.testing.assert_allclose(
    got.preferences[0], [[0.3, 0.5, 0.3], [0.3, 0.7, 0.5]], rtol=1e-6
  )
  ((prompts, first, second, _),) = calls
  # Two responses and three opponents of two prompts, in both orders.
  assert len(prompts) == 2 * 2 * 3 * 2
  assert first[:6] == ["a", "a", "a", "bb", "bb", "bb"]
  assert second[:6] == ["aaa", "b", "bb", "aaa", "b", "bb"]
  assert first[12:] == second[:12] and second[12:] == first[:12]


def test_a_decoder_sees_only_real_tokens():
  masked = types.Tokens(
    np.asarray([[9, 65, 66], [67, 9, 9]]),
    np.asarray([[False, True, True], [True, False, False]]),
  )
  assert texts.texts_of(masked, decode) == ["AB", "C"]


def test_feedback_without_a_demonstration_lacks_its_rewards():
  assert (
    judged("rewards", ROLLOUT.replace(demonstration=None)).demonstration is None
  )


@pytest.mark.parametrize("longer", ["responses", "opponents"])
def test_parts_of_unequal_lengths_are_judged_whole(longer):
  short, long = [["a"]] * 2, [["bbbb"]] * 2
  responses, opponents = (
    (long, short) if longer == "responses" else (short, long)
  )
  got = judged(
    "reward", rollout_of(["p", "q"], responses, opponents=tokens(opponents))
  )
  lengths = {"responses": [[12]] * 2, "opponents": [[3]] * 2}
  if longer == "opponents":
    lengths = {"responses": [[3]] * 2, "opponents": [[12]] * 2}
  np.testing.assert_array_equal(got.rewards, lengths["responses"])
  np.testing.assert_array_equal(got.opponents, lengths["opponents"])
