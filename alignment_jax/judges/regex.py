"""A reward for what a regular expression finds, and for a format."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alignment_jax import errors
from alignment_jax.judges import base


def regex_judge(
  *, pattern: str, found: float = 1.0, missing: float = 0.0
) -> base.RewardJudge:
  """`found` where the pattern occurs in the response, else `missing`.

  A pattern that repeats a repetition, such as `(a+)+b`, can take time
  exponential in the response, and no time limit stops Python's `re`.

  Args:
    pattern: of Python's `re`; flags go inside it, such as `(?i)` and `(?s)`.
    found: reward of a match.
    missing: reward without one.

  Raises:
    UserError: the pattern is not a regular expression.
  """
  return _of_response(_compiled(pattern).search, found, missing)


def full_regex_judge(
  *, pattern: str, found: float = 1.0, missing: float = 0.0
) -> base.RewardJudge:
  """As `regex_judge`, but the pattern must match the whole response."""
  return _of_response(_compiled(pattern).fullmatch, found, missing)


def format_judge(
  *,
  tags: Sequence[str] = ("think", "answer"),
  found: float = 1.0,
  missing: float = 0.0,
) -> base.RewardJudge:
  """`found` where the response is the tags in order, each once, with content.

  `<think>...</think> <answer>...</answer>`: only white space may stand between
  and around them, none may be empty, and no tag may occur twice. The format
  reward of DeepSeek-R1 (arXiv:2501.12948) with its tags as the default.

  Args:
    tags: names, at least one, without brackets.
    found: reward of a response in the format.
    missing: reward of any other.

  Raises:
    UserError: no tags, two alike, or a name that is no word.
  """
  tags = [tags] if isinstance(tags, str) else list(tags)
  good = all(re.fullmatch(r"\w+", tag) for tag in tags)
  if not tags or not good or len(set(tags)) < len(tags):
    raise errors.UserError(
      f"tags must be different words, such as ['think', 'answer'], got {tags}"
    )
  inside = "|".join(re.escape(tag) for tag in tags)
  # What stands in a tag is anything that does not open or close one of them.
  content = rf"(?:(?!</?(?:{inside})>).)*"
  text = r"\s*".join(f"<{tag}>(?P<{tag}>{content})</{tag}>" for tag in tags)
  pattern = re.compile(rf"\s*{text}\s*", re.DOTALL)

  def matches(response: str) -> bool:
    match = pattern.fullmatch(response)
    return match is not None and all(part.strip() for part in match.groups())

  return _of_response(matches, found, missing)


def _compiled(pattern: str) -> re.Pattern[str]:
  try:
    return re.compile(pattern)
  except re.error as error:
    raise errors.UserError(
      f"'{pattern}' is not a regular expression: {error}; see Python's `re`"
    ) from error


def _of_response(
  matches: Callable[[str], Any], found: float, missing: float
) -> base.RewardJudge:
  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(references, prompts=prompts, responses=responses)
    return np.asarray(
      [found if matches(text) else missing for text in responses], np.float32
    )

  return judge
