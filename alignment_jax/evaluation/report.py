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
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np

from alignment_jax import files
from alignment_jax.evaluation import figures, glossary, page

Rows = Sequence[Mapping[str, SupportsFloat]]  # as `read_metrics` returns them


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
  """One prompt, answered before and after training; scores by the judge."""

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
    story: two to four sentences; empty: `compose_story` writes them.
    headline: the few numbers to see first; a string is shown as it is.
    win_rates: comparisons, the most telling one first.
    numbers: everything else that was measured.
    curves: for each stage, what `read_metrics` returns.
    samples: prompts with both answers.
    lengths_before: tokens of each response before training. Likewise after.
    scores_before: the judge's score of each response. Likewise after.
    config: the resolved configuration.
    environment: versions and hardware.
  """

  title: str
  command: str
  story: str = ""
  headline: Mapping[str, SupportsFloat | str] = dataclasses.field(
    default_factory=dict
  )
  win_rates: Sequence[WinRate] = ()
  numbers: Sequence[Number] = ()
  curves: Mapping[str, Rows] = dataclasses.field(default_factory=dict)
  samples: Sequence[Sample] = ()
  lengths_before: np.ndarray | None = None
  lengths_after: np.ndarray | None = None
  scores_before: np.ndarray | None = None
  scores_after: np.ndarray | None = None
  config: str = ""
  environment: str = ""


def write_report(path: str | os.PathLike[str], report: Report) -> None:
  """Writes the page; a reader sees the old file or the whole new one.

  The same report gives the same bytes with the same matplotlib.

  Raises:
    UserError: matplotlib is not installed.
  """
  text = _page(report)
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
      f"The judge’s mean score went from {page.text(before)} to"
      f" {page.text(after)}."
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
  if first.low > 0.5:
    verdict = "That is more than the choice of prompts explains"
  elif first.high < 0.5:
    verdict = "The training made it worse, by this judge"
  else:
    verdict = "The interval holds 50\u202f%, so this is no clear difference"
  ties = (
    f", ties ({page.percent(first.ties)}) counting half" if first.ties else ""
  )
  sentences = [
    f"The trained policy wins {page.percent(first.rate)} of"
    f" {page.text(first.count)} prompts against {first.against},"
    f" judged by {first.judge}{ties}.",
  ]
  if math.isfinite(first.low) and math.isfinite(first.high):
    sentences.append(
      f"{verdict} (95\u202f% interval {page.percent(first.low)} to"
      f" {page.percent(first.high)})."
    )
  return sentences


# The page, from top to bottom. Every text goes through `page.escape`.


def _page(report: Report) -> str:
  story = report.story or compose_story(report)
  parts = [
    f"<h1>{page.escape(report.title)}</h1>",
    f"<p class=story>{page.escape(story)}</p>" if story else "",
    _headline(report.headline),
    _command(report.command),
    _how_to_read(report),
    _win_rates(report.win_rates),
    _distributions(report),
    _samples(report.samples),
    _numbers(report.numbers),
    _training(report.curves),
    _appendix(report),
  ]
  return page.document(report.title, [part for part in parts if part])


def _command(command: str) -> str:
  """The words in boxes, so that a line breaks between them if it can."""
  if not command:
    return ""
  words = re.sub(r"(\S+)", r"<span>\1</span>", page.escape(command))
  return f"<pre class=command><code>{words}</code></pre>"


def _headline(headline: Mapping[str, SupportsFloat | str]) -> str:
  if not headline:
    return ""
  tiles = "".join(
    f"<div><dt>{page.escape(name)}</dt><dd>{page.escape(page.text(value))}</dd></div>"
    for name, value in headline.items()
  )
  return f"<dl class=tiles>{tiles}</dl>"


def _how_to_read(report: Report) -> str:
  judged = bool(report.win_rates) or report.scores_after is not None
  names = [number.name.lower().split() for number in report.numbers]
  applies = {
    "Win rate": bool(report.win_rates),
    "Interval": bool(report.win_rates),
    "Judge": judged,
    "KL to the reference": any("kl" in words for words in names),
    "Reward margin": _has_key(report.curves, "rewards/margins"),
  }
  return glossary.how_to_read(term for term in applies if applies[term])


def _win_rates(win_rates: Sequence[WinRate]) -> str:
  if not win_rates:
    return ""
  spoken = "; ".join(
    f"{w.judge} against {w.against}: {page.percent(w.rate)}, from"
    f" {page.percent(w.low)} to {page.percent(w.high)}"
    for w in win_rates
  )
  figure = page.figure(
    figures.draw_win_rates(win_rates),
    label=f"Win rates with 95 % intervals. {spoken}.",
    caption="Win rate and its 95\u202f% interval. At the dashed line both"
    " policies are equal.",
  )
  rows = [
    [
      w.judge,
      w.against,
      page.percent(w.rate),
      f"{page.percent(w.low)} – {page.percent(w.high)}",
      page.percent(w.ties),
      page.text(w.count),
    ]
    for w in win_rates
  ]
  heads = [
    "Judge",
    "Against",
    "Win rate",
    "95\u202f% interval",
    "Ties",
    "Prompts",
  ]
  return page.section(
    "Does it win?",
    f"<div class=wide>{figure}</div>" + page.table(heads, rows, 2),
  )


def _distributions(report: Report) -> str:
  drawings = []
  for what, unit, before, after in [
    ("Score", "judge’s score", report.scores_before, report.scores_after),
    (
      "Length",
      "tokens per response",
      report.lengths_before,
      report.lengths_after,
    ),
  ]:
    if (means := _means(before, after)) is None:
      continue
    drawings.append(
      page.figure(
        figures.draw_histograms(
          figures.finite(before), figures.finite(after), unit
        ),
        label=f"{what} of the responses, before and after training. Mean"
        f" {page.text(means[0])} before, {page.text(means[1])} after.",
        caption=f"<b>{what}</b> of the responses. Mean"
        f" <span class=before>{page.text(means[0])} before</span>,"
        f" <span class=after>{page.text(means[1])} after</span>."
        + figures.left_out(before, after),
      )
    )
  return page.section("What changed in the answers?", page.grid(drawings))


def _samples(samples: Sequence[Sample]) -> str:
  if not samples:
    return ""
  rows = "".join(
    "<tr>"
    f'<th scope=row dir="auto"><div>{page.escape(sample.prompt)}</div></th>'
    + _answer("Before", sample.before, sample.before_score)
    + _answer("After", sample.after, sample.after_score)
    + "</tr>\n"
    for sample in samples
  )
  return page.section(
    "Read some answers",
    "<table class=samples><thead><tr><th scope=col>Prompt</th>"
    "<th scope=col class=before>Before</th>"
    f"<th scope=col class=after>After</th></tr></thead>\n<tbody>{rows}</tbody>"
    "</table>",
  )


def _answer(when: str, text: str, score: SupportsFloat | None) -> str:
  said = page.escape(text) if text.strip() else "<i>(empty)</i>"
  shown = ""
  if score is not None:
    shown = f"<small>score {page.escape(page.text(score))}</small>"
  return (
    f'<td dir="auto"><b class="when {when.lower()}">{when}</b>'
    f"<div>{said}</div>{shown}</td>"
  )


def _numbers(numbers: Sequence[Number]) -> str:
  if not numbers:
    return ""
  rows = [[n.name, page.text(n.value), n.unit, n.explanation] for n in numbers]
  return page.section(
    "Everything measured",
    page.table(["Number", "Value", "Unit", "What it says"], rows, 1, 1),
  )


def _training(curves: Mapping[str, Rows]) -> str:
  panels = [
    ("Loss", {"loss": figures.AFTER}),
    ("Reward margin", {"rewards/margins": figures.AFTER}),
    ("Accuracy", {"rewards/accuracies": figures.AFTER}),
    (
      "Rewards",
      {"rewards/chosen": figures.AFTER, "rewards/rejected": figures.BEFORE},
    ),
  ]
  stages = []
  for stage, rows in curves.items():
    drawings = []
    for name, keys in panels:
      lines = {key: figures.curve(rows, key) for key in keys}
      lines = {key: line for key, line in lines.items() if len(line[0])}
      if not lines:
        continue
      spoken = "; ".join(
        f"{key} from {page.text(values[0])} at step {steps[0]:.0f} to"
        f" {page.text(values[-1])} at step {steps[-1]:.0f}"
        for key, (steps, values) in lines.items()
      )
      drawings.append(
        page.figure(
          figures.draw_curves(lines, keys, name),
          label=f"{name} of the stage {stage}: {spoken}.",
          caption=f"<b>{name}</b>{_legend(lines, keys)}."
          + figures.left_out(*[figures.column(rows, key)[1] for key in lines]),
        )
      )
    if drawings:
      stages.append(f"<h3>{page.escape(stage)}</h3>\n{page.grid(drawings)}")
  return page.section("How training went", "\n".join(stages))


def _legend(lines: Iterable[str], colours: Mapping[str, str]) -> str:
  classes = {figures.BEFORE: "before", figures.AFTER: "after"}
  names = [
    f"<span class={classes[colours[key]]}>{key.split('/')[-1]}</span>"
    for key in lines
  ]
  return f": {', '.join(names)}" if len(names) > 1 else ""


def _appendix(report: Report) -> str:
  return "\n".join(
    f"<details><summary>{title}</summary><pre><code>{page.escape(text)}</code></pre>"
    "</details>"
    for title, text in [
      ("Configuration", report.config),
      ("Environment", report.environment),
    ]
    if text
  )


def _means(before: Any, after: Any) -> tuple[float, float] | None:
  if before is None or after is None:
    return None
  before, after = figures.finite(before), figures.finite(after)
  if not before.size or not after.size:
    return None
  return float(before.mean()), float(after.mean())


def _has_key(curves: Mapping[str, Rows], key: str) -> bool:
  return any(key in row for rows in curves.values() for row in rows)
