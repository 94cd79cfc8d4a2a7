"""From sections of a config to algorithms."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

from alignment_jax import algorithms, errors, rollouts, transforms
from alignment_jax.algorithm import Algorithm, Method
from alignment_jax.experiment import settings
from alignment_jax.models import Model

# Keywords of a factory that the run gives.
_GIVEN_BY_THE_RUN = ("sampling", "eos_id")


def method_named(name: str) -> Method:
  """The entry of an algorithm.

  Raises:
    UserError: no such name; lists those there are.
  """
  if name not in algorithms.ALGORITHMS:
    raise errors.unknown("algorithm", name, algorithms.ALGORITHMS)
  return algorithms.ALGORITHMS[name]


def check_keywords(section: Mapping[str, Any]) -> None:
  """Refuses settings that the section's method does not have, or lacks.

  Raises:
    UserError: no such algorithm, or keywords that are missing or unknown.
  """
  name = section["name"]
  method = method_named(name)
  where = f"config.algorithm of '{name}'"
  if method.needs_eos and "eos_id" in section:
    raise errors.UserError(f"{where}: eos_id is the tokenizer's; leave it out")
  for keyword in method.token_keywords:
    texts = section.get(keyword, ())
    if not isinstance(texts, list | tuple) or not all(
      isinstance(text, str) for text in texts
    ):
      raise errors.UserError(
        f"{where}: {keyword} must be a tuple of texts, got {texts!r}"
      )
  _bind(method.factory, section, f"algorithm '{name}'")


def make_algorithm(
  model: Model,
  section: Mapping[str, Any],
  sampling: rollouts.Sampling | None,
  tokenizer: Any,
) -> Algorithm:
  """The named algorithm, from its section of the config.

  Args:
    model: the network.
    section: `name` and the method's keywords, as `check_keywords` passes them;
      what a method takes as token ids around responses, its `template`, is
      written as texts.
    sampling: for a method that samples.
    tokenizer: of those texts and of the end of sequence.

  Raises:
    UserError: a keyword is out of range.
  """
  name, keywords = section["name"], without_name(section)
  method = method_named(name)
  if method.samples:
    keywords["sampling"] = sampling
  if method.needs_eos:
    keywords["eos_id"] = tokenizer.eos_id
  for keyword in method.token_keywords:
    keywords[keyword] = tuple(
      tuple(tokenizer.encode(text)) for text in keywords[keyword]
    )
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
  _bind(factory, section, f"reference update '{name}'")
  try:
    return factory(algorithm, **without_name(section))
  except (TypeError, ValueError) as error:
    raise errors.UserError(f"reference update '{name}': {error}") from error


def sampling_of(
  section: settings.Sampling | None, *, max_tokens: int, eos_id: int
) -> rollouts.Sampling | None:
  """What the config says of sampling, as an algorithm takes it.

  Raises:
    UserError: a number is out of range.
  """
  if section is None:
    return None
  try:
    return rollouts.Sampling(
      samples=section.samples,
      max_tokens=max_tokens,
      temperature=section.temperature,
      eos_id=eos_id,
      missing_eos_penalty=section.missing_eos_penalty,
    )
  except ValueError as error:
    raise errors.UserError(f"config.sampling: {error}") from error


def without_name(section: Mapping[str, Any]) -> dict[str, Any]:
  """What a section says beside the name of what it is about."""
  return {name: value for name, value in section.items() if name != "name"}


def _bind(
  factory: Callable[..., Any], section: Mapping[str, Any], where: str
) -> None:
  """Refuses keywords that do not fit the factory's."""
  allowed = {
    parameter.name: parameter
    for parameter in inspect.signature(factory).parameters.values()
    if parameter.kind == parameter.KEYWORD_ONLY
    and parameter.name not in _GIVEN_BY_THE_RUN
  }
  keywords = without_name(section)
  for name in keywords:
    if name not in allowed:
      raise errors.unknown(f"setting of {where}", name, allowed)
  for name, parameter in allowed.items():
    if parameter.default is parameter.empty and name not in keywords:
      raise errors.UserError(
        f"{where} needs the setting '{name}'; its settings are:"
        f" {', '.join(allowed)}"
      )
  for name, value in keywords.items():
    _check_type(name, value, allowed[name].annotation, where)


def _check_type(name: str, value: Any, annotation: Any, where: str) -> None:
  """Refuses a value that the annotation of a keyword rules out.

  What is out of range is for the factory to say; it is called only once the
  data are read, and a slip of this kind should not wait for them.
  """
  options = typing.get_args(annotation)
  if typing.get_origin(annotation) is Literal:
    if value not in options:
      raise errors.unknown(name, value, options)
    return
  if type(None) in options:
    if value is None:
      return
    annotation, _ = options
  if annotation not in (bool, int, float, str):
    return  # such as a tuple: the factory checks it
  fits = isinstance(value, (int, float) if annotation is float else annotation)
  if not fits or isinstance(value, bool) != (annotation is bool):
    raise errors.UserError(
      f"{where}: {name} must be of type {annotation.__name__}, got {value!r}"
    )
