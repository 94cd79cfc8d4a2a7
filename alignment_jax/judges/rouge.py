"""ROUGE: how many words of the reference a response shares.

Lin, 2004, "ROUGE: A package for automatic evaluation of summaries". Words are
runs of letters and digits, in lower case, without stemming. On text of ASCII
that is the tokenisation of Google's `rouge-score`, which drops other letters.
"""

import collections
import re
from collections.abc import Callable, Sequence

import numpy as np

from alignment_jax import errors
from alignment_jax.judges import base

_WORD = re.compile(r"[^\W_]+")


def rouge_judge(*, variant: str = "rougeL") -> base.RewardJudge:
  """The F1 score of ROUGE against the reference, in [0, 1].

  Args:
    variant: `rouge1` or `rouge2`, shared words or pairs of adjacent words, each
      counted as often as both texts have it; `rougeL`, the longest common
      subsequence of words, over the whole text (not `rougeLsum`, which goes
      sentence by sentence).

  Returns:
    A judge; a text without words (or pairs of words) scores 0.

  Raises:
    UserError: no such variant; when judging, a prompt without a reference.
  """
  if variant not in VARIANTS:
    raise errors.unknown("variant of ROUGE", variant, VARIANTS)
  shared = VARIANTS[variant]

  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(references, prompts=prompts, responses=responses)
    known = base.require_references("rouge", prompts, references)
    return np.asarray(
      [
        _f1(*shared(_words(response), _words(reference)))
        for response, reference in zip(responses, known, strict=True)
      ],
      np.float32,
    )

  return judge


def _words(text: str) -> list[str]:
  return _WORD.findall(text.lower())


def _f1(common: int, response: int, reference: int) -> float:
  """2 P R / (P + R), with P = common / response and R = common / reference."""
  return 2 * common / (response + reference) if common else 0.0


# (words of the response, of the reference) -> what both have, and each has.
Overlap = Callable[[Sequence[str], Sequence[str]], tuple[int, int, int]]


def _shared_ngrams(n: int) -> Overlap:
  def shared(
    response: Sequence[str], reference: Sequence[str]
  ) -> tuple[int, int, int]:
    first, second = (
      collections.Counter(zip(*(words[i:] for i in range(n)), strict=False))
      for words in (response, reference)
    )
    return (first & second).total(), first.total(), second.total()

  return shared


def _shared_subsequence(
  response: Sequence[str], reference: Sequence[str]
) -> tuple[int, int, int]:
  """The longest common subsequence, with one bit per word of the reference.

  Hyyro, 2004: a cleared bit ends one of the words that are matched so far.
  """
  positions = collections.defaultdict(int)
  for index, word in enumerate(reference):
    positions[word] |= 1 << index
  everywhere = (1 << len(reference)) - 1
  free = everywhere
  for word in response:
    hit = free & positions.get(word, 0)
    free = ((free + hit) | (free - hit)) & everywhere
  common = len(reference) - free.bit_count()
  return common, len(response), len(reference)


VARIANTS = {
  "rouge1": _shared_ngrams(1),
  "rouge2": _shared_ngrams(2),
  "rougeL": _shared_subsequence,
}
