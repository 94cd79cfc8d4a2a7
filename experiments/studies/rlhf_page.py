"""The page of `rlhf_small`: a table, a frontier, and who beats whom."""

import dataclasses
import itertools
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from alignment_jax.evaluation import win_rate
from experiments.reproduce import page, style

# What a method learns from -> its color.
COLORS = {
  "": style.BLACK,
  "offline, pairs": style.BLUE,
  "offline, ratings": style.SKY,
  "online, reward": style.ORANGE,
  "online, preference": style.GREEN,
}
MARKERS = "os^Dv"  # of the methods of one color
Interval = tuple[float, float, float]  # estimate, low end, high end
Spread = tuple[float, float]  # mean and standard deviation over seeds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
  """A method over all seeds.

  Attributes:
    family: what it learns from.
    gold: mean reward of the gold judge.
    proxy: mean reward of the judge that online methods learn from.
    vader: mean score of VADER's rules.
    kl: to the SFT policy, in nats per response.
    length: of a response, in tokens.
    seconds: of training and judging, the mean over seeds.
  """

  family: str
  gold: Spread
  proxy: Spread
  vader: Spread
  kl: Spread
  length: Spread
  seconds: float


def summaries(
  methods: Mapping[str, Sequence[Mapping[str, Any]]],
  families: Mapping[str, str],
) -> dict[str, Summary]:
  """Each method over its seeds.

  Args:
    methods: name -> the verdict on each seed.
    families: name -> what it learns from.
  """

  def spread(values: Sequence[float]) -> Spread:
    return float(np.mean(values)), float(np.std(values))

  return {
    name: Summary(
      family=families[name],
      gold=spread([np.mean(seed["gold"]) for seed in seeds]),
      **{
        key: spread([seed[key] for seed in seeds])
        for key in ("proxy", "vader", "kl", "length")
      },
      seconds=float(np.mean([seed["seconds"] for seed in seeds])),
    )
    for name, seeds in methods.items()
  }


def pairwise(
  gold: Mapping[str, np.ndarray],
) -> dict[tuple[str, str], Interval]:
  """How often one method beats another under the gold judge.

  Args:
    gold: name -> scores [seeds, prompts], prompts in the same order.

  Returns:
    (row, column) -> share of prompts that the row wins, and its interval over
    prompts; seeds are averaged within a prompt.
  """
  table = {}
  for row, column in itertools.permutations(gold, 2):
    won = np.mean(
      [
        win_rate.wins(a, b)
        for a, b in zip(gold[row], gold[column], strict=True)
      ],
      axis=0,
    )
    low, high = win_rate.bootstrap_interval(won, seed=0)
    table[row, column] = (float(won.mean()), low, high)
  return table


