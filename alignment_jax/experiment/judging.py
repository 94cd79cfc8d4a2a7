"""Before against after: responses, judges, drift, and the report."""

import json
import pathlib
import platform
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from alignment_jax import data, files, judges, parallel
from alignment_jax.evaluation import drift, report, responses, win_rate
from alignment_jax.experiment import (
  feedback_from_config,
  keys,
  stage_folder,
)
from alignment_jax.experiment.setup import Setup
from alignment_jax.families import offline_pairs
from alignment_jax.training import metrics

_AGREEMENT = "agreement of raters"
CLEAR = 1.0  # pairs whose mean ratings differ by this have a clear winner


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
  numbers: list[report.Number] = []
  rewards = _reward_model(setup, numbers)
  _preference_model(setup, numbers)
  page: dict[str, Any] = {}
  win_rates: list[report.WinRate] = []
  if main.method.trains == "policy":
    policy = stage_folder.load_policy(
      workdir / main.name, setup.model, setup.mesh
    )
    after = _responses(setup, policy)
    _likelihood(setup, policy, "after", numbers)
    if main.starts_from is None:
      page = {"lengths_after": after.lengths().astype(np.float64)}
    else:
      start = stage_folder.load_policy(
        main.starts_from.under(workdir), setup.model, setup.mesh
      )
      before = _responses(setup, start)
      _likelihood(setup, start, "before", numbers)
      _drift(setup, policy, start, after, numbers)
      win_rates, page = _compare(setup, before, after, rewards, numbers)
  result = {
    "win_rates": [vars(rate) for rate in win_rates],
    "numbers": {number.name: number.value for number in numbers},
  }
  if not parallel.is_main_process():
    return result
  files.write_json(workdir / "evaluation.json", result)
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


def _responses(setup, params):
  """What a policy responds to the first held-out prompts."""
  settings = setup.settings.evaluation
  loader = setup.loader("prompt", "test", settings.batch_size)
  indices = list(range(min(settings.prompts, len(loader))))
  batch, _ = loader.rows(indices)
  return responses.sample(
    setup.model,
    params,
    setup.tokenizer,
    [loader.source[index]["prompt"] for index in indices],
    batch.prompt,
    keys.key_of(setup.settings.seed, keys.EVALUATION),
    mesh=setup.mesh,
    batch_size=settings.batch_size,
    max_tokens=setup.settings.data.response_length,
    temperature=settings.temperature,
  )


def _compare(setup, before, after, rewards, numbers):
  """Win rates under each judge, and what the report shows of the responses."""
  settings = setup.settings.evaluation
  judge = judges.build(settings.judge)
  references = _references(setup, len(before.prompts))

  def score(sampled):
    return np.asarray(judge(sampled.prompts, sampled.texts, references))

  scores = {settings.judge: (score(before), score(after))}
  if rewards is not None:
    scores["reward model"] = (rewards(before), rewards(after))
  win_rates = []
  for name, (old, new) in scores.items():
    won = win_rate.wins(new, old)
    low, high = win_rate.bootstrap_interval(won, seed=setup.settings.seed)
    win_rates.append(
      report.WinRate(
        judge=name,
        against="the policy before",
        rate=float(won.mean()),
        low=low,
        high=high,
        ties=win_rate.tie_rate(new, old),
        count=len(won),
      )
    )
  lengths = [part.lengths().astype(np.float64) for part in (before, after)]
  change = lengths[1].mean() / max(lengths[0].mean(), 1e-9) - 1
  numbers += [
    report.Number(
      name="length before",
      value=float(lengths[0].mean()),
      unit="tokens",
      explanation="mean length of a sampled response",
    ),
    report.Number(
      name="length after",
      value=float(lengths[1].mean()),
      unit="tokens",
      explanation=f"a change of {change:+.1%}",
    ),
  ]
  old, new = scores[settings.judge]
  numbers += [
    report.Number(
      name=f"{settings.judge} {when}",
      value=float(values.mean()),
      explanation="mean score of a sampled response",
    )
    for when, values in (("before", old), ("after", new))
  ]
  rows = [
    {
      "prompt": prompt,
      "before": text_before,
      "after": text_after,
      "before_score": float(score_before),
      "after_score": float(score_after),
    }
    for prompt, text_before, text_after, score_before, score_after in zip(
      after.prompts, before.texts, after.texts, old, new, strict=True
    )
  ]
  if parallel.is_main_process():
    files.write_text(
      setup.workdir / "answers.jsonl",
      "".join(json.dumps(row) + "\n" for row in rows),
    )
  return win_rates, {
    "samples": [report.Sample(**row) for row in rows[: settings.samples_shown]],
    "lengths_before": lengths[0],
    "lengths_after": lengths[1],
    "scores_before": old,
    "scores_after": new,
  }


