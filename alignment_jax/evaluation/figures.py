"""The report's figures as SVG: matplotlib's object interface, no window.

Arrays in, text out; the page around a figure says what it means.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, SupportsFloat

import numpy as np

from alignment_jax import errors

# Apart in hue, in lightness (so also in gray print) and for the color-blind;
# both reach 4.5:1 on white.
BEFORE, AFTER = "#b4540a", "#1d4f91"
INK, FAINT = "#1f2933", "#8a94a0"
POINTS = 300  # of a curve; more are averaged in bins

Rows = Sequence[Mapping[str, SupportsFloat]]  # as `read_metrics` returns them
# matplotlib is imported when a figure is drawn, and has to be there only then.
Axes = Any
Draw = Callable[[Axes], None]


class Line(NamedTuple):
  """One metric of a stage, as it is drawn."""

  key: str
  steps: np.ndarray
  values: np.ndarray


def win_rate_drawing(win_rates: Sequence[Any]) -> str:
  """Bars of what each `report.WinRate` holds, and the line of equals."""
  return _svg(
    lambda axes: draw_win_rates(axes, win_rates), 0.8 + 0.5 * len(win_rates)
  )


def histogram_drawing(before: np.ndarray, after: np.ndarray, unit: str) -> str:
  """What the values were before and after, as shares of the responses."""
  return _svg(lambda axes: draw_histograms(axes, before, after, unit))


def curve_drawing(line: Line, label: str, *, chance: bool) -> str:
  """A metric over the steps of a stage.

  Args:
    line: from `curve`.
    label: of its axis.
    chance: whether it is a share in [0, 1] that is 1/2 by chance.
  """
  return _svg(lambda axes: draw_curve(axes, line, label, chance=chance))


def draw_win_rates(axes: Axes, win_rates: Sequence[Any]) -> None:
  positions = np.arange(len(win_rates))[::-1]  # the first one at the top
  rates = np.array([100 * w.rate for w in win_rates])
  low = np.array([100 * w.low for w in win_rates])
  high = np.array([100 * w.high for w in win_rates])
  axes.barh(positions, rates, height=0.5, color=AFTER, alpha=0.3)
  axes.errorbar(
    rates,
    positions,
    xerr=np.maximum([rates - low, high - rates], 0),
    fmt="o",
    color=AFTER,
    markersize=4,
    capsize=3,
  )
  axes.axvline(50, color=INK, linewidth=1, linestyle=(0, (4, 3)))
  axes.set(xlim=(0, 100), ylim=(-0.6, len(win_rates) - 0.4))
  axes.set_xlabel("prompts won, %")
  axes.set_yticks(
    positions,
    [f"{_short(w.judge)}\nagainst {_short(w.against)}" for w in win_rates],
  )
  axes.tick_params(axis="y", length=0)


def draw_histograms(
  axes: Axes, before: np.ndarray, after: np.ndarray, unit: str
) -> None:
  bins = edges(np.concatenate([before, after]))
  for values, color, style in [
    (before, BEFORE, {"hatch": "////", "alpha": 0.35}),
    (after, AFTER, {"alpha": 0.35}),
  ]:
    counts, _ = np.histogram(values, bins)
    share = 100 * counts / values.size  # the two may differ in number
    axes.stairs(share, bins, fill=True, color=color, linewidth=0, **style)
    axes.stairs(share, bins, color=color, linewidth=1.4)
    axes.axvline(values.mean(), color=color, linewidth=1, linestyle="--")
  axes.set_ylim(bottom=0)
  axes.set(xlabel=unit, ylabel="responses, %")


def draw_curve(axes: Axes, line: Line, label: str, *, chance: bool) -> None:
  axes.plot(
    line.steps,
    line.values,
    color=AFTER,
    linewidth=1.5,
    marker="o" if len(line.steps) == 1 else None,
  )
  if chance:
    axes.axhline(0.5, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_ylim(0, 1)
  axes.set(xlabel="step", ylabel=label)


def edges(values: np.ndarray) -> np.ndarray:
  """About 24 equal bins, whole in width for whole numbers: else they comb."""
  if np.any(values != np.round(values)):
    return np.histogram_bin_edges(values, bins=24)
  low, high = values.min(), values.max()
  width = math.ceil((high - low + 1) / 24)
  return np.arange(low, high + width + 1, width) - 0.5


def _short(text: str) -> str:
  return text if len(text) <= 24 else f"{text[:11]}…{text[-12:]}"


def _svg(draw: Draw, height: float = 2.5) -> str:
  """Draws into one set of axes; the same drawing gives the same bytes."""
  try:
    import matplotlib
    from matplotlib import figure
  except ImportError as error:
    raise errors.not_installed("matplotlib", extra="viz") from error

  settings: dict[Any, Any] = {
    "svg.hashsalt": "alignment-jax",
    "svg.fonttype": "none",  # real text: small, searchable, the page's font
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
  }
  with matplotlib.rc_context(settings):
    canvas = figure.Figure(figsize=(4.6, height), layout="constrained")
    canvas.patch.set_visible(False)
    axes = canvas.subplots()
    axes.patch.set_visible(False)
    draw(axes)
    file = io.StringIO()
    nothing = dict.fromkeys(["Date", "Creator", "Format", "Type"])
    canvas.savefig(file, format="svg", metadata=nothing)
  text = file.getvalue()
  text = text[text.index("<svg ") :]  # without the XML prologue
  return re.sub(
    r"<style.*?</style>|<metadata>.*?</metadata>", "", text, flags=re.S
  )


def column(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
  """The steps that have this metric, and its values."""
  pairs = [(row["step"], row[key]) for row in rows if key in row]
  steps, values = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
  return steps, values


def curve(rows: Rows, key: str) -> Line:
  """What to draw: finite values, averaged in bins if they are too many."""
  steps, values = column(rows, key)
  is_finite = np.isfinite(values)
  steps, values = steps[is_finite], values[is_finite]
  if steps.size > POINTS:
    steps = np.array([bin.mean() for bin in np.array_split(steps, POINTS)])
    values = np.array([bin.mean() for bin in np.array_split(values, POINTS)])
  return Line(key, steps, values)


def finite(values: np.ndarray) -> np.ndarray:
  values = np.asarray(values, dtype=np.float64).ravel()
  return values[np.isfinite(values)]


def left_out(*arrays: np.ndarray) -> int:
  """How many values a figure cannot show."""
  return sum(np.size(values) - finite(values).size for values in arrays)
