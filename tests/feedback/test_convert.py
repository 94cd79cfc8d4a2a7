"""Conversions of feedback, by hand."""

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.feedback import convert

# Rewards that three judges give two responses.
ONE, TWO, THREE = [1.0, 5.0], [3.0, 5.0], [8.0, 2.0]


def of_judges(*rewards):
  return np.asarray(rewards, np.float32).T


def test_a_sum_adds_the_judges():
  np.testing.assert_array_equal(
    convert.combined(of_judges(ONE, TWO, THREE), "sum"), [12, 12]
  )


def test_an_ensemble_is_its_mean_or_its_worst():
  ensemble = of_judges(ONE, TWO, THREE)
  np.testing.assert_array_equal(convert.combined(ensemble, "mean"), [4, 4])
  np.testing.assert_array_equal(convert.combined(ensemble, "worst"), [1, 2])


def test_disagreement_costs_by_variance_or_deviation():
  narrow = of_judges(ONE, TWO)  # means 2 and 5, deviations 1 and 0
  wide = of_judges(ONE, [5.0, 5.0])  # means 3 and 5, deviations 2 and 0
  for rewards, mean, variance, deviation in [
    (narrow, 2, 1, 1),
    (wide, 3, 4, 2),
  ]:
    np.testing.assert_array_equal(
      convert.combined(rewards, "less_variance", coefficient=0.5),
      [mean - 0.5 * variance, 5],
    )
    np.testing.assert_array_equal(
      convert.combined(rewards, "less_deviation", coefficient=0.5),
      [mean - 0.5 * deviation, 5],
    )


def test_the_center_is_the_mean_of_the_demonstrations():
  rewards = np.asarray([1, 5, 5], np.float32)
  assert convert.center_of(rewards) == pytest.approx(11 / 3)


def test_bradley_terry_is_the_sigmoid_of_the_scaled_margin():
  # sigmoid(2 log 3) = 9 / (9 + 1), and 1 / 10 the other way round.
  margin = np.float32(np.log(3.0))
  np.testing.assert_allclose(
    convert.bradley_terry(np.asarray([margin, -margin, 0]), scale=2.0),
    [0.9, 0.1, 0.5],
    rtol=1e-6,
  )


def test_margins_beyond_the_range_of_exp_give_certainty():
  margins = np.asarray([1e6, -1e6], np.float32)
  np.testing.assert_array_equal(
    convert.bradley_terry(margins, scale=1e3), [1, 0]
  )


def test_the_hard_preference_is_one_zero_and_a_half_on_ties():
  margins = np.asarray([1e-6, -1e-6, 0], np.float32)
  np.testing.assert_array_equal(convert.hard(margins), [1, 0, 0.5])


def test_each_of_one_set_meets_each_of_the_other():
  first = np.asarray([[0.0, 3.0]], np.float32)
  second = np.asarray([[1.0, 3.0, -1.0]], np.float32)
  np.testing.assert_array_equal(
    convert.preferences(first, second, scale=0.0),
    [[[0, 0, 1], [1, 0.5, 1]]],
  )
  soft = convert.preferences(first, second, scale=0.7)
  np.testing.assert_allclose(
    soft[0, 1], 1 / (1 + np.exp(-0.7 * np.asarray([2, 0, 4]))), rtol=1e-6
  )


def test_averaging_over_the_swap_removes_the_bias_to_the_first():
  # 0.7 for the better text, and 0.2 more for what is read first.
  forward, backward = np.asarray([0.9, 0.5]), np.asarray([0.5, 0.9])
  np.testing.assert_allclose(
    convert.swap_averaged(forward, backward), [0.7, 0.3], rtol=1e-6
  )


@pytest.mark.usefixtures("unchecked_types")
def test_wrong_settings_are_named():
  with pytest.raises(errors.UserError, match="no combination 'median'; avail"):
    convert.combined(of_judges(ONE, TWO), "median")
  for name in ("less_variance", "less_deviation"):
    with pytest.raises(errors.UserError, match="at least 0, got -1"):
      convert.combined(of_judges(ONE), name, coefficient=-1.0)
  with pytest.raises(errors.UserError, match="on demonstrations, got none"):
    convert.center_of(np.zeros(0, np.float32))
  with pytest.raises(errors.UserError, match="mean reward of nan"):
    convert.center_of(np.asarray([1, np.nan], np.float32))


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_a_scale_out_of_range_is_named(scale):
  with pytest.raises(errors.UserError, match="scale must be"):
    convert.bradley_terry(np.zeros(2, np.float32), scale=scale)
