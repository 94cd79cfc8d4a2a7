"""How a reproduction is shown: a table, its figures, a page of all of them."""

import dataclasses
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One claim, and what came out.

  Attributes:
    quantity: what is measured, in a few words with its unit.
    published: what the source says.
    measured: what came out here.
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
    """holds, does not hold, or open; with a question mark if uncertain."""
    word = {True: "holds", False: "DOES NOT HOLD", None: "open"}[self.holds]
    return word if self.certain else f"{word} (source uncertain)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduction:
  """One published illustration, done again.

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


def number(value: float, digits: int = 4) -> str:
  """A measured number for a table."""
  value = float(value)
  if not math.isfinite(value):
    return str(value)
  if value != 0 and not 1e-3 <= abs(value) < 1e5:
    return f"{value:.{max(digits - 3, 1)}e}"
  return f"{value:.{digits}f}"


def numbers(values, digits: int = 3) -> str:
  """Several measured numbers, such as a policy's probabilities."""
  return ", ".join(number(value, digits) for value in values)


def show(reproduce: Callable[[], Reproduction]) -> None:
  """Runs one reproduction, prints its table and saves its figures.

  Exits with status 1 when a row whose source is certain does not hold.
  """
  _present(*_timed(reproduce))


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
  path = DOCS / f"{name}.md"
  path.write_text(
    f"# {result.title}\n\nWritten by `{command}` in {seconds / 60:.0f} minutes"
    f" on {os.cpu_count()} CPU cores.\n\n" + "\n".join(_body(result))
  )
  print(f"page: {path.relative_to(ROOT)}")
  _present(result, seconds)


def failed(result: Reproduction) -> list[Row]:
  """The rows that a certain source contradicts."""
  return [row for row in result.rows if row.certain and row.holds is False]


def save_figures(result: Reproduction) -> list[pathlib.Path]:
  """Writes the figures below docs/figures; returns where they are."""
  folder = DOCS / "figures"
  folder.mkdir(parents=True, exist_ok=True)
  paths = []
  for name, figure in result.figures.items():
    path = folder / f"{name}.png"
    # Without the date that matplotlib would add, runs give the same file.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    paths.append(path)
  return paths


def write_page(results: Sequence[Reproduction]) -> pathlib.Path:
  """Writes docs/reproductions.md from all reproductions."""
  parts = [
    "# Reproductions\n",
    "Published illustrations, done again with this library by `make"
    " reproduce`, which writes this page. `holds` means that the criterion in"
    " the row is met. Where a paper does not print a setting, or the claim is"
    " derived from the paper rather than printed in it, the source counts as"
    " uncertain.\n",
  ]
  for result in results:
    parts += [f"## {result.title}\n", *_body(result)]
  path = DOCS / "reproductions.md"
  path.write_text("\n".join(parts))
  return path


def table(result: Reproduction) -> str:
  """The rows as a Markdown table that also reads well in a terminal."""
  head = ["quantity", "published", "measured", "criterion", "holds"]
  rows = [
    [row.quantity, row.published, row.measured, row.criterion, row.verdict()]
    for row in result.rows
  ]
  widths = [max(len(line[i]) for line in [head, *rows]) for i in range(5)]

  def line(cells):
    padded = (c.ljust(w) for c, w in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"

  rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
  return "\n".join([line(head), rule, *(line(row) for row in rows)])


def _present(result, seconds):
  print(table(result))
  for path in save_figures(result):
    print(f"figure: {path.relative_to(ROOT)}")
  print(f"{seconds:.0f} s")
  if failed(result):
    sys.exit(1)


def _body(result):
  """What stands below the title of a result."""
  return [
    f"{result.source}\n",
    table(result) + "\n",
    *(f"![{name}](figures/{name}.png)\n" for name in result.figures),
    f"{result.remarks}\n",
  ]


def _timed(reproduce):
  start = time.monotonic()
  result = reproduce()
  return result, time.monotonic() - start
