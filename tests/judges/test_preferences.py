import numpy as np
import pytest

from alignment_jax import errors, judges
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
  judge = _Recorded({"a": np.log(3.0), "b": 0.0})
  prefer = preferences.from_reward(judge, scale=2.0)
  # sigmoid(2 log 3) = 9 / (9 + 1), and 1 / 10 the other way round.
  np.testing.assert_allclose(
    prefer(["p"] * 3, ["a", "b", "a"], ["b", "a", "a"]),
    [0.9, 0.1, 0.5],
    rtol=1e-6,
  )


def test_both_are_judged_in_one_call_with_their_references():
  judge = _Recorded({"a": 1, "b": 0})
  preferences.from_reward(judge, scale=1.0)(["p"], ["a"], ["b"], ["ref"])
  assert judge.calls == [(["p", "p"], ["a", "b"], ["ref", "ref"])]


def test_margins_beyond_the_range_of_exp_give_certainty():
  prefer = preferences.from_reward(_Recorded({"a": 1e6, "b": 0}), scale=1e3)
  np.testing.assert_array_equal(
    prefer(["p"] * 2, ["a", "b"], ["b", "a"]), [1, 0]
  )


def test_the_hard_preference_is_one_zero_and_a_half_on_ties():
  prefer = judges.PREFERENCES["hard"](_Recorded({"a": 1e-6, "b": 0}))
  np.testing.assert_array_equal(
    prefer(["p"] * 3, ["a", "b", "b"], ["b", "a", "b"]), [1, 0, 0.5]
  )


def test_averaging_over_the_swap_removes_the_bias_to_the_first():
  calls = []

  def prefer(prompts, first, second, references=None):
    calls.append(references)
    # 0.7 for the better text "a", and 0.2 more for what is read first.
    better = np.asarray(
      [0.7 if one == "a" else 0.3 for one in first], np.float32
    )
    return better + np.float32(0.2)

  fair = preferences.swap_averaged(prefer)
  np.testing.assert_allclose(
    fair(["p", "q"], ["a", "b"], ["b", "a"], ["x", None]),
    # (0.9 + 1 - 0.5) / 2 and (0.5 + 1 - 0.9) / 2.
    [0.7, 0.3],
    rtol=1e-6,
  )
  assert calls == [["x", None, "x", None]]


def test_nothing_is_asked_of_no_pairs():
  judge = _Recorded({})
  hard = preferences.hard_from_reward(judge)
  assert hard([], [], []).shape == (0,)
  assert preferences.swap_averaged(hard)([], [], []).shape == (0,)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_a_scale_out_of_range_is_named(scale):
  with pytest.raises(errors.UserError, match="scale must be"):
    preferences.from_reward(_Recorded({}), scale=scale)


def test_unequal_numbers_of_texts_raise():
  hard = preferences.hard_from_reward(_Recorded({}))
  for prefer in (hard, preferences.swap_averaged(hard)):
    with pytest.raises(ValueError, match="1 first, 2 second"):
      prefer(["p"], ["a"], ["b", "c"])
