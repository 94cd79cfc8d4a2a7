"""One look for all figures: colors, panels, bands, keys."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colors: color-blind readers can tell them apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, YELLOW, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#7F7F7F"
# Lines also differ where a page is printed in black and white.
DASHES = ("-", "--", "-.", ":", (0, (1, 1)))

matplotlib.rcParams.update(
  {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.8,
  }
)


def panels(
  columns: int, *, rows: int = 1, width: float, height: float, **layout: Any
) -> tuple[Figure, Any]:
  """A figure, and its axes as a row, or as an array [rows, columns].

  Args:
    columns: panels side by side.
    rows: panels above each other.
    width: of the figure, in inches.
    height: likewise.
    **layout: what `Figure.subplots` takes, such as `sharey`.
  """
  figure = Figure(figsize=(width, height), layout="constrained")
  axes = figure.subplots(rows, columns, squeeze=False, **layout)
  return figure, axes[0] if rows == 1 else axes


def band(
  axis: Axes,
  x: np.ndarray,
  low: np.ndarray,
  high: np.ndarray,
  *,
  color: str,
  alpha: float = 0.2,
) -> None:
  """Shades from `low` to `high`."""
  axis.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0)


def note(
  axis: Axes,
  text: str,
  point: tuple[float, float],
  offset: tuple[float, float],
  **text_style: Any,
) -> None:
  """Text beside a point, `offset` points of the font away."""
  axis.annotate(
    text, point, xytext=offset, textcoords="offset points", **text_style
  )


def key_below(figure: Figure, axis: Axes, *, columns: int) -> None:
  """One key for all panels, below them, with the labels of one."""
  handles, labels = axis.get_legend_handles_labels()
  figure.legend(handles, labels, loc="outside lower center", ncols=columns)
