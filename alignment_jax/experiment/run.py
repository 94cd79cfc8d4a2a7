"""The experiment from config to report."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from alignment_jax import errors, parallel
from alignment_jax.experiment import evaluating, folder, stages
from alignment_jax.experiment.description import describe
from alignment_jax.experiment.plans import Plan, plan
from alignment_jax.experiment.setup import Setup


def train(
  config: ml_collections.ConfigDict, workdir: str, *, command: str = ""
) -> None:
  """Runs every stage of a config, or what is left of them, and evaluates.

  Args:
    config: see `configs/`; checked whole before anything is written.
    workdir: the run's folder. A second call with the same one goes on where
      the first was stopped.
    command: what the report shows as the way to reproduce it.

  Raises:
    UserError: the config, the data or the folder cannot be used.
  """
  run(plan(config, workdir), workdir, command=command)


def run(plan: Plan, workdir: str, *, command: str = "") -> None:
  """Carries out a plan in a folder, or what is left of it there.

  Args:
    plan: from `plan`, of this folder if it has one.
    workdir: see `train`.
    command: see `train`.

  Raises:
    UserError: the folder cannot be used, or a stage cannot go on.
  """
  setup = Setup(plan, pathlib.Path(workdir))
  folder.claim(setup.workdir, plan.config)
  # Once: stages that are finished were trained with the one that is there.
  if not (setup.workdir / folder.TOKENIZER).exists():
    folder.write_tokenizer(setup.workdir, plan.tokenizer, plan.tokenizer_file)
  _say(describe(plan))
  for stage in plan.stages:
    final = stages.run_stage(setup, stage)
  evaluated = plan.settings.evaluation.prompts > 0
  if evaluated:
    evaluating.evaluate(setup, command)
  _say(f"\nfinished: {final}")
  if evaluated:
    _say(f"numbers:  {setup.workdir / 'evaluation.json'}")
    _say(
      f"report:   {setup.workdir / 'report.html'}  <- open this in a browser"
    )


def evaluate(
  workdir: str, *, prompts: int | None = None, command: str = ""
) -> Mapping[str, Any]:
  """Judges a finished run again, with as many prompts as one likes.

  Raises:
    UserError: the folder holds no finished run.
  """
  root = pathlib.Path(workdir)
  made = plan(ml_collections.ConfigDict(folder.read_config(root)), root)
  if prompts is not None:
    evaluation = dataclasses.replace(made.settings.evaluation, prompts=prompts)
    settings = dataclasses.replace(made.settings, evaluation=evaluation)
    made = dataclasses.replace(made, settings=settings)
  prompts = made.settings.evaluation.prompts
  if prompts < 1:
    raise errors.UserError(f"prompts must be >= 1, got {prompts}")
  return evaluating.evaluate(Setup(made, root), command)


def _say(text: str) -> None:
  if parallel.is_main_process():
    print(text, flush=True)
