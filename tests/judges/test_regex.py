"""A pattern that a response matches or does not."""

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.judges import regex


def _rewards(judge, *responses):
  return judge(["p"] * len(responses), responses)


def test_a_pattern_is_found_anywhere():
  judge = regex.regex_judge(pattern=r"(?i)\bcat\b", found=2.0, missing=-1.0)
  np.testing.assert_array_equal(
    _rewards(judge, "a Cat sat", "cats", ""), [2, -1, -1]
  )


def test_a_full_pattern_matches_the_whole_response():
  judge = regex.full_regex_judge(pattern=r"yes|no")
  np.testing.assert_array_equal(
    _rewards(judge, "yes", "no", "yes.", "yes\n"), [1, 1, 0, 0]
  )


def test_a_match_earns_one_and_the_lack_of_it_nothing_unless_told():
  judge = regex.regex_judge(pattern="cat")
  np.testing.assert_array_equal(_rewards(judge, "a cat", "a dog"), [1, 0])


def test_a_broken_pattern_is_named():
  for judge in (regex.regex_judge, regex.full_regex_judge):
    with pytest.raises(errors.UserError, match=r"'\(' is not a regular"):
      judge(pattern="(")


@pytest.mark.parametrize(
  "response, reward",
  [
    ("<think>a</think><answer>b</answer>", 1),
    (" <think>a\nb</think>\n\n<answer>1 < 2</answer>\n", 1),
    ("<think>a</think>", 0),
    ("<answer>b</answer><think>a</think>", 0),
    ("<think> </think><answer>b</answer>", 0),  # no content
    ("<think>a</think> so <answer>b</answer>", 0),
    ("<think>a</think><answer>b</answer>.", 0),
    ("<think>a</think><answer>b</answer><answer>c</answer>", 0),
    ("<think>a<think>a</think></think><answer>b</answer>", 0),
    ("<think>a</think><think>a</think><answer>b</answer>", 0),
    ("", 0),
  ],
)
def test_the_format_is_each_tag_once_in_order_with_content(response, reward):
  assert _rewards(regex.format_judge(), response) == reward


def test_a_long_response_is_matched_in_linear_time():
  response = "<think>" + "<a " * 20_000
  assert _rewards(regex.format_judge(), response) == 0


@pytest.mark.parametrize("tags", [[], ["a", "a"], ["<a>"], [""]])
def test_tags_that_are_no_words_are_named(tags):
  with pytest.raises(errors.UserError, match="tags must be different words"):
    regex.format_judge(tags=tags)
