"""Whether every config that samples climbs what it is meant to climb.

    python experiments/reproduce/online_configs.py

After `make quickstart`: each config from that SFT policy, for 60 updates.
Writes `docs/online_configs.md`. What is finished is kept in the workdir and not
done again; a config that fails is reported and the others go on.

Hardware: two CPU cores, one to six minutes for each of the 26 configs.
"""

import argparse
import importlib
import json
import pathlib
import sys

import page

sys.path.insert(0, str(page.ROOT))

from alignment_jax import experiment

COMMAND = "python experiments/reproduce/online_configs.py"
STEPS = 60
PROMPTS = 512
# Config -> the metric that says how far it is with its own objective.
OBJECTIVES = {
  **dict.fromkeys(
    "reinforce rloo copg ppo grpo dr_grpo dapo gspo best_of_n jbond warp"
    " elastic_reset".split(),
    "rewards/mean",
  ),
  "rcfd": "calibration/squared_error",
  **dict.fromkeys(
    "nash_md nash_ema self_play best_response xpo".split(), "win_rate"
  ),
  **dict.fromkeys(
    "online_dpo online_ipo ipo_md inpo".split(), "rewards/accuracies"
  ),
  "sppo": "win_rate/best",
  "srpo": "joint/margins",
  "soft_q_online": "loss/likelihood",
  "gail": "discriminator/right_of_demonstrations",
}
# Where less is better.
FALLING = {"rcfd", "soft_q_online", "gail"}


def settings(name: str, start: str):
  """The config, for a short run from a policy."""
  config = importlib.import_module(f"configs.{name}").get_config()
  config.init_from = start
  config.training.steps = STEPS
  config.training.log_every = 2
  # Judged afterwards, with more prompts.
  config.evaluation.prompts = 0
  return config


def run(name: str, start: str, workdir: pathlib.Path) -> dict:
  """Trains and judges one config, as far as that is not done yet."""
  config = settings(name, start)
  experiment.train(config, str(workdir), command=COMMAND)
  result = workdir / "evaluation.json"
  if not result.exists():
    experiment.evaluate(str(workdir), prompts=PROMPTS, command=COMMAND)
  lines = workdir / config.algorithm.name / "metrics.jsonl"
  rows = [json.loads(line) for line in lines.read_text().splitlines()]
  return {
    "values": [row[OBJECTIVES[name]] for row in rows],
    **json.loads(result.read_text()),
  }


def ends(values: list[float]) -> tuple[float, float]:
  """The means of the first fifth and of the last."""
  count = max(1, len(values) // 5)
  return sum(values[:count]) / count, sum(values[-count:]) / count


def table(found: dict[str, dict]) -> str:
  """A row for each config."""
  lines = [
    "| config | its objective | begins | ends | wins under VADER, % | KL |"
    " length |",
    "|---|---|---|---|---|---|---|",
  ]
  for name, said in found.items():
    begins, last = ends(said["values"])
    rate = next(r for r in said["win_rates"] if r["judge"] == "vader")
    low, middle, high = (100 * rate[k] for k in ("low", "rate", "high"))
    falls = " (to fall)" if name in FALLING else ""
    numbers = said["numbers"]
    lines.append(
      f"| `{name}` | {OBJECTIVES[name]}{falls} | {begins:.3f} | {last:.3f}"
      f" | {middle:.0f} ({low:.0f}-{high:.0f})"
      f" | {numbers['KL to the policy before']:.1f}"
      f" | {numbers['length after']:.1f} |"
    )
  return "\n".join(lines)


def write_page(found: dict[str, dict], folder: pathlib.Path) -> pathlib.Path:
  """Writes `online_configs.md`."""
  before = next(iter(found.values()))["numbers"]["length before"]
  path = folder / "online_configs.md"
  path.write_text(
    "# Every config that samples, for a minute or more\n\nWritten by"
    f" `{COMMAND}`. Each runs {STEPS} updates from the quickstart's SFT policy"
    f" on two CPU cores; {PROMPTS} held-out prompts are then answered by both,"
    " and VADER's rules say which answer is better, a tie counting half. Begins"
    " and ends are means of the first and the last fifth of the updates that"
    " were logged. KL to the SFT policy is in nats per answer; its answers have"
    f" {before:.1f} tokens.\n\n"
    + table(found)
    + "\n\nOpponents that learn too keep the win rates of `self_play`,"
    " `nash_md` and `sppo` where they are: the last columns say whether those"
    " climb. Without a KL, `dr_grpo`, `dapo` and `gspo` fill the window or"
    " leave their start far behind. `ppo` climbs a reward model and `srpo`"
    " learns from pairs, not from VADER's rules; `soft_q_online` and `gail`"
    " imitate, and `rcfd` wants no more than what people's answers get: for"
    " these three the wins are no objective.\n"
  )
  return path


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--start", default="runs/quickstart/sft")
  parser.add_argument("--workdir", default="runs/online_configs")
  given = parser.parse_args()
  found, failed = {}, {}
  for name in OBJECTIVES:
    try:
      found[name] = run(name, given.start, pathlib.Path(given.workdir, name))
    except Exception as error:  # one config must not end the others
      failed[name] = error
      print(f"FAILED {name}: {error}", file=sys.stderr, flush=True)
  if found:
    print(write_page(found, page.DOCS))
  sys.exit(bool(failed))


if __name__ == "__main__":
  main()
