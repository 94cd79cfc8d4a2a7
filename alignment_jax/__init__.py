"""alignment_jax: aligning language models with preferences and rewards.

Rooms are imported when first used, so `alignment_jax.losses` costs no more
than JAX: `import alignment_jax as aj; aj.losses.ipo_loss(...)`.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors and type checkers see at once
  from alignment_jax import (
    algorithm,
    algorithms,
    data,
    errors,
    evaluation,
    experiment,
    families,
    feedback,
    files,
    judges,
    losses,
    models,
    ops,
    optimizers,
    parallel,
    rollouts,
    sampling,
    scoring,
    synthetic,
    tabular,
    training,
    transforms,
    types,
  )

__version__ = "0.1.0"

__all__ = [
  "algorithm",
  "algorithms",
  "data",
  "errors",
  "evaluation",
  "experiment",
  "families",
  "feedback",
  "files",
  "judges",
  "losses",
  "models",
  "ops",
  "optimizers",
  "parallel",
  "rollouts",
  "sampling",
  "scoring",
  "synthetic",
  "tabular",
  "training",
  "transforms",
  "types",
]


def __getattr__(name: str) -> ModuleType:
  if name in __all__:
    return importlib.import_module(f"{__name__}.{name}")
  raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
