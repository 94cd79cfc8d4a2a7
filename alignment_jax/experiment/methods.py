"""From sections of a config to algorithms and models."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from alignment_jax import algorithms, errors, rollouts, transforms
from alignment_jax.algorithm import Algorithm, Method
from alignment_jax.experiment import settings
from alignment_jax.models import Model, zoo


def method_named(name: str) -> Method:
  """The entry of an algorithm.

  Raises:
    UserError: no such name; lists those there are.
  """
  if name not in algorithms.ALGORITHMS:
    raise errors.unknown("algorithm", name, algorithms.ALGORITHMS)
  return algorithms.ALGORITHMS[name]


def make_algorithm(
  model: Model,
  section: Mapping[str, Any],
  sampling: rollouts.Sampling | None = None,
  tokenizer: Any = None,
) -> Algorithm:
  """The named algorithm, from its section of the config.

  Args:
    model: the network.
    section: `name` and the method's keywords; what a method takes as token ids
      around responses, its `template`, is written as texts.
    sampling: for a method that samples.
    tokenizer: of those texts and of the end of sequence; None for a method that
      will not run, which gets any ids.

  Raises:
    UserError: no such name, or keywords that are missing, unknown or out of
      range.
  """
  name = section["name"]
  method = method_named(name)
  if method.samples and sampling is None:
    raise errors.UserError(
      f"algorithm '{name}' learns from its own samples: config.sampling must"
      " say how, as in configs/rloo.py"
    )
  if method.samples:
    section = {**section, "sampling": sampling}
  section = _with_ids(method, section, tokenizer)
  keywords = _keywords(method.factory, section, f"algorithm '{name}'")
  try:
    return method.factory(model, **keywords)
  except errors.UserError:
    raise
  except (TypeError, ValueError) as error:
    raise errors.UserError(f"algorithm '{name}': {error}") from error


def with_reference_update(
  algorithm: Algorithm, section: Mapping[str, Any]
) -> Algorithm:
  """The algorithm with what the config does between its updates.

  Raises:
    UserError: no such name, or settings that do not fit.
  """
  name = section["name"]
  if name not in transforms.REFERENCE_UPDATES:
    raise errors.unknown("reference update", name, transforms.REFERENCE_UPDATES)
  factory = transforms.REFERENCE_UPDATES[name]
  given = _keywords(factory, section, f"reference update '{name}'")
  try:
    return factory(algorithm, **given)
  except (TypeError, ValueError) as error:
    raise errors.UserError(f"reference update '{name}': {error}") from error


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
    transforms.lora.check(model, rank=lora.rank, targets=lora.targets)


def sketch(section: Mapping[str, Any]) -> Model:
  """The config's model for a vocabulary that is not known yet.

  Raises:
    UserError: no such model, or no such setting of it.
  """
  return zoo.make_model(section["name"], vocabulary_size=16, **options(section))


def options(section: Mapping[str, Any]) -> dict[str, Any]:
  """What a section says beside the name of what it is about."""
  return {name: value for name, value in section.items() if name != "name"}


def _with_ids(
  method: Method, section: Mapping[str, Any], tokenizer: Any
) -> Mapping[str, Any]:
  """`section` with token ids for its texts and for the end of sequence."""
  where = f"config.algorithm of '{section['name']}'"
  if method.needs_eos:
    if "eos_id" in section:
      raise errors.UserError(
        f"{where}: eos_id is the tokenizer's; leave it out"
      )
    end = 1 if tokenizer is None else tokenizer.eos_id
    section = {**section, "eos_id": end}
  for name in method.token_keywords:
    if name not in section:
      continue
    texts = section[name]
    if not isinstance(texts, list | tuple) or not all(
      isinstance(text, str) for text in texts
    ):
      raise errors.UserError(
        f"{where}: {name} must be a tuple of texts, got {texts!r}"
      )
    encode = (lambda text: [1]) if tokenizer is None else tokenizer.encode
    section = {**section, name: tuple(tuple(encode(t)) for t in texts)}
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
