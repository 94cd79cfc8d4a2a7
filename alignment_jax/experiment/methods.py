"""From sections of a config to algorithms and models."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from alignment_jax import algorithms, errors, rollouts
from alignment_jax.experiment import settings
from alignment_jax.models import Model, zoo
from alignment_jax.transforms import reference_update


def make_algorithm(
  model: Model,
  section: Mapping[str, Any],
  sampling: rollouts.Sampling | None = None,
  tokenizer: Any = None,
) -> algorithms.Algorithm:
  """The named algorithm, from its section of the config.

  Args:
    model: the network.
    section: `name` and the method's keywords; what a method takes as token ids
      around answers, its `template`, is written as texts.
    sampling: for a method that samples.
    tokenizer: of those texts and of the end of sequence; None for a method that
      will not run, which gets any ids.

  Raises:
    UserError: no such name, or keywords that are missing, unknown or out of
      range.
  """
  name = section["name"]
  if name not in algorithms.ALGORITHMS:
    raise errors.unknown("algorithm", name, algorithms.ALGORITHMS)
  factory = algorithms.ALGORITHMS[name]
  online_method = samples(name)
  if online_method and sampling is None:
    raise errors.UserError(
      f"algorithm '{name}' learns from its own samples: config.sampling must"
      " say how, as in configs/rloo.py"
    )
  if online_method:
    section = {**section, "sampling": sampling}
  section = _with_ids(factory, section, tokenizer)
  given = _keywords(factory, section, f"algorithm '{name}'")
  try:
    return factory(model, **given)
  except errors.UserError:
    raise
  except (TypeError, ValueError) as error:
    raise errors.UserError(f"algorithm '{name}': {error}") from error


def refreshed(
  algorithm: algorithms.Algorithm, section: Mapping[str, Any]
) -> algorithms.Algorithm:
  """The algorithm with what the config does between its updates.

  Raises:
    UserError: no such name, or settings that do not fit.
  """
  name = section["name"]
  if name not in reference_update.REFRESHERS:
    raise errors.unknown("refresh", name, reference_update.REFRESHERS)
  factory = reference_update.REFRESHERS[name]
  given = _keywords(factory, section, f"refresh '{name}'")
  try:
    return factory(algorithm, **given)
  except (TypeError, ValueError) as error:
    raise errors.UserError(f"refresh '{name}': {error}") from error


def samples(name: str) -> bool:
  """Whether the named algorithm learns from its own samples."""
  factory = algorithms.ALGORITHMS.get(name)
  return (
    factory is not None and "sampling" in inspect.signature(factory).parameters
  )


def sampling_of(
  chosen: settings.Sampling | None, *, max_tokens: int, eos_id: int
) -> rollouts.Sampling | None:
  """What the config says of sampling, as an algorithm takes it.

  Raises:
    UserError: a number is out of range.
  """
  if chosen is None:
    return None
  try:
    return rollouts.Sampling(
      samples=chosen.samples,
      max_tokens=max_tokens,
      temperature=chosen.temperature,
      eos_id=eos_id,
      missing_eos_penalty=chosen.missing_eos_penalty,
    )
  except ValueError as error:
    raise errors.UserError(f"config.sampling: {error}") from error


def check_lora(model: Model, lora: settings.Lora) -> None:
  """Refuses adapters that the model cannot have.

  Raises:
    UserError: a target matches no kernel; lists those there are.
  """
  if lora.rank:
    lora.check(model, rank=lora.rank, targets=lora.targets)


def sketch(section: Mapping[str, Any]) -> Model:
  """The config's model for a vocabulary that is not known yet.

  Raises:
    UserError: no such model, or no such setting of it.
  """
  return zoo.make_model(section["name"], vocabulary_size=16, **options(section))


def options(section: Mapping[str, Any]) -> dict[str, Any]:
  """What a section says beside the name of what it is about."""
  return {name: value for name, value in section.items() if name != "name"}


def _with_ids(factory, section, tokenizer):
  """`section` with token ids for its texts and for the end of sequence."""
  parameters = inspect.signature(factory).parameters
  where = f"config.algorithm of '{section['name']}'"
  if "eos_id" in parameters:
    if "eos_id" in section:
      raise errors.UserError(
        f"{where}: eos_id is the tokenizer's; leave it out"
      )
    end = 1 if tokenizer is None else tokenizer.eos_id
    section = {**section, "eos_id": end}
  if "template" in parameters and "template" in section:
    texts = section["template"]
    if not isinstance(texts, list | tuple) or not all(
      isinstance(text, str) for text in texts
    ):
      raise errors.UserError(
        f"{where}: template must be a tuple of texts, got {texts!r}"
      )
    encode = (lambda text: [1]) if tokenizer is None else tokenizer.encode
    section = {**section, "template": tuple(tuple(encode(t)) for t in texts)}
  return section


def _keywords(factory: Callable, section: Mapping[str, Any], where: str):
  """`section` without its name, if it fits the factory's keywords."""
  parameters = inspect.signature(factory).parameters.values()
  allowed = {p.name: p for p in parameters if p.kind == p.KEYWORD_ONLY}
  given = options(section)
  for name in given:
    if name not in allowed:
      raise errors.unknown(f"setting of {where}", name, allowed)
  for name, parameter in allowed.items():
    if parameter.default is parameter.empty and name not in given:
      raise errors.UserError(
        f"{where} needs the setting '{name}'; its settings are:"
        f" {', '.join(allowed)}"
      )
  return given
