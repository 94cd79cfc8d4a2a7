"""Who says how good a response is: rules, networks, and worlds made up.

A reward judge is `(prompts, responses, references=None) -> rewards`: N texts
each in, float32 [N] out, larger is better; `JUDGES` maps a name to what builds
one. A preference judge is `(prompts, first, second, references=None) -> P(first
preferred)`; `PREFERENCES` maps a name to what makes one of a reward judge, and
`COMPARISONS` to what builds one that has no reward.
Judges that are given functions (`combined`, `learned`) or tokens (`synthetic`)
are built by hand.
"""

import inspect
from typing import Any

from alignment_jax import errors
from alignment_jax.judges import (
  answers,
  base,
  lab,
  length,
  preferences,
  regex,
  rouge,
  sentiment,
  unit_tests,
)

JUDGES = {
  "exact_match": answers.exact_match_judge,
  "format": regex.format_judge,
  "full_regex": regex.full_regex_judge,
  "lab_class": lab.lab_class_judge,
  "lab_gold": lab.lab_gold_judge,
  "lab_proxy": lab.lab_proxy_judge,
  "length": length.length_judge,
  "length_target": length.length_target_judge,
  "numeric_answer": answers.numeric_answer_judge,
  "regex": regex.regex_judge,
  "rouge": rouge.rouge_judge,
  "unit_tests": unit_tests.unit_tests_judge,
  "vader": sentiment.vader_judge,
}

# Preferences by themselves, which no reward need explain.
COMPARISONS = {
  "lab_class_preference": lab.lab_class_preference,
}

PREFERENCES = {
  "bradley_terry": preferences.from_reward,
  "hard": preferences.hard_from_reward,
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


def build_comparison(
  name: str, *, timeout_seconds: float | None = None, **settings: Any
) -> base.PreferenceJudge:
  """A key of `COMPARISONS` with its settings; as `build`."""
  return base.checked_preference(
    _built("comparison", COMPARISONS, name, settings),
    name,
    timeout_seconds=timeout_seconds,
  )


def _built(what, table, name, settings):
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
