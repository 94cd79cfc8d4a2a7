"""Win rates, ties and their bootstrap intervals, against numbers by hand."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment_jax import errors
from alignment_jax.evaluation import win_rate

SCORES = np.array([3.0, 1.0, 2.0, 5.0])
BASELINE = np.array([1.0, 1.0, 4.0, 0.0])  # win, tie, loss, win


def test_a_win_is_one_a_tie_one_half_a_loss_zero():
  np.testing.assert_array_equal(
    win_rate.wins(SCORES, BASELINE), [1.0, 0.5, 0.0, 1.0]
  )


def test_the_rate_counts_a_tie_as_half():
  assert win_rate.win_rate(SCORES, BASELINE) == 2.5 / 4
  assert win_rate.tie_rate(SCORES, BASELINE) == 1 / 4


@given(st.lists(st.tuples(*[st.integers(-2, 2)] * 2), min_size=1))
def test_swapping_the_policies_gives_the_other_share(pairs):
  policy, other = np.array(pairs, dtype=np.float32).T
  np.testing.assert_array_equal(
    win_rate.wins(policy, other) + win_rate.wins(other, policy), 1.0
  )


def test_infinite_scores_are_ordered_and_tie_with_themselves():
  infinite = np.array([np.inf, -np.inf, np.inf])
  other = np.array([np.inf, 0.0, 0.0])
  np.testing.assert_array_equal(win_rate.wins(infinite, other), [0.5, 0, 1])


@pytest.mark.parametrize("shape", [(4, 1), (3,), (1,), ()])
def test_scores_of_another_shape_raise_instead_of_broadcasting(shape):
  with pytest.raises(ValueError, match=r"\(4,\)"):
    win_rate.wins(SCORES, np.zeros(shape))


def test_a_table_of_scores_raises():
  with pytest.raises(ValueError, match=r"\[N\]"):
    win_rate.wins(np.zeros((2, 2)), np.zeros((2, 2)))


def test_a_nan_score_raises_and_is_located():
  scores = np.array([1.0, math.nan, 1.0, 1.0])
  with pytest.raises(errors.UserError, match="1 of 4 .* number 1"):
    win_rate.wins(scores, BASELINE)
  with pytest.raises(errors.UserError, match="NaN"):
    win_rate.wins(BASELINE, scores)


def test_no_scores_at_all_raise():
  none = np.zeros(0)
  for function in (win_rate.win_rate, win_rate.tie_rate):
    with pytest.raises(errors.UserError, match="no scores"):
      function(none, none)
  with pytest.raises(errors.UserError, match="no scores"):
    win_rate.bootstrap_interval(none, seed=0)


def test_the_interval_of_a_constant_has_no_width():
  constant = np.full(7, 0.5)
  assert win_rate.bootstrap_interval(constant, seed=0) == (0.5, 0.5)


def test_one_value_is_its_own_interval():
  assert win_rate.bootstrap_interval(np.array([0.3]), seed=0) == (0.3, 0.3)


def test_the_interval_is_that_of_all_samples_with_replacement():
  # Of three values there are 27 equally likely draws: their exact quantiles.
  # 0.1 and 0.9 of 27 fall inside runs of equal means, not on a step.
  values = np.array([0.0, 1.0, 3.0])
  means = [np.mean(draw) for draw in itertools.product(values, repeat=3)]
  exact = np.quantile(means, [0.1, 0.9], method="inverted_cdf")
  interval = win_rate.bootstrap_interval(
    values, seed=0, resamples=20_000, level=0.8
  )
  np.testing.assert_allclose(interval, exact, atol=1e-12)
  np.testing.assert_allclose(exact, [1 / 3, 7 / 3])


def test_the_interval_of_many_coins_is_the_normal_one():
  # 2,000 fair coins: the standard error is sqrt(1/4 / 2000) = 0.01118.
  values = np.tile([0.0, 1.0], 1000)
  low, high = win_rate.bootstrap_interval(values, seed=0, resamples=20_000)
  error = 1.96 * math.sqrt(0.25 / 2000)
  # An end of 20,000 resamples is itself uncertain by about 0.02 of `error`.
  np.testing.assert_allclose([low, high], [0.5 - error, 0.5 + error], atol=1e-3)


def test_a_wider_level_contains_a_narrower_one():
  values = np.random.default_rng(0).normal(size=50)
  low95, high95 = win_rate.bootstrap_interval(values, seed=0)
  low50, high50 = win_rate.bootstrap_interval(values, seed=0, level=0.5)
  assert low95 < low50 < values.mean() < high50 < high95


def test_the_interval_covers_a_known_rate_as_often_as_it_says():
  # Of 400 intervals at 90 %, 360 should hold 0.3; the standard deviation is
  # sqrt(400 * 0.9 * 0.1) = 6. Below 330 or above 385 is no accident.
  draws = np.random.default_rng(1).random((400, 100)) < 0.3
  covered = 0
  for seed, draw in enumerate(draws):
    low, high = win_rate.bootstrap_interval(
      draw, seed=seed, resamples=500, level=0.9
    )
    covered += low <= 0.3 <= high
  assert 330 <= covered <= 385


def test_the_seed_decides_and_the_size_of_a_block_does_not(monkeypatch):
  values = np.random.default_rng(0).normal(size=30)
  first = win_rate.bootstrap_interval(values, seed=3)
  assert first == win_rate.bootstrap_interval(values, seed=3)
  assert first != win_rate.bootstrap_interval(values, seed=4)
  monkeypatch.setattr(win_rate, "_DRAWS_AT_ONCE", 1)  # one resample at a time
  assert first == win_rate.bootstrap_interval(values, seed=3)


def test_many_values_are_resampled_in_blocks_of_bounded_memory():
  # All draws at once would be 2,000 x 4,000 indices and values: 128 MB.
  values = np.random.default_rng(0).normal(size=4_000)
  win_rate.bootstrap_interval(values[:9], seed=0)  # imports scipy
  tracemalloc.start()
  try:
    win_rate.bootstrap_interval(values, seed=0)
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert peak < 48e6


@pytest.mark.parametrize(
  "changes", [{"level": 0.0}, {"level": 1.0}, {"resamples": 0}]
)
def test_an_impossible_level_or_count_raises(changes):
  with pytest.raises(ValueError, match="level"):
    win_rate.bootstrap_interval(SCORES, seed=0, **changes)


def test_values_that_are_not_finite_raise():
  with pytest.raises(errors.UserError, match="finite"):
    win_rate.bootstrap_interval(np.array([1.0, math.nan]), seed=0)
