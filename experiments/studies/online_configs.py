"""Whether every config that samples climbs what it is meant to climb.

    python -m experiments.studies.online_configs

After `make quickstart`: each config from that SFT policy, for 60 updates.
Writes `docs/online_configs.md`. What is finished is kept in the workdir and not
repeated; a config that fails is reported and the others continue.

Hardware: two CPU cores, one to six minutes for each of the 26 configs.
"""

import argparse
import importlib
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from alignment_jax import experiment
from alignment_jax.algorithms import ALGORITHMS
from configs.base import ConfigDict
from experiments.reproduce import page

COMMAND = "python -m experiments.studies.online_configs"
STEPS = 60
PROMPTS = 512
# Like another config of their method, but with another judge or other data.
VARIANTS = {"lab", "preference_model", "rcfd_xsum"}


def get_config(name: str) -> ConfigDict:
  """The config of that name."""
  return importlib.import_module(f"configs.{name}").get_config()


def studied() -> list[str]:
  """The configs whose policy samples, in training or to revise a response."""
  order = list(ALGORITHMS)
  methods = {
    path.stem: get_config(path.stem).algorithm.name
    for path in (page.ROOT / "configs").glob("*.py")
    if path.stem not in {"__init__", "base"} | VARIANTS
  }
  return [
    name
    for name in sorted(methods, key=lambda n: (order.index(methods[n]), n))
    if ALGORITHMS[methods[name]].samples or ALGORITHMS[methods[name]].revises
  ]


def settings(name: str, start: str) -> ConfigDict:
  """The config, for a short run from a policy."""
  config = get_config(name)
  config.init_from = start
  config.training.steps = STEPS
  config.training.log_every = 2
  # Evaluated afterwards, with more prompts.
  config.evaluation.prompts = 0
  return config


def run(name: str, start: str, workdir: pathlib.Path) -> dict[str, Any]:
  """Trains and judges one config, as far as that is not done yet."""
  config = settings(name, start)
  experiment.train(config, str(workdir), command=COMMAND)
  result = workdir / "evaluation.json"
  if not result.exists():
    experiment.evaluate(str(workdir), prompts=PROMPTS, command=COMMAND)
  lines = workdir / config.algorithm.name / "metrics.jsonl"
  rows = [json.loads(line) for line in lines.read_text().splitlines()]
  method = ALGORITHMS[config.algorithm.name]
  return {
    "objective": method.headline[0],
    "falls": method.headline_falls,
    "values": [row[method.headline[0]] for row in rows],
    **json.loads(result.read_text()),
  }


def ends(values: list[float]) -> tuple[float, float]:
  """The means of the first fifth and of the last."""
  count = max(1, len(values) // 5)
  return sum(values[:count]) / count, sum(values[-count:]) / count


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
  """A row for each config."""
  rows = []
  for name, result in results.items():
    begins, last = ends(result["values"])
    rate = next(r for r in result["win_rates"] if r["judge"] == "vader")
    low, middle, high = (100 * rate[k] for k in ("low", "rate", "high"))
    numbers = result["numbers"]
    rows.append(
      [
        f"`{name}`",
        result["objective"] + (" (to fall)" if result["falls"] else ""),
        f"{begins:.3f}",
        f"{last:.3f}",
        f"{middle:.0f} ({low:.0f}-{high:.0f})",
        f"{numbers['KL to the policy before']:.1f}",
        f"{numbers['length after']:.1f}",
      ]
    )
  return page.markdown_table(
    [
      *("config", "its objective", "begins", "ends"),
      *("wins under VADER, %", "KL", "length"),
    ],
    rows,
  )


def write_page(
  results: Mapping[str, Mapping[str, Any]], folder: pathlib.Path
) -> pathlib.Path:
  """Writes `online_configs.md`."""
  before = next(iter(results.values()))["numbers"]["length before"]
  return page.write(
    "online_configs",
    "Every config that samples, for a minute or more",
    [
      f"Written by `{COMMAND}`. Each runs {STEPS} updates from the quickstart's"
      f" SFT policy on two CPU cores; both then respond to {PROMPTS} held-out"
      " prompts, and VADER's rules say which response is better, a tie counting"
      " half. Begins and ends are means of the first and the last fifth of the"
      " updates that were logged. KL to the SFT policy is in nats per response;"
      f" its responses have {before:.1f} tokens.",
      table(results),
      "Opponents that learn too keep the win rates of `self_play`, `nash_md`"
      " and `sppo` where they are: the last columns say whether those climb."
      " Without a KL, `dr_grpo`, `dapo` and `gspo` fill the window or leave"
      " their start far behind. `ppo` climbs a reward model and `srpo` learns"
      " from pairs, not from VADER's rules; `soft_q_online` and `gail` imitate,"
      " and `rcfd` aims at the reward of people's responses and no more: for"
      " these three the wins are no objective.",
    ],
    figures={},
    folder=folder,
  )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--start", default="runs/quickstart/sft")
  parser.add_argument("--workdir", default="runs/online_configs")
  options = parser.parse_args()
  results, failed = {}, {}
  for name in studied():
    workdir = pathlib.Path(options.workdir, name)
    try:
      results[name] = run(name, options.start, workdir)
    except Exception as error:  # one config must not end the others
      failed[name] = error
      print(f"FAILED {name}: {error}", file=sys.stderr, flush=True)
  if results:
    print(write_page(results, page.DOCS))
  sys.exit(bool(failed))


if __name__ == "__main__":
  main()
