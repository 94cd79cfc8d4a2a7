"""Judges of texts, asked about token arrays: decoded, judged, put in shape."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32

from alignment_jax.feedback import convert
from alignment_jax.feedback.rollout_judges import (
  CompareResponses,
  ScoreResponses,
)
from alignment_jax.judges.base import PreferenceJudge, RewardJudge
from alignment_jax.types import Tokens

# Token ids -> what they say
Decode = Callable[[Sequence[int]], str]
# Index of a batch -> what people responded to its prompts; None where unknown
References = Callable[[int], Sequence[str | None]]


def rewards(
  judges: Sequence[RewardJudge], decode: Decode, references: References
) -> ScoreResponses:
  """Rewards of each of n judges, [B, N, n].

  Args:
    judges: at least one.
    decode: of the run's tokenizer.
    references: what each judge is shown beside a prompt.
  """

  def score(
    prompt: Tokens, responses: Tokens, index: int
  ) -> Float32[np.ndarray, "B N n"]:
    rows, count = responses.ids.shape[:2]
    texts = (
      _repeated(texts_of(prompt, decode), count),
      texts_of(responses, decode),
      _repeated(references(index), count),
    )
    return np.stack(
      [judge(*texts).reshape(rows, count) for judge in judges], axis=-1
    )

  return score


def comparisons(
  prefer: PreferenceJudge, decode: Decode, references: References
) -> CompareResponses:
  """Preferences of a judge that reads two texts, averaged over their order.

  Args:
    prefer: the judge; it is asked about all pairs in both orders, in one call.
    decode: of the run's tokenizer.
    references: what the judge is shown beside a prompt.
  """

  def compare(
    prompt: Tokens, responses: Tokens, opponents: Tokens | None, index: int
  ) -> Float32[np.ndarray, "B K J"]:
    rows, count = responses.ids.shape[:2]
    texts = _by_row(responses, decode)
    if opponents is None:
      others, (first, second) = texts, np.triu_indices(count, 1)
    else:
      others = _by_row(opponents, decode)
      shape = count, others.shape[1]
      first, second = (i.reshape(-1) for i in np.indices(shape))
    one = list(texts[:, first].reshape(-1))
    other = list(others[:, second].reshape(-1))
    preferred = prefer(
      _repeated(texts_of(prompt, decode), len(first)) * 2,
      [*one, *other],
      [*other, *one],
      _repeated(references(index), len(first)) * 2,
    )
    won = convert.swap_averaged(*np.split(np.asarray(preferred), 2))
    won = won.reshape(rows, len(first)).astype(np.float32)
    if opponents is not None:
      return won.reshape(rows, *shape)
    preferences = np.full((rows, count, count), 0.5, np.float32)
    preferences[:, first, second] = won
    preferences[:, second, first] = 1 - won
    return preferences

  return compare


def texts_of(tokens: Tokens, decode: Decode) -> list[str]:
  """What tokens [..., T] say, as a flat list."""
  length = tokens.ids.shape[-1]
  return [
    decode([int(i) for i in ids[mask]])
    for ids, mask in zip(
      np.asarray(tokens.ids).reshape(-1, length),
      np.asarray(tokens.mask).reshape(-1, length),
      strict=True,
    )
  ]


def _by_row(responses: Tokens, decode: Decode) -> np.ndarray:
  """The texts of responses [B, N, T], [B, N]."""
  texts = np.array(texts_of(responses, decode), object)
  return texts.reshape(responses.ids.shape[:2])


def _repeated(texts: Sequence[str | None], count: int) -> list[str | None]:
  return [text for text in texts for _ in range(count)]
