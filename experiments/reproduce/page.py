"""How results are shown: claims that are checked, tables, figures, pages."""

import dataclasses
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypedDict, Unpack

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One claim, and what was measured; `check` makes it.

  Attributes:
    quantity: what is measured, in a few words with its unit.
    published: what the source says.
    measured: what was measured here.
    criterion: when the claim counts as met.
    holds: whether it is met; None where the source leaves it open.
    certain: whether the source is certain; False where a setting was not
      printed, or the claim is our own derivation of what the paper implies.
  """

  quantity: str
  published: str
  measured: str
  criterion: str
  holds: bool | None
  certain: bool = True

  def verdict(self) -> str:
    """holds, does not hold, or open; and whether the source is uncertain."""
    word = {True: "holds", False: "DOES NOT HOLD", None: "open"}[self.holds]
    return word if self.certain else f"{word} (source uncertain)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduction:
  """One published illustration, reproduced.

  Attributes:
    title: what it is.
    source: paper, version and figure or section.
    rows: the claims.
    figures: name of the PNG without its ending -> figure.
    remarks: what agrees, what does not, what the source leaves open.
  """

  title: str
  source: str
  rows: Sequence[Row]
  figures: Mapping[str, Figure]
  remarks: str


class Bound(TypedDict, total=False):
  """What a value must satisfy; an array must in every entry.

  Keys:
    below, above, at_most, at_least: a limit.
    equals: the number, or the array, to be near.
    tolerance: how far `equals`, `at_most` and `at_least` may be missed.
    order: of the entries of an array, strictly.
    name: what is bounded, where that is not the quantity itself.
    of: the limit, or what `equals` is, in words.
    where: the cases that were checked.
  """

  below: float
  above: float
  at_most: float
  at_least: float
  equals: ArrayLike
  tolerance: float
  order: Literal["increasing", "decreasing"]
  name: str
  of: str
  where: str


@dataclasses.dataclass(frozen=True)
class Criterion:
  """A condition in words, and whether it is met."""

  text: str
  holds: bool


def criterion(value: ArrayLike, **bound: Unpack[Bound]) -> Criterion:
  """Says and tests one bound of a value, from the same numbers.

  A comparison with NaN fails.
  """
  values = np.asarray(value, np.float64)
  tolerance, of = bound.get("tolerance", 0.0), bound.get("of")

  def limit(number: float) -> str:
    return f"{of} = {number:.3g}" if of else _short(number)

  texts, holds = [], []
  if "above" in bound and "below" in bound:
    texts.append(
      f"between {_short(bound['above'])} and {_short(bound['below'])}"
    )
  elif "above" in bound:
    texts.append(f"> {limit(bound['above'])}")
  elif "below" in bound:
    texts.append(f"< {limit(bound['below'])}")
  if "above" in bound:
    holds.append(values > bound["above"])
  if "below" in bound:
    holds.append(values < bound["below"])
  if "at_least" in bound:
    slack = f" - {_short(tolerance)}" if tolerance else ""
    texts.append(f">= {limit(bound['at_least'])}{slack}")
    holds.append(values >= bound["at_least"] - tolerance)
  if "at_most" in bound:
    slack = f" + {_short(tolerance)}" if tolerance else ""
    texts.append(f"<= {limit(bound['at_most'])}{slack}")
    holds.append(values <= bound["at_most"] + tolerance)
  if "equals" in bound:
    target = np.asarray(bound["equals"], np.float64)
    goal = of or (_short(float(target)) if target.ndim == 0 else "")
    if tolerance:
      texts.append(f"within {_short(tolerance)}" + (goal and f" of {goal}"))
    else:
      texts.append(f"exactly {goal or ', '.join(map(_short, target.flat))}")
    holds.append(np.abs(values - target) <= tolerance)
  if "order" in bound:
    texts.append(f"strictly {bound['order']}")
    steps = np.diff(values)
    holds.append(steps > 0 if bound["order"] == "increasing" else steps < 0)
  if not texts:
    raise ValueError("a criterion needs a bound: below=, equals=, order=, ...")
  several = values.size > 1 and "order" not in bound
  subject = bound.get("name", "each" if several else "")
  text = " ".join(filter(None, [subject, " and ".join(texts)]))
  if "where" in bound:
    text += f", {bound['where']}"
  return Criterion(text, all(bool(np.all(each)) for each in holds))


def check(
  quantity: str,
  value: ArrayLike,
  *,
  published: str,
  measured: str | None = None,
  also: Iterable[Criterion] = (),
  certain: bool = True,
  **bound: Unpack[Bound],
) -> Row:
  """One claim: its criterion and its verdict come from the same bound.

  Args:
    quantity: what is measured, in a few words with its unit.
    value: the measured number, or several.
    published: what the source says.
    measured: `value` in other words or digits.
    also: further conditions of the same claim.
    certain: see `Row`.
    **bound: what the value must satisfy, see `Bound`.
  """
  if measured is None:
    measured = " ".join(filter(None, [bound.get("name"), _shown(value)]))
  criteria = [criterion(value, **bound), *also]
  return Row(
    quantity=quantity,
    published=published,
    measured=measured,
    criterion="; ".join(each.text for each in criteria),
    holds=all(each.holds for each in criteria),
    certain=certain,
  )


def undecided(quantity: str, *, published: str, measured: str, why: str) -> Row:
  """A row that reports a number of which no source says what it must be."""
  return Row(
    quantity=quantity,
    published=published,
    measured=measured,
    criterion=f"none: {why}",
    holds=None,
    certain=False,
  )


def number(value: float, digits: int = 4) -> str:
  """A measured number for a table."""
  value = float(value)
  if not math.isfinite(value):
    return str(value)
  if value != 0 and not 1e-3 <= abs(value) < 1e5:
    return f"{value:.{max(digits - 3, 1)}e}"
  return f"{value:.{digits}f}"


def numbers(values: Iterable[float], digits: int = 3) -> str:
  """Several measured numbers, such as a policy's probabilities."""
  return ", ".join(number(value, digits) for value in values)


