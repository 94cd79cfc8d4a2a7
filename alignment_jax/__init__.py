"""alignment_jax: aligning language models with preferences and rewards.

Rooms are imported when first used, so `alignment_jax.losses` costs no more
than JAX: `import alignment_jax as aj; aj.losses.ipo_loss(...)`.
"""

import importlib

__version__ = "0.1.0"

_ROOMS = (
  "algorithms",
  "data",
  "errors",
  "evaluation",
  "experiment",
  "judges",
  "losses",
  "models",
  "ops",
  "optimizers",
  "parallel",
  "sampling",
  "scoring",
  "training",
  "types",
)


def __getattr__(name: str):
  if name in _ROOMS:
    return importlib.import_module(f"{__name__}.{name}")
  raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__():
  return sorted([*globals(), *_ROOMS])
