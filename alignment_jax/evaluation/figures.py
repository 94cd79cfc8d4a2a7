"""The report's figures as SVG: matplotlib's object interface, no window.

Arrays in, text out; what a figure means is said on the page around it.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np

from alignment_jax import errors

# Apart in hue, in lightness (so also in grey print) and for the colour-blind;
# both reach 4.5:1 on white.
BEFORE, AFTER = "#b4540a", "#1d4f91"
INK, FAINT = "#1f2933", "#8a94a0"
POINTS = 300  # of a curve; more are averaged in bins

Rows = Sequence[Mapping[str, SupportsFloat]]  # as `read_metrics` returns them


def draw_win_rates(win_rates: Sequence[Any]) -> str:
  """Bars of what each `report.WinRate` holds, and the line of equals."""

  def draw(axes: Any) -> None:
    places = np.arange(len(win_rates))[::-1]
    rates = np.array([100 * w.rate for w in win_rates])
    low = np.array([100 * w.low for w in win_rates])
    high = np.array([100 * w.high for w in win_rates])
    axes.barh(places, rates, height=0.5, color=AFTER, alpha=0.3)
    axes.errorbar(
      rates,
      places,
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
      places,
      [f"{_short(w.judge)}\nagainst {_short(w.against)}" for w in win_rates],
    )
    axes.tick_params(axis="y", length=0)

  return _svg(draw, height=0.8 + 0.5 * len(win_rates))


def draw_histograms(before: np.ndarray, after: np.ndarray, unit: str) -> str:
  def draw(axes: Any) -> None:
    bins = edges(np.concatenate([before, after]))
    for values, colour, style in [
      (before, BEFORE, {"hatch": "////", "alpha": 0.35}),
      (after, AFTER, {"alpha": 0.35}),
    ]:
      counts, _ = np.histogram(values, bins)
      share = 100 * counts / values.size  # the two may differ in number
      axes.stairs(share, bins, fill=True, color=colour, linewidth=0, **style)
      axes.stairs(share, bins, color=colour, linewidth=1.4)
      axes.axvline(values.mean(), color=colour, linewidth=1, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.set(xlabel=unit, ylabel="responses, %")

  return _svg(draw)


def edges(values: np.ndarray) -> np.ndarray:
  """About 24 equal bins, whole in width for whole numbers: else they comb."""
  if np.any(values != np.round(values)):
    return np.histogram_bin_edges(values, bins=24)
  low, high = values.min(), values.max()
  width = max(1, math.ceil((high - low + 1) / 24))
  return np.arange(low, high + width + 1, width) - 0.5


def draw_curves(
  lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
  colours: Mapping[str, str],
  name: str,
) -> str:
  def draw(axes: Any) -> None:
    for key, (steps, values) in lines.items():
      axes.plot(
        steps,
        values,
        color=colours[key],
        linewidth=1.5,
        linestyle="--" if colours[key] == BEFORE else "-",
        marker="o" if len(steps) == 1 else None,
      )
    if name == "Accuracy":
      axes.axhline(0.5, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
      axes.set_ylim(0, 1)
    axes.set(xlabel="step", ylabel=name.lower())

  return _svg(draw)


def _short(text: str) -> str:
  return text if len(text) <= 24 else f"{text[:11]}…{text[-12:]}"


def _svg(draw: Any, height: float = 2.5) -> str:
  """Draws into one set of axes; the same drawing gives the same bytes."""
  try:
    import matplotlib
    from matplotlib import figure
  except ImportError as error:
    raise errors.UserError(
      f"the report needs a package, {error}: pip install 'alignment-jax[viz]'"
    ) from error

  settings = {
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
  pairs = [(row["step"], row[key]) for row in rows if key in row]
  return tuple(np.array(pairs, dtype=np.float64).reshape(-1, 2).T)


def curve(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
  """Steps and values to draw: finite ones, averaged in bins if too many."""
  steps, values = column(rows, key)
  finite = np.isfinite(values)
  steps, values = steps[finite], values[finite]
  if steps.size > POINTS:
    steps = np.array([bin.mean() for bin in np.array_split(steps, POINTS)])
    values = np.array([bin.mean() for bin in np.array_split(values, POINTS)])
  return steps, values


def finite(values: Any) -> np.ndarray:
  values = np.asarray(values, dtype=np.float64).ravel()
  return values[np.isfinite(values)]


def left_out(*arrays: Any) -> str:
  """Owns up to the values that a figure cannot show."""
  missing = sum(np.size(values) - finite(values).size for values in arrays)
  return f" Left out because not finite: {missing}." if missing else ""