def write_page(
  verdicts: Mapping[str, Any],
  failed: Mapping[str, str],
  families: Mapping[str, str],
  docs: pathlib.Path,
  *,
  command: str,
) -> pathlib.Path:
  """Writes rlhf_small.md and its figure below `docs`.

  Args:
    verdicts: of `shared` stages, and of `methods` on each seed.
    failed: what was run -> what went wrong.
    families: method -> what it learns from; the first is the start of all.
    docs: where to write.
    command: what made the verdicts.
  """
  methods = verdicts["methods"]
  summary = summaries(methods, families)
  gold = {
    name: np.array([seed["gold"] for seed in seeds])
    for name, seeds in methods.items()
  }
  wins = pairwise(gold)
  judge, judge_gold = (
    verdicts["shared"][name]["numbers"] for name in ("reward", "gold")
  )
  accuracy = "reward model accuracy"
  seeds, prompts = next(iter(gold.values())).shape
  seconds = sum(
    verdict["seconds"]
    for verdict in [
      *verdicts["shared"].values(),
      *itertools.chain(*methods.values()),
    ]
  )
  parts = [
    f"Written by `{command}` on {os.cpu_count()} CPU cores"
    f" ({platform.machine()}, JAX {jax.__version__}); its parts took"
    f" {seconds / 60:.0f} minutes, and two ran side by side;"
    f" {seeds} seeds, {prompts} held-out prompts. The settings are in"
    " `experiments/studies/rlhf_methods.py`; none was tuned.",
    "Every method starts from one SFT policy and sees only the first half of"
    " each text's raters: offline methods their ratings, online methods a"
    " reward model of them, the proxy, or (online IPO, Nash-MD) a preference"
    " model. The gold judge is a reward model from the other half,"
    " with another seed. It rates the same texts and starts from the same SFT"
    " policy, so its errors are not independent of the proxy's. Of held-out"
    " pairs with a clear order, the proxy agrees with its raters on"
    f" {judge[accuracy]:.0%} and the gold judge on"
    f" {judge_gold[accuracy]:.0%}.",
    results(summary, wins),
    "Means over seeds; ± is the standard deviation over seeds. KL is to the"
    " SFT policy, in nats per response; rewards are in units of the judges'"
    " log-odds. The interval is 95 % over prompts.",
    "![rlhf_small](figures/rlhf_small.png)",
    "## Who beats whom",
    "Share of held-out prompts on which the row's response has the higher gold"
    " reward, and its 95 % interval over prompts, in %.",
    matrix(wins),
    "## One response of each",
    "To the first held-out prompt, with the same draws, of the first seed; a"
    " bar separates prompt and response.",
    "\n".join(
      f"- {name}: `{seeds[0]['samples'][0]}`" for name, seeds in methods.items()
    ),
  ]
  if failed:
    parts += ["## Failed", "\n".join(f"- {n}: {e}" for n, e in failed.items())]
  return page.write(
    "rlhf_small",
    "Many methods, one small model, human ratings",
    parts,
    figures={"rlhf_small": frontier(summary)},
    folder=docs,
  )


def results(
  summary: Mapping[str, Summary], wins: Mapping[tuple[str, str], Interval]
) -> str:
  """One line for each method."""

  def shown(spread: Spread, digits: int = 2) -> str:
    mean, deviation = spread
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"

  return page.markdown_table(
    [
      *("method", "learns from", "gold reward", "proxy reward", "VADER"),
      *("KL", "length", "wins against SFT, %", "seconds"),
    ],
    [
      [
        name,
        method.family,
        *map(shown, (method.gold, method.proxy, method.vader, method.kl)),
        shown(method.length, 1),
        "" if name == "SFT" else interval(wins[name, "SFT"]),
        f"{method.seconds:.0f}",
      ]
      for name, method in summary.items()
    ],
  )


def matrix(wins: Mapping[tuple[str, str], Interval]) -> str:
  """The pairwise win rates, rows against columns."""
  names = list(dict.fromkeys(row for row, _ in wins))
  return page.markdown_table(
    ["", *names],
    [
      [
        row,
        *(
          "" if row == column else interval(wins[row, column])
          for column in names
        ),
      ]
      for row in names
    ],
  )


def interval(entry: Interval) -> str:
  rate, low, high = (100 * value for value in entry)
  return f"{rate:.0f} ({low:.0f}–{high:.0f})"


def frontier(summary: Mapping[str, Summary]) -> Figure:
  """Reward against KL: under the judge that is learned from, and under gold."""
  figure, axes = style.panels(2, width=12, height=4.6, sharex=True)
  titles = {
    "proxy": "Proxy judge, which online methods learn from",
    "gold": "Gold judge, trained on other raters",
  }
  for axis, (key, title) in zip(axes, titles.items(), strict=True):
    markers = {family: iter(MARKERS) for family in COLORS}
    for name, method in summary.items():
      reward, deviation = getattr(method, key)
      color = COLORS[method.family]
      axis.errorbar(
        method.kl[0],
        reward,
        xerr=method.kl[1],
        yerr=deviation,
        color=color,
        marker=next(markers[method.family]),
        # Hollow, so that equal methods are both seen.
        markerfacecolor="none",
        markersize=9,
        elinewidth=1,
        linestyle="none",
        label=f"{name} ({method.family})" if method.family else name,
      )
    # Methods end a fraction of a nat away, or dozens.
    axis.set_xscale("symlog", linthresh=1.0)
    axis.set(
      xlabel="KL to SFT, nats per response", ylabel="mean reward", title=title
    )
  handles, labels = axes[0].get_legend_handles_labels()
  figure.legend(
    handles, labels, loc="outside right center", title="method (learns from)"
  )
  return figure