def _shown(value: ArrayLike) -> str:
  values = np.asarray(value)
  return numbers(values.ravel()) if values.size > 1 else number(values.item())


def _short(value: float) -> str:
  """A limit as one would write it: 1e-9, not 1e-09."""
  mantissa, exponent, power = f"{value:g}".partition("e")
  return f"{mantissa}e{int(power)}" if exponent else mantissa


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A Markdown table that also reads well in a terminal."""
  lines = [list(head), *map(list, rows)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

  def line(cells: Sequence[str]) -> str:
    padded = (c.ljust(w) for c, w in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"

  rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
  return "\n".join([line(lines[0]), rule, *map(line, lines[1:])])


def table(result: Reproduction) -> str:
  """The rows of a result."""
  return markdown_table(
    ["quantity", "published", "measured", "criterion", "holds"],
    [
      [row.quantity, row.published, row.measured, row.criterion, row.verdict()]
      for row in result.rows
    ],
  )


def failed(result: Reproduction) -> list[Row]:
  """The rows that a certain source contradicts."""
  return [row for row in result.rows if row.certain and row.holds is False]


def paragraphs(result: Reproduction) -> list[str]:
  """What stands below the title of a result."""
  return [
    result.source,
    table(result),
    *(f"![{name}](figures/{name}.png)" for name in result.figures),
    result.remarks,
  ]


def write(
  name: str,
  title: str,
  parts: Iterable[str],
  *,
  figures: Mapping[str, Figure],
  folder: pathlib.Path = DOCS,
) -> pathlib.Path:
  """Writes a page of paragraphs, and its figures below `figures/`."""
  save_figures(figures, folder)
  path = folder / f"{name}.md"
  path.write_text("\n\n".join([f"# {title}", *parts]) + "\n", encoding="utf-8")
  return path


def save_figures(
  figures: Mapping[str, Figure], folder: pathlib.Path = DOCS
) -> None:
  """Writes figures below `figures/`, and says where."""
  for name, figure in figures.items():
    path = folder / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without matplotlib's version in it, runs give the same file.
    figure.savefig(path, dpi=150, metadata={"Software": None})
    print(f"figure: {path}")


def show(reproduce: Callable[[], Reproduction]) -> None:
  """Runs one reproduction, prints its table and saves its figures.

  Exits with status 1 when a row whose source is certain does not hold.
  """
  result, seconds = _timed(reproduce)
  save_figures(result.figures)
  _present(result, seconds)


def show_study(
  reproduce: Callable[[], Reproduction], name: str, *, command: str
) -> None:
  """As `show`, for a study that has a page of its own, which it writes.

  Args:
    reproduce: the study.
    name: of its page below docs, without the ending.
    command: what made it, for the page.
  """
  result, seconds = _timed(reproduce)
  path = write(
    name,
    result.title,
    [
      f"Written by `{command}` in {seconds / 60:.0f} minutes on"
      f" {os.cpu_count()} CPU cores.",
      *paragraphs(result),
    ],
    figures=result.figures,
  )
  print(f"page: {path}")
  _present(result, seconds)


def _present(result: Reproduction, seconds: float) -> None:
  print(table(result))
  print(f"{seconds:.0f} s")
  if failed(result):
    sys.exit(1)


def _timed(
  reproduce: Callable[[], Reproduction],
) -> tuple[Reproduction, float]:
  start = time.monotonic()
  result = reproduce()
  return result, time.monotonic() - start
