"""Named networks: a name and a few settings to a `Model`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from alignment_jax import errors
from alignment_jax.models import base, sizes
from alignment_jax.models.decoder import decoder
from alignment_jax.models.decoder_settings import DecoderSettings
from alignment_jax.models.t5 import T5Settings, t5

Settings = DecoderSettings | T5Settings


def build(settings: Settings) -> base.Model:
  """The model that settings describe."""
  if isinstance(settings, T5Settings):
    return t5(settings)
  return decoder(settings)


def family_of(settings: Settings) -> Literal["decoder", "t5"]:
  """The key of `MODELS` that takes every field of these settings."""
  return "t5" if isinstance(settings, T5Settings) else "decoder"


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
  """Settings with some fields replaced.

  Raises:
    UserError: no such field, or a value that it cannot have.
  """
  fields = {field.name for field in dataclasses.fields(settings)}
  for name in changes:
    if name not in fields:
      raise errors.unknown("setting of the model", name, fields)
  try:
    return dataclasses.replace(settings, **changes)
  except (TypeError, ValueError) as error:
    raise errors.UserError(f"model with {dict(changes)}: {error}") from error


class NamedSize(NamedTuple):
  """What a name stands for: a family, and the settings that it fixes."""

  settings: type[DecoderSettings] | type[T5Settings]
  fields: dict[str, Any]


def _published(settings: Settings) -> NamedSize:
  return NamedSize(type(settings), dict(vars(settings)))


_TINY_DECODER = NamedSize(
  DecoderSettings,
  dict(width=32, layers=2, heads=4, kv_heads=2, head_width=8, mlp_width=64),
)
_MINI_DECODER = NamedSize(
  DecoderSettings,
  dict(width=128, layers=4, heads=4, kv_heads=4, head_width=32, mlp_width=384),
)
_TINY_T5 = NamedSize(
  T5Settings,
  dict(
    width=32,
    encoder_layers=2,
    decoder_layers=2,
    heads=4,
    head_width=8,
    mlp_width=64,
  ),
)
_MINI_T5 = NamedSize(
  T5Settings,
  dict(
    width=128,
    encoder_layers=2,
    decoder_layers=4,
    heads=4,
    head_width=32,
    mlp_width=320,
    tied=True,
    scaled_logits=True,
  ),
)

# `tiny` is for tests; `mini` learns short English texts on a laptop in minutes.
# An imported model, which brings every field with it, is a `decoder` or a `t5`.
MODELS: dict[str, NamedSize] = {
  "decoder": _TINY_DECODER,
  "decoder_tiny": _TINY_DECODER,
  "decoder_mini": _MINI_DECODER,
  "t5": _TINY_T5,
  "t5_tiny": _TINY_T5,
  "t5_mini": _MINI_T5,
  **{name: _published(settings) for name, settings in sizes.SIZES.items()},
}


def make_model(
  name: str, *, vocabulary_size: int, **settings: Any
) -> base.Model:
  """The model of that name.

  Args:
    name: a key of `MODELS`.
    vocabulary_size: rows of the embedding; a published size has its own.
    **settings: fields of the family's settings that replace the named size's.

  Raises:
    UserError: no such name, or no such field; lists what there is.
  """
  if name not in MODELS:
    raise errors.unknown("model", name, MODELS)
  family, size = MODELS[name]
  fields = {field.name for field in dataclasses.fields(family)}
  for setting in settings:
    if setting not in fields:
      raise errors.unknown(f"setting of {name}", setting, fields)
  try:
    return build(
      family(**{**size, "vocabulary_size": vocabulary_size, **settings})
    )
  except (TypeError, ValueError) as error:
    raise errors.UserError(
      f"model '{name}' with {settings}: {error}"
    ) from error
