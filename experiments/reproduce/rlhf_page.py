"""The page of `rlhf_small`: a table, a frontier, and who beats whom."""

import itertools
import os
import pathlib
import platform
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from alignment_jax.evaluation import win_rate

COLORS = {
  "": "#1f2933",
  "offline, pairs": "#1d4f91",
  "offline, ratings": "#4d9de0",
  "online, reward": "#b4540a",
  "online, preference": "#2a7f3f",
}


def pairwise(gold: Mapping[str, np.ndarray]) -> dict[tuple[str, str], tuple]:
  """How often one method beats another under the gold judge.

  Args:
    gold: name -> scores [seeds, prompts], prompts in the same order.

  Returns:
    (row, column) -> share of prompts that the row wins, and its interval over
    prompts; seeds are averaged within a prompt.
  """
  table = {}
  for one, two in itertools.permutations(gold, 2):
    won = np.mean(
      [win_rate.wins(a, b) for a, b in zip(gold[one], gold[two], strict=True)],
      axis=0,
    )
    low, high = win_rate.bootstrap_interval(won, seed=0)
    table[one, two] = (float(won.mean()), low, high)
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
  gold = {
    name: np.array([seed["points"][-1]["gold"] for seed in seeds])
    for name, seeds in methods.items()
  }
  (docs / "figures").mkdir(parents=True, exist_ok=True)
  frontier(methods, families).savefig(
    docs / "figures" / "rlhf_small.png", dpi=110, metadata={"Software": None}
  )
  judge, judge_gold = (
    verdicts["shared"][name]["numbers"] for name in ("reward", "gold")
  )
  accuracy = "reward model accuracy"
  seeds, prompts = next(iter(gold.values())).shape
  seconds = sum(
    one["seconds"]
    for one in [
      *verdicts["shared"].values(),
      *itertools.chain(*methods.values()),
    ]
  )
  parts = [
    "# Many methods, one small model, human ratings\n",
    f"Written by `{command}` on {os.cpu_count()} CPU cores"
    f" ({platform.machine()}, JAX {jax.__version__}); its parts took"
    f" {seconds / 60:.0f} minutes, and two ran side by side;"
    f" {seeds} seeds, {prompts} held-out prompts. The settings are in"
    " `experiments/reproduce/rlhf_methods.py`; none was tuned.\n",
    "Every method starts from one SFT policy and sees only the first half of"
    " each text's raters: offline methods their ratings, online methods a"
    " reward model of them, the proxy, or (online IPO, Nash-MD) a preference"
    " model. The gold judge is a reward model from the other half,"
    " with another seed. It rates the same texts and starts from the same SFT"
    " policy, so its errors are not independent of the proxy's. Of held-out"
    " pairs with a clear order, the proxy orders"
    f" {judge[accuracy]:.0%} as its raters do and the gold judge"
    f" {judge_gold[accuracy]:.0%}.\n",
    results(methods, families, gold),
    "\nMeans over seeds; ± is the standard deviation over seeds. KL is to the"
    " SFT policy, in nats per response; rewards are in units of the judges'"
    " log-odds. The interval is 95 % over prompts.\n",
    "![rlhf_small](figures/rlhf_small.png)\n",
    "Each line goes from half of the updates to all of them.\n",
    "## Who beats whom\n",
    "Share of held-out prompts on which the row's answer has the higher gold"
    " reward, and its 95 % interval over prompts, in %.\n",
    matrix(pairwise(gold)),
    "\n## One answer of each\n",
    "To the first held-out prompt, with the same draws, of the first seed;"
    " prompt and answer are apart by a bar.\n",
    *(
      f"- {name}: `{seeds[0]['points'][-1]['samples'][0]}`"
      for name, seeds in methods.items()
    ),
  ]
  if failed:
    parts += ["\n## Failed\n"]
    parts += [f"- {name}: {error}" for name, error in failed.items()]
  path = docs / "rlhf_small.md"
  path.write_text("\n".join(parts) + "\n")
  return path


def results(methods, families, gold):
  """One line for each method."""
  head = [
    *("method", "learns from", "gold reward", "proxy reward", "VADER"),
    *("KL", "length", "wins against SFT, %", "seconds"),
  ]
  table = pairwise(gold)
  rows = []
  for name, seeds in methods.items():
    last = [seed["points"][-1] for seed in seeds]

    def shown(values, digits=2):
      return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"

    against = "" if name == "SFT" else interval(table[name, "SFT"])
    rows.append(
      [
        name,
        families[name],
        shown(gold[name].mean(axis=1)),
        *(shown([p[key] for p in last]) for key in ("proxy", "vader")),
        shown([p["kl"] for p in last]),
        shown([p["length"] for p in last], 1),
        against,
        f"{np.mean([seed['seconds'] for seed in seeds]):.0f}",
      ]
    )
  return markdown(head, rows)


def matrix(table):
  """The pairwise win rates, rows against columns."""
  names = list(dict.fromkeys(one for one, _ in table))
  rows = [
    [one, *("" if one == two else interval(table[one, two]) for two in names)]
    for one in names
  ]
  return markdown(["", *names], rows)


def interval(entry):
  rate, low, high = (100 * value for value in entry)
  return f"{rate:.0f} ({low:.0f}–{high:.0f})"


def markdown(head, rows):
  lines = [head, ["---"] * len(head), *rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def frontier(methods, families) -> Figure:
  """Reward against KL: the proxy that is learned from, and gold."""
  figure = Figure(figsize=(11, 4.6), layout="constrained")
  panels = figure.subplots(1, 2, sharex=True)
  titles = {
    "proxy": "proxy: what is learned from",
    "gold": "gold: other raters",
  }
  for axes, (key, title) in zip(panels, titles.items(), strict=True):
    for name, seeds in methods.items():
      color = COLORS[families[name]]
      values = np.array(
        [[np.mean(p[key]) for p in seed["points"]] for seed in seeds]
      )
      kl = np.array([[p["kl"] for p in seed["points"]] for seed in seeds])
      axes.errorbar(
        kl.mean(axis=0),
        values.mean(axis=0),
        xerr=kl.std(axis=0),
        yerr=values.std(axis=0),
        color=color,
        marker="o",
        markersize=4,
        linewidth=1,
        elinewidth=0.6,
      )
      axes.annotate(
        name,
        (kl.mean(axis=0)[-1], values.mean(axis=0)[-1]),
        xytext=(4, 4),
        textcoords="offset points",
        fontsize=8,
        color=color,
      )
    axes.set(xlabel="KL to SFT, nats per response", ylabel="mean reward")
    # Methods end a fraction of a nat away, or dozens.
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
  return figure
