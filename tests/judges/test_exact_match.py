"""A response equals its reference, but for case and white space."""

import numpy as np

from alignment_jax.judges import exact_match


def test_an_exact_match_looks_past_case_and_white_space():
  judge = exact_match.exact_match_judge()
  np.testing.assert_array_equal(
    judge(["p"] * 3, [" New  york\n", "York", ""], ["new York", "york.", ""]),
    [1, 0, 1],
  )
