"""What every judge is checked for: numbers, counts, ranges, time."""

import threading
import time

import numpy as np
import pytest

from alignment_jax import errors, judges
from alignment_jax.judges import base


def _lengths(prompts, responses, references=None):
  return np.asarray([len(text) for text in responses], np.float32)


def _returning(answer):
  return lambda prompts, responses, references=None: answer


def test_a_good_judge_is_passed_through():
  judge = base.checked(_lengths, "lengths", timeout_seconds=60.0)
  rewards = judge(["a", "b"], ["xyz", "x"])
  np.testing.assert_array_equal(rewards, [3, 1])
  assert rewards.dtype == np.float32


def test_integers_and_float64_become_float32():
  for dtype in (np.int64, np.float64, bool):
    judge = base.checked(_returning(np.ones(1, dtype)), "one")
    assert judge(["a"], ["b"]).dtype == np.float32


def test_an_empty_batch_is_not_passed_on():
  judge = base.checked(_returning("never asked"), "none")
  prefer = base.checked_preference(_returning("never asked"), "none")
  assert judge([], []).shape == prefer([], [], []).shape == (0,)


def test_references_reach_the_judge():
  seen = []

  def judge(prompts, responses, references=None):
    seen.append(references)
    return np.zeros(len(prompts), np.float32)

  base.checked(judge, "seen")(["a", "b"], ["c", "d"], ["e", None])
  assert seen == [["e", None]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_a_number_that_is_not_finite_is_named_with_its_text(bad):
  judge = base.checked(_returning(np.array([1.0, bad])), "odd")
  with pytest.raises(
    base.JudgeError,
    match=r"'odd' gave -?(nan|inf) to prompt 1 'q', response 1 'z'.*1 of 2",
  ):
    judge(["p", "q"], ["y", "z"])


def test_a_reward_out_of_range_is_named():
  judge = base.checked(_lengths, "short", low=0.0, high=2.0)
  np.testing.assert_array_equal(judge(["p"], ["xy"]), [2])
  with pytest.raises(base.JudgeError, match=r"gave 3.0 to .* in \[0, 2\]"):
    judge(["p"], ["xyz"])
  judge = base.checked(_lengths, "long", low=2.0)
  with pytest.raises(base.JudgeError, match=r"gave 1.0 to .* in \[2, inf\]"):
    judge(["p"], ["x"])


@pytest.mark.parametrize(
  "answer, shape",
  [
    (np.zeros(3), r"float64 \[3\]"),
    (np.zeros((2, 1)), r"float64 \[2, 1\]"),
    (1.0, r"float64 \[\]"),
    (None, r"object \[\]"),
    (["a", "b"], r"<U1 \[2\]"),
  ],
)
def test_a_wrong_count_shape_or_kind_is_named(answer, shape):
  judge = base.checked(_returning(answer), "odd")
  with pytest.raises(base.JudgeError, match=f"'odd' returned {shape}.*2 texts"):
    judge(["p", "q"], ["y", "z"])


def test_a_ragged_answer_is_named():
  judge = base.checked(_returning([[1.0], [1.0, 2.0]]), "odd")
  with pytest.raises(base.JudgeError, match="'odd' returned no array"):
    judge(["p", "q"], ["y", "z"])


@pytest.mark.parametrize("culprit", range(5))
def test_the_text_on_which_a_judge_raises_is_found(culprit):
  responses = [f"r{index}" for index in range(5)]
  asked = []

  def judge(prompts, responses, references=None):
    asked.append(len(responses))
    if f"r{culprit}" in responses:
      raise KeyError("no such word")
    return np.zeros(len(responses), np.float32)

  with pytest.raises(
    base.JudgeError,
    match=rf"'fussy' raised KeyError.*response {culprit} 'r{culprit}'",
  ):
    base.checked(judge, "fussy")(["p"] * 5, responses)
  assert sum(asked[1:]) <= 5 + 1  # halves, and the one that is left


def test_a_failure_of_the_whole_batch_blames_no_text():
  def judge(prompts, responses, references=None):
    if len(responses) > 1:
      raise RuntimeError("too many")
    return np.zeros(1, np.float32)

  with pytest.raises(base.JudgeError, match="batch of 3, on no single one"):
    base.checked(judge, "small")(["p"] * 3, ["r"] * 3)


def test_a_judge_that_hangs_is_named_with_the_longest_text():
  release = threading.Event()

  def judge(prompts, responses, references=None):
    release.wait(30)

  start = time.monotonic()
  with pytest.raises(
    base.JudgeError,
    match=r"'slow' returned nothing for 2 texts in 0.05 s.*'zzz'",
  ):
    base.checked(judge, "slow", timeout_seconds=0.05)(["p", "p"], ["y", "zzz"])
  release.set()
  assert time.monotonic() - start < 10


def test_an_error_in_the_thread_of_a_limit_is_named_too():
  def judge(prompts, responses, references=None):
    raise KeyError("no such word")

  with pytest.raises(base.JudgeError, match="raised KeyError"):
    base.checked(judge, "fussy", timeout_seconds=60.0)(["p"], ["r"])


def test_the_errors_of_our_own_judges_are_not_wrapped():
  judge = judges.build("rouge")
  with pytest.raises(base.JudgeError, match="^the judge 'rouge' compares"):
    judge(["p"], ["r"], [None])


def test_a_preference_outside_the_unit_interval_is_named():
  prefer = base.checked_preference(
    lambda prompts, first, second, references=None: np.array([0.5, 1.5]), "odd"
  )
  with pytest.raises(
    base.JudgeError,
    match=r"gave 1.5 to prompt 1 'p', first 1 'b', second 1 'd'.*\[0, 1\]",
  ):
    prefer(["p", "p"], ["a", "b"], ["c", "d"])


def test_long_texts_are_shortened():
  judge = base.checked(_returning(np.array([np.nan])), "odd")
  with pytest.raises(base.JudgeError) as caught:
    judge(["p" * 10_000], ["r" * 10_000])
  assert len(str(caught.value)) < 400


def test_unequal_numbers_of_texts_raise():
  with pytest.raises(ValueError, match="2 prompts, 1 responses"):
    base.checked(_lengths, "lengths")(["a", "b"], ["c"])
  with pytest.raises(ValueError, match="1 responses, 0 references"):
    base.checked(_lengths, "lengths")(["a"], ["c"], [])


def test_a_limit_of_no_time_is_refused():
  with pytest.raises(errors.UserError, match="above 0, got 0"):
    base.checked(_lengths, "lengths", timeout_seconds=0.0)


def test_a_judge_is_built_by_name_and_checked():
  judge = judges.build("length", timeout_seconds=60.0, unit="characters")
  np.testing.assert_array_equal(judge(["p"], ["four"]), [4])
  np.testing.assert_array_equal(judge([], []), [])


def test_wrong_names_and_settings_say_what_there_is():
  with pytest.raises(errors.UserError, match="no judge 'rogue'.*rouge"):
    judges.build("rogue")
  with pytest.raises(errors.UserError, match=r"'pattern'.*regex\(\*, pattern"):
    judges.build("regex")
  with pytest.raises(errors.UserError, match="unexpected.*'units'"):
    judges.build("length", units="words")


@pytest.mark.parametrize("name", sorted(set(judges.JUDGES) - {"unit_tests"}))
def test_every_judge_keeps_the_contract(name):
  words = ["a", "b", "2", "it", "is", "3"]
  settings = {
    "regex": {"pattern": "2"},
    "full_regex": {"pattern": "2"},
    "lab_class": {
      "words": words,
      "matrix": [[0.5, 0.9], [0.1, 0.5]],
      "opponent": [0.5, 0.5],
    },
    "lab_gold": {"words": words},
    "lab_proxy": {"words": words, "noise": 0.5},
    "length_target": {"target": 3.0},
  }
  judge = judges.JUDGES[name](**settings.get(name, {}))
  rewards = judge(["a", "b"], ["2", "it is 3"], ["2", "2"])
  assert rewards.dtype == np.float32 and rewards.shape == (2,)
  assert judge([], [], []).shape == judge([], []).shape == (0,)
  with pytest.raises(ValueError, match="1 prompts, 2 responses"):
    judge(["a"], ["2", "3"])
