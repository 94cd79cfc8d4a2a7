"""Experiments: a config to objects to a run.

`train(config, workdir)` is what `experiments/train.py` calls; it can be called
from a notebook alike.
"""

from alignment_jax.experiment.conversion import convert as convert
from alignment_jax.experiment.generation import generate as generate
from alignment_jax.experiment.generation import read_prompts as read_prompts
from alignment_jax.experiment.run import evaluate as evaluate
from alignment_jax.experiment.run import train as train
