"""Checks that the settings of both families share."""

from collections.abc import Iterable
from typing import Any

from alignment_jax.models import attention_choice, layers

# Fields that both families have, and the values that each may take.
CHOICES: dict[str, tuple[str, ...]] = {
  "activation": tuple(layers.ACTIVATIONS),
  "remat": layers.REMATS,
  "attention": (attention_choice.AUTO, *attention_choice.KERNELS),
}


def check_choices(settings: Any, **choices: Iterable[str]) -> None:
  """Raises if a field of `CHOICES` or of these has a value it cannot take.

  Args:
    settings: of a model.
    **choices: further fields, and the values that each may take.

  Raises:
    ValueError: names the field, its value, and the values there are.
  """
  for name, allowed in {**choices, **CHOICES}.items():
    value = getattr(settings, name)
    if value not in allowed:
      raise ValueError(
        f"{name} must be one of {', '.join(allowed)}, got '{value}'"
      )
