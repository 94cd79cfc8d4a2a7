"""Functions from an `Algorithm` to an `Algorithm`, as optax chains updates."""

from alignment_jax.transforms.elastic_reset import elastic_reset
from alignment_jax.transforms.lora import with_lora
from alignment_jax.transforms.reference_update import (
  REFERENCE_UPDATES,
  ema,
  frozen,
  periodic_copy,
)

__all__ = [
  "REFERENCE_UPDATES",
  "elastic_reset",
  "ema",
  "frozen",
  "periodic_copy",
  "with_lora",
]
