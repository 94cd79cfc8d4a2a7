"""How long a text is: as a reward of its own, or the distance to a target."""

from collections.abc import Callable, Sequence

import numpy as np

from alignment_jax import errors
from alignment_jax.judges import base

UNITS = {
  "words": lambda text: len(text.split()),  # runs without white space
  "characters": len,  # Unicode code points
}


def length_judge(*, unit: str = "words") -> base.RewardJudge:
  """The length of the response.

  A control: what a judge with a length bias rewards. With weight -1 it is the
  length reward of Rita et al., 2024 (arXiv:2404.19409).

  Args:
    unit: `words` or `characters`.

  Raises:
    UserError: no such unit.
  """
  return _of_length(unit, lambda length: length)


def length_target_judge(
  *, target: float, unit: str = "words"
) -> base.RewardJudge:
  """-|length - target|: 0 at the target, and one less per unit away from it.

  Args:
    target: the length that is wanted, >= 0.
    unit: `words` or `characters`.

  Raises:
    UserError: no such unit, or the target is below 0.
  """
  if not 0 <= target < np.inf:
    raise errors.UserError(
      f"target must be a number of {unit}, at least 0, got {target}"
    )
  return _of_length(unit, lambda length: -abs(length - target))


def _of_length(unit: str, reward: Callable[[int], float]) -> base.RewardJudge:
  if unit not in UNITS:
    raise errors.unknown("unit of length", unit, UNITS)
  count = UNITS[unit]

  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(references, prompts=prompts, responses=responses)
    return np.asarray([reward(count(text)) for text in responses], np.float32)

  return judge
