r"""Whether the final number of a response is that of the reference.

The number of a text stands in its last `\boxed{...}`, else behind its last
`####`, as in GSM8K (Cobbe et al., 2021, arXiv:2110.14168), else it is the last
one in the text.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from alignment_jax import errors
from alignment_jax.judges import base

_NUMBER = re.compile(
  r"(?<!\w)(?<!\d\.)[-+]?"
  r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\.)\.\d+)"
  r"(?:[eE][-+]?\d+)?(?:/\d+)?"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
# What a policy writes must not cost an integer of a million digits.
_LONGEST_NUMBER = 100
_LARGEST_EXPONENT = 99


def numeric_answer_judge(*, tolerance: float = 0.0) -> base.RewardJudge:
  r"""1 where the final number is that of the reference, else 0.

  Reads `1,234.5`, `-3`, `.5`, `2e-3`, `3/4` and `\frac{3}{4}` exactly; units
  and signs of currency do not count. A response without a number gets 0, and so
  does one whose number is longer than 100 characters or beyond 10^99.

  Args:
    tolerance: how far off counts as right, >= 0, in units of the answer.

  Raises:
    UserError: `tolerance` is below 0; when judging, a prompt without a
      reference, or a reference without a number.
  """
  if not 0 <= tolerance < np.inf:
    raise errors.UserError(
      f"tolerance must be a finite number, at least 0, got {tolerance}"
    )
  allowed = Fraction(tolerance)

  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(references, prompts=prompts, responses=responses)
    known = base.require_references("numeric_answer", prompts, references)
    rewards = []
    for index, (response, reference) in enumerate(
      zip(responses, known, strict=True)
    ):
      truth, answer = final_number(reference), final_number(response)
      if truth is None:
        raise base.JudgeError(
          f"the judge 'numeric_answer' finds no number in reference {index}"
          f" ({base.shortened(reference)}); mend the data, or choose"
          " 'exact_match' for answers that are words"
        )
      rewards.append(answer is not None and abs(answer - truth) <= allowed)
    return np.asarray(rewards, np.float32)

  return judge


def final_number(text: str) -> Fraction | None:
  """The number that a text gives as its answer; None if it gives none."""
  text = text.replace("\N{MINUS SIGN}", "-")
  boxed = _last_boxed(text)
  _, marked, behind = text.rpartition("####")
  if boxed is not None:
    numbers = _numbers(boxed)[-1:]
  elif marked:
    numbers = _numbers(behind)[:1]
  else:
    numbers = _numbers(text)[-1:]
  return _value(numbers[0]) if numbers else None


def _numbers(text: str) -> list[str]:
  return _NUMBER.findall(_FRACTION.sub(r"\1/\2", text))


def _last_boxed(text: str) -> str | None:
  r"""What the last `\boxed{...}` holds, braces inside it included."""
  _, marked, rest = text.rpartition(r"\boxed{")
  if not marked:
    return None
  depth = 1
  for index, letter in enumerate(rest):
    depth += (letter == "{") - (letter == "}")
    if depth == 0:
      return rest[:index]
  return rest  # cut off before it closed


def _value(number: str) -> Fraction | None:
  if len(number) > _LONGEST_NUMBER:
    return None
  number, _, denominator = number.replace(",", "").partition("/")
  _, _, exponent = number.lower().partition("e")
  if exponent and abs(int(exponent)) > _LARGEST_EXPONENT:
    return None
  if denominator and int(denominator) == 0:
    return None
  return Fraction(number) / int(denominator or 1)
