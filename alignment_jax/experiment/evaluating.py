"""Before against after: responses, judges, drift, and the report."""

import json
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from alignment_jax import files, judges, parallel
from alignment_jax.evaluation import report, win_rate
from alignment_jax.evaluation.responses import Responses
from alignment_jax.experiment import measures, stage_folder
from alignment_jax.experiment.setup import Setup
from alignment_jax.training import metrics

# Name of a judge -> the scores of the responses before and after.
Scores = Mapping[str, tuple[np.ndarray, np.ndarray]]


def evaluate(setup: Setup, command: str) -> Mapping[str, Any]:
  """Judges the policy of the main stage, against where it started if anywhere.

  Writes `evaluation.json`, `answers.jsonl` and `report.html` into the run's
  folder, each whole or not at all.

  Args:
    setup: of the run, whose main stage is finished.
    command: what reproduces the run.

  Returns:
    What `evaluation.json` holds.
  """
  main, workdir = setup.plan.main, setup.workdir
  rewards, numbers = measures.reward_model(setup)
  numbers += measures.preference_model(setup)
  page: dict[str, Any] = {}
  win_rates: list[report.WinRate] = []
  if main.method.trains == "policy":
    policy = stage_folder.load_policy(
      workdir / main.name, setup.model, setup.mesh
    )
    after = measures.sampled_responses(setup, policy)
    numbers += measures.likelihood_numbers(setup, policy, "after")
    numbers += measures.demonstration_length(setup)
    if main.starts_from is None:
      page = {"lengths_after": _lengths(after)}
    else:
      start = stage_folder.load_policy(
        main.starts_from.under(workdir), setup.model, setup.mesh
      )
      before = measures.sampled_responses(setup, start)
      numbers += measures.likelihood_numbers(setup, start, "before")
      numbers += measures.drift_numbers(setup, policy, start, after)
      scores = _scores(setup, before, after, rewards)
      win_rates = [
        _win_rate(name, *both, seed=setup.settings.seed)
        for name, both in scores.items()
      ]
      numbers += _changes(setup, before, after, scores)
      page = _page(setup, before, after, scores)
  # Two judges may have measured the raters' agreement.
  unique = {number.name: number for number in numbers}
  numbers = list(unique.values())
  result = {
    "win_rates": [vars(rate) for rate in win_rates],
    "numbers": {number.name: number.value for number in numbers},
  }
  if not parallel.is_main_process():
    return result
  files.write_json(workdir / "evaluation.json", result)
  if "rows" in page:
    files.write_text(
      workdir / "answers.jsonl",
      "".join(json.dumps(row) + "\n" for row in page.pop("rows")),
    )
  report.write_report(
    workdir / "report.html",
    report.Report(
      title=f"{workdir.name}: {main.name} on"
      f" {pathlib.Path(setup.settings.data.source).name}",
      command=command,
      win_rates=win_rates,
      numbers=numbers,
      curves=_curves(setup),
      headlines={s.name: s.method.headline for s in setup.plan.stages},
      config=json.dumps(setup.plan.config, indent=2),
      environment=f"Python {platform.python_version()}, JAX {jax.__version__},"
      f" {jax.device_count()} x {jax.devices()[0].device_kind}",
      **page,
    ),
  )
  _print(win_rates, numbers)
  return result


def _curves(setup: Setup) -> dict[str, list[dict[str, Any]]]:
  """The metrics of each stage of the run that wrote any."""
  paths = {
    stage.name: setup.workdir / stage.name / "metrics.jsonl"
    for stage in setup.plan.stages
  }
  return {
    name: metrics.read_metrics(path)
    for name, path in paths.items()
    if path.exists()
  }


def _scores(
  setup: Setup,
  before: Responses,
  after: Responses,
  rewards: measures.Rewards | None,
) -> Scores:
  """What the config's judge, and the run's reward model, say of both."""
  name = setup.settings.evaluation.judge
  judge = judges.build(name)
  references = measures.demonstrations_of_prompts(setup, len(before.prompts))

  def judged(sampled: Responses) -> np.ndarray:
    return np.asarray(judge(sampled.prompts, sampled.texts, references))

  scores = {name: (judged(before), judged(after))}
  if rewards is not None:
    scores["reward model"] = (rewards(before), rewards(after))
  return scores


def _win_rate(
  judge: str, before: np.ndarray, after: np.ndarray, *, seed: int
) -> report.WinRate:
  won = win_rate.wins(after, before)
  low, high = win_rate.bootstrap_interval(won, seed=seed)
  return report.WinRate(
    judge=judge,
    against="the policy before",
    rate=float(won.mean()),
    low=low,
    high=high,
    ties=win_rate.tie_rate(after, before),
    count=len(won),
  )


def _lengths(sampled: Responses) -> np.ndarray:
  return sampled.lengths().astype(np.float64)


def _changes(
  setup: Setup, before: Responses, after: Responses, scores: Scores
) -> list[report.Number]:
  """Mean length and mean score, before and after."""
  length_before, length_after = (
    float(_lengths(sampled).mean()) for sampled in (before, after)
  )
  change = length_after / max(length_before, 1e-9) - 1
  name = setup.settings.evaluation.judge
  return [
    report.Number(
      name="length before",
      value=length_before,
      unit="tokens",
      explanation="mean length of a sampled response",
    ),
    report.Number(
      name="length after",
      value=length_after,
      unit="tokens",
      explanation=f"a change of {change:+.1%}",
    ),
    *(
      report.Number(
        name=f"{name} {when}",
        value=float(values.mean()),
        explanation="mean score of a sampled response",
      )
      for when, values in zip(("before", "after"), scores[name], strict=True)
    ),
  ]


def _page(
  setup: Setup, before: Responses, after: Responses, scores: Scores
) -> dict[str, Any]:
  """What the report shows of the responses, and all of them as `rows`."""
  settings = setup.settings.evaluation
  scores_before, scores_after = scores[settings.judge]
  rows = [
    {
      "prompt": prompt,
      "before": text_before,
      "after": text_after,
      "before_score": float(score_before),
      "after_score": float(score_after),
    }
    for prompt, text_before, text_after, score_before, score_after in zip(
      after.prompts,
      before.texts,
      after.texts,
      scores_before,
      scores_after,
      strict=True,
    )
  ]
  return {
    "rows": rows,
    "samples": [report.Sample(**row) for row in rows[: settings.samples_shown]],
    "lengths_before": _lengths(before),
    "lengths_after": _lengths(after),
    "scores_before": scores_before,
    "scores_after": scores_after,
  }


def _print(
  win_rates: Sequence[report.WinRate], numbers: Sequence[report.Number]
) -> None:
  for rate in win_rates:
    print(
      f"win rate under {rate.judge}: {rate.rate:.1%}"
      f" (95 % interval {rate.low:.1%} to {rate.high:.1%}, ties"
      f" {rate.ties:.1%}, {rate.count} prompts)"
    )
  for number in numbers:
    unit = f" {number.unit}" if number.unit else ""
    print(f"{number.name}: {number.value:.3f}{unit} ({number.explanation})")
