"""The score of VADER, and what is said without the package."""

import math
import sys

import numpy as np
import pytest

from alignment_jax import errors, judges


def _judge(*responses):
  judge = judges.JUDGES["vader"]()
  return judge(["movie: it was"] * len(responses), responses)


def test_one_known_word_scores_its_lexicon_value_normalised():
  # The lexicon rates "good" 1.9 on a scale of -4 to 4, and VADER normalises a
  # sum s as s / sqrt(s^2 + 15), then rounds to four digits.
  expected = 1.9 / math.sqrt(1.9**2 + 15)
  np.testing.assert_allclose(_judge("good"), [expected], atol=6e-5)


def test_scores_are_float32_one_per_response_within_the_unit_interval():
  scores = _judge("great " * 50, "horrible " * 50, "table")
  assert scores.dtype == np.float32
  assert scores.shape == (3,)
  assert scores[0] > 0.99 and scores[1] < -0.99 and scores[2] == 0


def test_negation_turns_the_sign():
  good, not_good = _judge("good", "not good")
  assert good > 0 > not_good


def test_the_prompt_is_not_scored():
  judge = judges.JUDGES["vader"]()
  np.testing.assert_array_equal(
    judge(["horrible", "wonderful"], ["a good one", "a good one"]),
    _judge("a good one", "a good one"),
  )


def test_an_empty_response_is_neutral_and_no_response_gives_no_score():
  assert _judge("") == 0
  assert _judge().shape == (0,)


def test_unequal_numbers_of_prompts_and_responses_raise():
  with pytest.raises(ValueError, match="1 prompts, 2 responses"):
    judges.JUDGES["vader"]()(["a"], ["b", "c"])


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
  monkeypatch.setitem(sys.modules, "vaderSentiment", None)
  with pytest.raises(errors.UserError, match=r"pip install vaderS.*\[data\]"):
    judges.JUDGES["vader"]()
