"""Experiments: from a config to a plan to a run.

`train(config, workdir)` is what `experiments/train.py` calls; it can be called
from a notebook alike. It is `run(plan(config, workdir), workdir)`.
"""

from alignment_jax.experiment.conversion import convert
from alignment_jax.experiment.description import describe
from alignment_jax.experiment.generation import generate
from alignment_jax.experiment.plans import Plan, StagePlan, plan
from alignment_jax.experiment.prompts import read_prompts
from alignment_jax.experiment.run import evaluate, run, train

__all__ = [
  "Plan",
  "StagePlan",
  "convert",
  "describe",
  "evaluate",
  "generate",
  "plan",
  "read_prompts",
  "run",
  "train",
]
