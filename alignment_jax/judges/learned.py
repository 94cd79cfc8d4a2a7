"""Networks as judges of texts: a reward or preference model and its tokens.

A judge here knows no parameters. For a weight-averaged reward model (WARM, Rame
et al., 2024, arXiv:2401.12187) let `score` close over the average of several
models' parameters, `losses.weight_average(trees)`; for an ensemble of their
predictions combine several judges with `combined`.
"""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from alignment_jax import errors
from alignment_jax.judges import base

# (prompts, responses) -> (prompt Tokens [N, T], response Tokens [N, T]), NumPy
# arrays whose widths are the same in every call.
Encode = Callable


def reward_judge(
  score: Callable, encode: Encode, *, batch_size: int
) -> base.RewardJudge:
  """A reward model as a judge of texts.

  Texts are scored `batch_size` at a time; the last batch is filled with its
  last row. So `score` sees one shape and is compiled once.

  Args:
    score: (prompt Tokens [B, T], responses Tokens [B, 1, T]) -> rewards [B, 1],
      jitted, such as `scoring.rewards` with its model and parameters.
    encode: (prompts, responses) -> (prompt Tokens [N, T], response Tokens
      [N, T]) on the host, prompts left-padded, responses right-padded, both as
      wide in every call.
    batch_size: texts at a time, >= 1.

  Raises:
    UserError: batch_size is below 1; when judging, widths that change, or
      another number of rewards than responses.
  """
  _at_least_one(batch_size)
  shape = []  # of the first batch

  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(references, prompts=prompts, responses=responses)
    if len(prompts) == 0:
      return np.zeros(0, np.float32)
    prompt, response = encode(prompts, responses)
    one_each = jax.tree.map(lambda array: array[:, None], response)
    return _run(score, (prompt, one_each), batch_size, shape)

  return judge


def preference_judge(
  score_pair: Callable, encode: Encode, *, batch_size: int
) -> base.PreferenceJudge:
  """A preference model as a judge of two texts.

  Munos et al., 2023 (arXiv:2312.00886) train one that reads both responses, so
  that preferences need not come from a reward. It need not be symmetric: see
  `preferences.swap_averaged`.

  Args:
    score_pair: (prompt Tokens [B, T], first Tokens [B, T], second Tokens
      [B, T]) -> P(first preferred) [B], jitted.
    encode: as in `reward_judge`, called for the first and for the second.
    batch_size: pairs at a time, >= 1.

  Raises:
    UserError: as in `reward_judge`.
  """
  _at_least_one(batch_size)
  shape = []

  def prefer(
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(
      references, prompts=prompts, first=first, second=second
    )
    if len(prompts) == 0:
      return np.zeros(0, np.float32)
    prompt, one = encode(prompts, first)
    _, two = encode(prompts, second)
    return _run(score_pair, (prompt, one, two), batch_size, shape)

  return prefer


def _run(function, inputs, batch_size, shape):
  """function over the rows of `inputs`, `batch_size` at a time; [N] numbers."""
  widths = [array.shape[1:] for array in jax.tree.leaves(inputs)]
  if not shape:
    shape.extend(widths)
  if shape != widths:
    raise base.JudgeError(
      f"the encoder of a learned judge gave arrays of shapes [N, ...] {widths}"
      f" after {shape}; pad texts to one length, or every batch compiles anew"
    )
  count = len(jax.tree.leaves(inputs)[0])
  parts = []
  for start in range(0, count, batch_size):
    rows = np.minimum(np.arange(start, start + batch_size), count - 1)
    batch = jax.tree.map(lambda array, rows=rows: array[rows], inputs)
    answer = np.asarray(function(*batch)).astype(np.float32)
    if answer.size != batch_size:
      raise base.JudgeError(
        f"a learned judge returned numbers of shape {list(answer.shape)} for"
        f" {batch_size} texts; its function must return one for each"
      )
    parts.append(answer.reshape(batch_size))
  return np.concatenate(parts)[:count]


def _at_least_one(batch_size):
  if batch_size < 1:
    raise errors.UserError(f"batch_size must be at least 1, got {batch_size}")
