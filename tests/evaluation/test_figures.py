"""What the figures draw, read back from matplotlib's objects."""

import math

import numpy as np
import pytest
from matplotlib import colors, figure

from alignment_jax.evaluation import figures, report

RATES = [
  report.WinRate(
    judge="rules", against="b", rate=0.7, low=0.6, high=0.9, ties=0.1, count=9
  ),
  report.WinRate(
    judge="model", against="b", rate=0.4, low=0.35, high=0.42, ties=0, count=9
  ),
]


@pytest.fixture
def axes():
  return figure.Figure().subplots()


def color(value):
  return colors.to_hex(value)


def vertical_lines(axes):
  """(position, color) of each line across the axes."""
  return [
    (line.get_xdata()[0], color(line.get_color()))
    for line in axes.lines
    if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1
  ]


def test_each_win_rate_is_a_bar_with_its_interval(axes):
  figures.draw_win_rates(axes, RATES)
  bars = [(p.get_y() + p.get_height() / 2, p.get_width()) for p in axes.patches]
  np.testing.assert_allclose(bars, [(1, 70), (0, 40)])
  (errorbar,) = [c for c in axes.containers if c.get_label() == "_container1"]
  points, _, (segments,) = errorbar
  np.testing.assert_allclose(points.get_xydata(), [(70, 1), (40, 0)])
  np.testing.assert_allclose(
    segments.get_segments(), [[(60, 1), (90, 1)], [(35, 0), (42, 0)]]
  )


def test_win_rates_are_labeled_and_stand_beside_the_line_of_equals(axes):
  figures.draw_win_rates(axes, RATES)
  labels = {
    tick: label.get_text()
    for tick, label in zip(
      axes.get_yticks(), axes.get_yticklabels(), strict=True
    )
  }
  assert labels == {1: "rules\nagainst b", 0: "model\nagainst b"}
  assert axes.get_xlabel() == "prompts won, %"
  assert axes.get_xlim() == (0, 100)
  assert vertical_lines(axes) == [(50, figures.INK)]
  low, high = axes.get_ylim()
  assert low < -0.25 and high > 1.25  # both bars are in sight


def test_an_interval_that_misses_its_rate_is_cut_off_there(axes):
  # A bootstrap interval need not hold the rate; a negative bar is an error.
  figures.draw_win_rates(
    axes, [report.WinRate(**{**vars(RATES[0]), "low": 0.75, "high": 0.8})]
  )
  (segment,) = axes.containers[1][2][0].get_segments()
  np.testing.assert_allclose(segment, [(70, 0), (80, 0)])


def test_long_names_keep_their_ends(axes):
  name = "a judge that has a very long name indeed"
  figures.draw_win_rates(
    axes, [report.WinRate(**{**vars(RATES[0]), "judge": name})]
  )
  shown = axes.get_yticklabels()[0].get_text().split("\n")[0]
  assert shown == "a judge tha…g name indeed"[:11] + "…" + name[-12:]
  assert len(shown) == 24


def test_histograms_show_shares_of_each_and_their_means(axes):
  before, after = np.array([1.0, 1.0, 2.0, 4.0]), np.array([2.0, 4.0])
  figures.draw_histograms(axes, before, after, "tokens")
  shares = {}
  for patch in axes.patches:
    values, edges, _ = patch.get_data()
    np.testing.assert_array_equal(edges, [0.5, 1.5, 2.5, 3.5, 4.5])
    filled = patch.get_fill()
    drawn = patch.get_facecolor() if filled else patch.get_edgecolor()
    shares[color(drawn), filled] = list(values)
  assert shares == {
    (figures.BEFORE, True): [50, 25, 0, 25],
    (figures.BEFORE, False): [50, 25, 0, 25],
    (figures.AFTER, True): [0, 50, 0, 50],
    (figures.AFTER, False): [0, 50, 0, 50],
  }
  assert vertical_lines(axes) == [(2, figures.BEFORE), (3, figures.AFTER)]
  assert axes.get_xlabel() == "tokens"
  assert axes.get_ylabel() == "responses, %"
  assert axes.get_ylim()[0] == 0


def test_whole_numbers_get_bins_of_whole_width():
  # 0..47 spans 48 values: 24 bins of two each, cut between the numbers.
  edges = figures.edges(np.array([0.0, 47.0]))
  np.testing.assert_array_equal(edges, np.arange(-0.5, 48, 2))
  # So does 10..57, and so does -50..-3: where they lie does not matter.
  edges = figures.edges(np.array([10.0, 57.0]))
  np.testing.assert_array_equal(edges, np.arange(9.5, 58, 2))
  edges = figures.edges(np.array([-50.0, -3.0]))
  np.testing.assert_array_equal(edges, np.arange(-50.5, -2, 2))
  # 0..48 spans 49: bins of three, the last of which reaches beyond 48.
  edges = figures.edges(np.array([0.0, 48.0]))
  np.testing.assert_array_equal(edges, np.arange(-0.5, 51, 3))


def test_other_numbers_get_24_bins_from_the_lowest_to_the_highest():
  edges = figures.edges(np.array([-1.0, 0.3, 5.0]))
  np.testing.assert_allclose(edges, np.linspace(-1, 5, 25))


@pytest.mark.parametrize("chance", [False, True])
def test_a_curve_is_drawn_over_its_steps(axes, chance):
  line = figures.Line("kl", np.array([1.0, 5.0, 9.0]), np.array([0.1, 4, 0.7]))
  figures.draw_curve(axes, line, "nats", chance=chance)
  curve, *others = axes.lines
  np.testing.assert_array_equal(
    curve.get_xydata(), [(1, 0.1), (5, 4), (9, 0.7)]
  )
  assert curve.get_marker() == "None"
  assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "nats")
  assert [set(other.get_ydata()) for other in others] == [{0.5}] * chance
  assert (axes.get_ylim() == (0, 1)) == chance


def test_a_single_point_can_be_seen(axes):
  line = figures.Line("loss", np.array([5.0]), np.array([0.1]))
  figures.draw_curve(axes, line, "loss", chance=False)
  assert axes.lines[0].get_marker() == "o"


def test_a_curve_has_the_finite_values_of_the_rows_that_hold_it():
  rows = [
    {"step": 1, "kl": 0.5},
    {"step": 2, "loss": 7.0},
    {"step": 3, "kl": math.nan},
    {"step": 4, "kl": math.inf},
    {"step": 8, "kl": -0.25},
  ]
  key, steps, values = figures.curve(rows, "kl")
  assert (key, steps.tolist(), values.tolist()) == ("kl", [1, 8], [0.5, -0.25])
  assert figures.left_out(figures.column(rows, "kl")[1]) == 2
  assert figures.curve(rows, "absent").steps.size == 0


def test_a_long_curve_keeps_its_mean_and_few_points():
  rows = [{"step": step, "loss": float(step % 2)} for step in range(1, 6001)]
  _, steps, values = figures.curve(rows, "loss")
  assert len(steps) == len(values) == 300
  np.testing.assert_allclose(values, 0.5)  # each bin: ten zeros and ten ones
  np.testing.assert_allclose(steps, 10.5 + 20 * np.arange(300))


def test_a_curve_of_as_many_points_as_can_be_drawn_is_drawn_as_it_is():
  rows = [{"step": step, "loss": float(step)} for step in range(1, 301)]
  assert figures.curve(rows, "loss").values.tolist() == list(range(1, 301))
