"""Before against after: answers, judges, drift, and the report."""

import json
import pathlib
import platform
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from alignment_jax import algorithms, parallel, types
from alignment_jax.algorithms import reward_model
from alignment_jax.evaluation import answers, drift, report, win_rate
from alignment_jax.experiment import folder, settings, stages
from alignment_jax.judges import JUDGES
from alignment_jax.training import metrics

# Pairs whose mean ratings differ by at least this much have a clear winner.
CLEAR = 1.0
