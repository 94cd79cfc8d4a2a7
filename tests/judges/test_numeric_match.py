"""The final number of a response against that of its reference."""

from fractions import Fraction

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.judges import base, exact_match, numeric_match


@pytest.mark.parametrize(
  "text, number",
  [
    ("It is 3, no, 42.", 42),
    ("$1,234,567.50 in all", Fraction(2469135, 2)),
    ("-7", -7),
    ("\N{MINUS SIGN}7", -7),
    ("10-7", 7),  # a difference, not a negative number
    ("x2 is 5", 5),
    ("in version 1.2.3", Fraction(6, 5)),
    (".5", Fraction(1, 2)),
    ("2e-3", Fraction(1, 500)),
    ("about 3/4 of it", Fraction(3, 4)),
    ("the pair 1,2", 2),
    ("10,5000", 5000),
    ("so...42", 42),
    ("a 5.", 5),
    ("#### 18 apples, 3 each", 18),
    ("1 #### 2\n#### 3", 3),
    (r"\boxed{4} then 5", 4),
    (r"\boxed{4} \boxed{x = \frac{3}{4}} 9", Fraction(3, 4)),
    (r"-\dfrac{1}{2}", Fraction(-1, 2)),
    (r"\boxed{7", 7),
    (r"\boxed{none} 7", None),
    ("no number", None),
    ("", None),
    ("1/0", None),
    ("9" * 101, None),
    ("9" * 5_000, None),
    ("1e100", None),
    ("1e999999999", None),
  ],
)
def test_the_final_number_of_a_text(text, number):
  assert numeric_match.final_number(text) == number


def test_numbers_are_compared_not_their_spelling():
  judge = numeric_match.numeric_answer_judge()
  np.testing.assert_array_equal(
    judge(["p"] * 4, ["0.5", "1,000.0", "7", "?"], ["1/2", "1000", "8", "1"]),
    [1, 1, 0, 0],
  )


def test_the_tolerance_is_allowed_to_the_brim():
  judge = numeric_match.numeric_answer_judge(tolerance=0.25)
  np.testing.assert_array_equal(
    judge(["p"] * 3, ["1.25", "0.75", "1.26"], ["1"] * 3), [1, 1, 0]
  )


def test_a_reference_without_a_number_is_named():
  judge = numeric_match.numeric_answer_judge()
  with pytest.raises(base.JudgeError, match=r"reference 1 \('yes'\)"):
    judge(["p", "q"], ["1", "2"], ["1", "yes"])


def test_missing_references_and_wrong_settings_are_named():
  for judge in (
    exact_match.exact_match_judge(),
    numeric_match.numeric_answer_judge(),
  ):
    with pytest.raises(base.JudgeError, match="prompt 0 .* has none"):
      judge(["p"], ["1"])
  with pytest.raises(errors.UserError, match="at least 0, got -1"):
    numeric_match.numeric_answer_judge(tolerance=-1.0)