def _references(setup, count):
  """What people responded to the first held-out prompts; None if unknown."""
  source = setup.loader("prompt", "test", 1).source
  return [source[index].get("response") for index in range(count)]


def _drift(setup, policy, reference, after, numbers):
  """KL to the policy before, on the responses after."""
  logprobs = [
    drift.response_logprobs(
      setup.model,
      params,
      after.prompt,
      after.tokens,
      mesh=setup.mesh,
      batch_size=setup.settings.evaluation.batch_size,
    )
    for params in (policy, reference)
  ]
  kl, error = drift.kl_to_reference(*logprobs)
  numbers.append(
    report.Number(
      name="KL to the policy before",
      value=kl,
      unit="nats per response",
      explanation=f"on its own responses, standard error {error:.2g}",
    )
  )


def _likelihood(setup, params, when, numbers):
  """Perplexity on what people wrote, where the data have it."""
  settings = setup.settings.evaluation
  try:
    loader = setup.loader("demonstration", "test", settings.batch_size)
  except data.MissingColumns:
    return
  batch, _ = loader.rows(range(min(settings.prompts, len(loader))))
  logprobs = drift.response_logprobs(
    setup.model,
    params,
    batch.prompt,
    batch.response,
    mesh=setup.mesh,
    batch_size=settings.batch_size,
  )
  numbers.append(
    report.Number(
      name=f"perplexity {when}",
      value=drift.perplexity(logprobs, batch.response.mask.sum(axis=-1)),
      unit="per token",
      explanation="of held-out responses that people wrote; lower is better",
    )
  )
  if when == "after":
    numbers.append(
      report.Number(
        name="length of demonstrations",
        value=float(batch.response.mask.sum(axis=-1).mean()),
        unit="tokens",
        explanation="mean length of what people wrote, as far as it is read",
      )
    )


def _reward_model(setup, numbers):
  """The trained judge, if the run has one, after a look at its accuracy."""
  path = setup.judge_folder("reward_model")
  if not stage_folder.is_finished(path):
    return None
  score = feedback_from_config.reward_scorer(setup, setup.mesh, path)

  def first_wins(prompt, responses):
    rewards = score(prompt, responses)
    return rewards[:, 0] > rewards[:, 1]

  _accuracy(setup, "reward model", first_wins, numbers)
  return lambda sampled: score(
    sampled.prompt, jax.tree.map(lambda a: a[:, None], sampled.tokens)
  )[:, 0]


def _preference_model(setup, numbers):
  """The accuracy of the trained judge of two responses, if the run has one."""
  path = setup.judge_folder("preference_model")
  if not stage_folder.is_finished(path):
    return
  compare = feedback_from_config.preference_scorer(setup, setup.mesh, path)

  def first_wins(prompt, responses):
    return compare(prompt, responses, None)[:, 0, 1] > 0.5

  _accuracy(setup, "preference model", first_wins, numbers)


def _accuracy(setup, name, first_wins, numbers):
  """How often a trained judge orders held-out pairs as people do."""
  loader = setup.loader("preference", "test", 1)
  rows = [loader.source[index] for index in range(len(loader))]
  rated = all("chosen_reward" in row for row in rows)
  clear = [
    index
    for index, row in enumerate(rows)
    if not rated or row["chosen_reward"] - row["rejected_reward"] >= CLEAR
  ]
  if not clear:
    return
  batch, _ = loader.rows(clear)
  wins = first_wins(
    batch.prompt, jax.tree.map(np.asarray, offline_pairs.stack(batch))
  )
  which = (
    f"{len(clear)} held-out pairs with mean ratings {CLEAR:g} or more apart"
    if rated
    else f"{len(clear)} held-out pairs"
  )
  numbers.append(
    report.Number(
      name=f"{name} accuracy",
      value=float(np.mean(wins)),
      explanation=f"share of {which} that it orders as the mean rating does",
    )
  )
  if rated and not any(n.name == _AGREEMENT for n in numbers):
    numbers.append(
      report.Number(
        name=_AGREEMENT,
        value=float(np.mean(batch.probability)),
        explanation="how often one rater of each text, drawn at random, orders"
        " the same pairs so; a tie counts half",
      )
    )


def _print(win_rates, numbers):
  for rate in win_rates:
    print(
      f"win rate under {rate.judge}: {rate.rate:.1%}"
      f" (95 % interval {rate.low:.1%} to {rate.high:.1%}, ties"
      f" {rate.ties:.1%}, {rate.count} prompts)"
    )
  for number in numbers:
    unit = f" {number.unit}" if number.unit else ""
    print(f"{number.name}: {number.value:.3f}{unit} ({number.explanation})")
