"""The reward for length, in words or characters."""

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.judges import length


def test_words_are_what_white_space_parts():
  judge = length.length_judge()
  np.testing.assert_array_equal(
    judge(["p"] * 3, ["one two\n three", "  ", "don't"]), [3, 0, 1]
  )


def test_characters_are_code_points():
  judge = length.length_judge(unit="characters")
  np.testing.assert_array_equal(judge(["p"] * 2, ["né e", ""]), [4, 0])


def test_the_distance_to_the_target_is_lost_on_both_sides():
  judge = length.length_target_judge(target=2.0)
  np.testing.assert_array_equal(
    judge(["p"] * 3, ["a b", "a", "a b c d e"]), [0, -1, -3]
  )


def test_wrong_settings_are_named():
  with pytest.raises(errors.UserError, match="'tokens'; available: char"):
    length.length_judge(unit="tokens")
  with pytest.raises(errors.UserError, match="at least 0, got -1"):
    length.length_target_judge(target=-1.0)
