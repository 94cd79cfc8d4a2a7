"""Checkpoints of the Hugging Face hub: a local folder in, a local folder out.

Weights are safetensors. Nothing is unpickled and no code of the folder is run.
"""

from alignment_jax.models.huggingface.loading import (
  CONFIG,
  ShardingFn,
  assemble,
  load,
  read_settings,
  settings_of,
)
from alignment_jax.models.huggingface.saving import DTYPES, save

__all__ = [
  "CONFIG",
  "DTYPES",
  "ShardingFn",
  "assemble",
  "load",
  "read_settings",
  "save",
  "settings_of",
]
