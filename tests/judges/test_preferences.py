"""Preferences that a reward explains."""

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.judges import preferences


class _Recorded:
  """A judge by a table of rewards, which notes how it was asked."""

  def __init__(self, rewards):
    self.rewards = rewards
    self.calls = []

  def __call__(self, prompts, responses, references=None):
    self.calls.append((prompts, responses, references))
    return np.asarray([self.rewards[text] for text in responses], np.float32)


def test_bradley_terry_is_the_sigmoid_of_the_scaled_margin():
  # sigmoid(2 log 3) = 9 / (9 + 1), and 1 / 10 the other way round.
  margin = np.float32(np.log(3.0))
  np.testing.assert_allclose(
    preferences.bradley_terry(np.asarray([margin, -margin, 0]), scale=2.0),
    [0.9, 0.1, 0.5],
    rtol=1e-6,
  )


def test_margins_beyond_the_range_of_exp_give_certainty():
  margins = np.asarray([1e6, -1e6], np.float32)
  np.testing.assert_array_equal(
    preferences.bradley_terry(margins, scale=1e3), [1, 0]
  )


def test_the_better_of_two_texts_is_preferred_by_its_margin():
  judge = _Recorded({"a": np.log(3.0), "b": 0.0})
  prefer = preferences.from_reward(judge, scale=2.0)
  np.testing.assert_allclose(
    prefer(["p"] * 3, ["a", "b", "a"], ["b", "a", "a"]),
    [0.9, 0.1, 0.5],
    rtol=1e-6,
  )


def test_both_are_judged_in_one_call_with_their_references():
  judge = _Recorded({"a": 1, "b": 0})
  preferences.from_reward(judge, scale=1.0)(["p"], ["a"], ["b"], ["ref"])
  assert judge.calls == [(["p", "p"], ["a", "b"], ["ref", "ref"])]


def test_nothing_is_asked_of_no_pairs():
  prefer = preferences.from_reward(_Recorded({}), scale=1.0)
  assert prefer([], [], []).shape == (0,)


def test_unequal_numbers_of_texts_raise():
  prefer = preferences.from_reward(_Recorded({}), scale=1.0)
  with pytest.raises(ValueError, match="1 first, 2 second"):
    prefer(["p"], ["a"], ["b", "c"])


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_a_scale_out_of_range_is_named(scale):
  with pytest.raises(errors.UserError, match="scale must be"):
    preferences.bradley_terry(np.zeros(2, np.float32), scale=scale)
