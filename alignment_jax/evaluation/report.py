"""The page that a run leaves: one HTML file, readable offline, on paper, on a
phone.

Figures are inline SVG, style is inline CSS, there is no script, and the page
forbids the browser to load anything. What the numbers are is the caller's; what
has no data is left out.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, SupportsFloat

import numpy as np

from alignment_jax import files
from alignment_jax.evaluation import figures, page
from alignment_jax.evaluation.figures import Line, Rows

# Metric -> title of its panel, label of its axis; others are called by name.
TITLES = {
  "loss": ("Loss", "loss"),
  "accuracy": ("Token accuracy", "share of tokens"),
  "rewards/margins": ("Reward margin", "reward margin"),
  "rewards/accuracies": ("Accuracy", "accuracy"),
  "rewards/mean": ("Reward", "mean reward"),
  "rewards/implicit": ("Implicit reward", "mean reward"),
  "rewards/desirable": ("Reward of desirable responses", "reward"),
  "rewards/undesirable": ("Reward of undesirable responses", "reward"),
  "rewards/demonstration": ("Reward of demonstrations", "mean reward"),
  "rewards/token": ("Implicit reward per token", "nats per token"),
  "preferences/margins": ("Preference margin", "logits"),
  "preferences/accuracies": ("Accuracy", "accuracy"),
  "logps/chosen": ("Likelihood of chosen responses", "nats per response"),
  "logps/policy": ("Likelihood of the responses", "nats per response"),
  "loss/likelihood": ("Likelihood loss", "nats per token"),
  "kl": ("KL to the reference", "nats per response"),
  "log_ratio": ("Log-ratio to the reference", "nats per response"),
  "win_rate": ("Win rate", "share won"),
  "win_rate/best": ("Win rate of the best sample", "share won"),
  "responses/length": ("Response length", "tokens"),
  "value/error": ("Error of the values", "squared error"),
  "calibration/squared_error": ("Calibration error", "squared error"),
  "joint/margins": ("Joint margin", "margin"),
  "reviser/accuracies": ("Accuracy of the revision", "accuracy"),
  "discriminator/right_of_demonstrations": (
    "Demonstrations recognized",
    "share of demonstrations",
  ),
}
# Shares of comparisons: half of them go right by chance.
_AGAINST_CHANCE = {
  "rewards/accuracies",
  "preferences/accuracies",
  "reviser/accuracies",
  "win_rate",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WinRate:
  """One comparison, as `win_rate` computes it.

  Attributes:
    judge: who scored.
    against: whose responses were the other side.
    rate: share of prompts won, a tie counting half, in [0, 1].
    low: lower end of the 95 % interval of `rate`.
    high: upper end.
    ties: share of prompts tied, in [0, 1].
    count: how many prompts.
  """

  judge: str
  against: str
  rate: SupportsFloat
  low: SupportsFloat
  high: SupportsFloat
  ties: SupportsFloat
  count: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Number:
  """One measured number, its unit, and a sentence that explains it."""

  name: str
  value: SupportsFloat
  unit: str = ""
  explanation: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
  """One prompt, its responses before and after training, their scores."""

  prompt: str
  before: str
  after: str
  before_score: SupportsFloat | None = None
  after_score: SupportsFloat | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Report:
  """What the page says; every field but the first two may stay empty.

  Attributes:
    title: the heading.
    command: what reproduces the run, as typed.
    win_rates: comparisons, the most telling one first.
    numbers: everything else that was measured.
    curves: for each stage, what `read_metrics` returns.
    headlines: for each stage, the metrics that are drawn beside its loss.
    samples: prompts with both responses.
    lengths_before: tokens of each response before training. Likewise after.
    scores_before: the judge's score of each response. Likewise after.
    config: the resolved configuration.
    environment: versions and hardware.
  """

  title: str
  command: str
  win_rates: Sequence[WinRate] = ()
  numbers: Sequence[Number] = ()
  curves: Mapping[str, Rows] = dataclasses.field(default_factory=dict)
  headlines: Mapping[str, Sequence[str]] = dataclasses.field(
    default_factory=dict
  )
  samples: Sequence[Sample] = ()
  lengths_before: np.ndarray | None = None
  lengths_after: np.ndarray | None = None
  scores_before: np.ndarray | None = None
  scores_after: np.ndarray | None = None
  config: str = ""
  environment: str = ""


class _Distribution(NamedTuple):
  name: str
  drawing: str
  before: float
  after: float
  left_out: int


class _Panel(NamedTuple):
  title: str
  line: Line
  drawing: str
  left_out: int


def write_report(path: str | os.PathLike[str], report: Report) -> None:
  """Writes the page; a reader sees the old file or the whole new one.

  The same report gives the same bytes with the same matplotlib.

  Raises:
    UserError: matplotlib or jinja2 is not installed.
  """
  stages = {
    name: panels
    for name, rows in report.curves.items()
    if (panels := _panels(rows, report.headlines.get(name, ())))
  }
  drawn = {p.line.key for panels in stages.values() for p in panels}
  words = {w for n in report.numbers for w in n.name.lower().split()}
  text = page.render(
    report=report,
    story=compose_story(report),
    colors={
      "before": figures.BEFORE,
      "after": figures.AFTER,
      "ink": figures.INK,
    },
    explain={
      "judge": bool(report.win_rates) or report.scores_after is not None,
      "kl": "kl" in words | drawn,
      "margin": "rewards/margins" in drawn,
    },
    win_rates=figures.win_rate_drawing(report.win_rates)
    if report.win_rates
    else "",
    distributions=_distributions(report),
    stages=stages,
  )
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  # A policy may emit lone surrogates, which UTF-8 does not have.
  files.write_bytes(path, text.encode("utf-8", errors="replace"))


def compose_story(report: Report) -> str:
  """Says in up to four plain sentences what the numbers of a report say."""
  sentences = []
  if report.win_rates:
    sentences += _win_rate_story(report.win_rates[0])
  if (scores := _means(report.scores_before, report.scores_after)) is not None:
    before, after = scores
    sentences.append(
      f"The judge’s mean score went from {page.number(before)} to"
      f" {page.number(after)}."
    )
  if (
    lengths := _means(report.lengths_before, report.lengths_after)
  ) is not None:
    before, after = lengths
    sentence = (
      f"A response has {after:.1f} tokens on average, {before:.1f} before"
    )
    if max(before, after) > 1.25 * min(before, after):
      sentence += ": check that the judge does not simply reward length"
    sentences.append(sentence + ".")
  return " ".join(sentences)


def _win_rate_story(first: WinRate) -> list[str]:
  low, high = float(first.low), float(first.high)
  if low > 0.5:
    verdict = "That is more than the choice of prompts explains"
  elif high < 0.5:
    verdict = "The training made it worse, by this judge"
  else:
    verdict = "The interval holds 50\u202f%, so this is no clear difference"
  ties = (
    f", ties ({page.percent(first.ties)}) counting half" if first.ties else ""
  )
  sentences = [
    f"The trained policy wins {page.percent(first.rate)} of"
    f" {page.number(first.count)} prompts against {first.against},"
    f" judged by {first.judge}{ties}.",
  ]
  if math.isfinite(low) and math.isfinite(high):
    sentences.append(
      f"{verdict} (95\u202f% interval {page.percent(low)} to"
      f" {page.percent(high)})."
    )
  return sentences


def _distributions(report: Report) -> list[_Distribution]:
  distributions = []
  for name, unit, before, after in [
    ("Score", "judge’s score", report.scores_before, report.scores_after),
    (
      "Length",
      "tokens per response",
      report.lengths_before,
      report.lengths_after,
    ),
  ]:
    means = _means(before, after)
    if means is None or before is None or after is None:
      continue
    drawing = figures.histogram_drawing(
      figures.finite(before), figures.finite(after), unit
    )
    distributions.append(
      _Distribution(name, drawing, *means, figures.left_out(before, after))
    )
  return distributions


def _panels(rows: Rows, headline: Sequence[str]) -> list[_Panel]:
  """The loss and what the method says leads, as far as it was recorded."""
  panels = []
  for key in dict.fromkeys(["loss", *headline]):
    line = figures.curve(rows, key)
    if not line.steps.size:
      continue
    title, label = TITLES.get(key, (key, key))
    panels.append(
      _Panel(
        title,
        line,
        figures.curve_drawing(line, label, chance=key in _AGAINST_CHANCE),
        figures.left_out(figures.column(rows, key)[1]),
      )
    )
  return panels


def _means(
  before: np.ndarray | None, after: np.ndarray | None
) -> tuple[float, float] | None:
  if before is None or after is None:
    return None
  before, after = figures.finite(before), figures.finite(after)
  if not before.size or not after.size:
    return None
  return float(before.mean()), float(after.mean())
