"""Who says how good a response is: rules, programs, and the lab.

A reward judge is `(prompts, responses, references=None) -> rewards`: N texts
each in, float32 [N] out, larger is better; `JUDGES` maps a name to what builds
one. A preference judge is `(prompts, first, second, references=None) -> P(first
preferred)`; `COMPARISONS` maps a name to what builds one. `build_all` builds
several whose rewards add up.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from alignment_jax import errors
from alignment_jax.judges import (
  base,
  exact_match,
  length,
  numeric_match,
  regex,
  rouge,
  sentiment,
  unit_tests,
)
from alignment_jax.synthetic import text_judges

JUDGES = {
  "exact_match": exact_match.exact_match_judge,
  "format": regex.format_judge,
  "full_regex": regex.full_regex_judge,
  "lab_class": text_judges.lab_class_judge,
  "lab_gold": text_judges.lab_gold_judge,
  "lab_proxy": text_judges.lab_proxy_judge,
  "length": length.length_judge,
  "length_target": length.length_target_judge,
  "numeric_answer": numeric_match.numeric_answer_judge,
  "regex": regex.regex_judge,
  "rouge": rouge.rouge_judge,
  "unit_tests": unit_tests.unit_tests_judge,
  "vader": sentiment.vader_judge,
}

# Names a sum of others for `build_all`.
SUM = "sum"

# Preferences by themselves, which no reward need explain.
COMPARISONS = {
  "lab_class_preference": text_judges.lab_class_preference,
  "lab_rater": text_judges.lab_rater_preference,
}


def build(
  name: str, *, timeout_seconds: float | None = None, **settings: Any
) -> base.RewardJudge:
  """A judge by name and settings, `checked`.

  Args:
    name: a key of `JUDGES`.
    timeout_seconds: how long a batch may take; see `base.checked`.
    **settings: of the judge.

  Raises:
    UserError: no such judge, or settings that are not its own.
  """
  return base.checked(
    _built("judge", JUDGES, name, settings),
    name,
    timeout_seconds=timeout_seconds,
  )


def build_all(name: str, **settings: Any) -> list[base.RewardJudge]:
  """The judges whose rewards add up: those of a `sum`, else one alone.

  Args:
    name: a key of `JUDGES`, or `sum`.
    **settings: of the judge. A sum has one, `judges`: the name of each to its
      settings and its `weight`, by which its reward is multiplied, 1 if not
      given.

  Raises:
    UserError: no such judge, or settings that are not its own.
  """
  if name != SUM:
    return [build(name, **settings)]
  parts = settings.pop("judges", None)
  if settings or not isinstance(parts, Mapping) or not parts:
    raise errors.UserError(
      "the judge 'sum' has one setting, judges: the name of each judge to its"
      f" settings; got {settings if settings else parts!r}"
    )
  return [_weighted(part, given) for part, given in parts.items()]


def build_comparison(
  name: str, *, timeout_seconds: float | None = None, **settings: Any
) -> base.PreferenceJudge:
  """A key of `COMPARISONS` with its settings; as `build`."""
  return base.checked_preference(
    _built("comparison", COMPARISONS, name, settings),
    name,
    timeout_seconds=timeout_seconds,
  )


def _weighted(name: str, settings: Any) -> base.RewardJudge:
  if not isinstance(settings, Mapping):
    raise errors.UserError(
      f"settings of the judge '{name}' in a sum must be names and values, such"
      f" as weight=0.5; got {settings!r}"
    )
  own_settings = dict(settings)
  weight = own_settings.pop("weight", 1.0)
  if isinstance(weight, bool) or not isinstance(weight, int | float):
    raise errors.UserError(
      f"weight of the judge '{name}' must be a number, got {weight!r}"
    )
  if not np.isfinite(weight):
    raise errors.UserError(
      f"weight of the judge '{name}' must be finite, got {weight}"
    )
  judge = build(name, **own_settings)

  def weighted(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    rewards = judge(prompts, responses, references)
    return (weight * rewards.astype(np.float64)).astype(np.float32)

  return weighted


def _built(
  what: str,
  table: Mapping[str, Callable[..., Any]],
  name: str,
  settings: Mapping[str, Any],
) -> Callable[..., base.Rewards]:
  if name not in table:
    raise errors.unknown(what, name, table)
  signature = inspect.signature(table[name]).replace(
    return_annotation=inspect.Signature.empty
  )
  try:
    signature.bind(**settings)
  except TypeError as error:
    raise errors.UserError(
      f"settings of the judge '{name}': {error}; it is {name}{signature}"
    ) from error
  return table[name](**settings)
