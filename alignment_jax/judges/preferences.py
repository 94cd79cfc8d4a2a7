"""Preferences between two texts that a reward explains."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from alignment_jax import errors
from alignment_jax.judges import base


def bradley_terry(
  margins: Float[np.ndarray, "*batch"], *, scale: float
) -> Float[np.ndarray, "*batch"]:
  """P(first preferred) = sigmoid(scale (r(first) - r(second))).

  Args:
    margins: r(first) - r(second).
    scale: nats of log-odds per unit of reward, > 0. Small is a rater who hardly
      tells them apart, large one who never errs.

  Raises:
    UserError: `scale` is not a finite number above 0.
  """
  if not 0 < scale < np.inf:
    raise errors.UserError(
      f"scale must be a finite number above 0, got {scale}"
    )
  # exp of a negative number alone: nothing overflows.
  small = np.exp(-np.abs(scale * margins))
  return np.where(margins >= 0, np.ones_like(small), small) / (1 + small)


def from_reward(
  judge: base.RewardJudge, *, scale: float
) -> base.PreferenceJudge:
  """The `bradley_terry` judge of two texts.

  Args:
    judge: the reward, asked once about both.
    scale: of `bradley_terry`.
  """

  def prefer(
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(
      references, prompts=prompts, first=first, second=second
    )
    rewards = np.asarray(
      judge(
        [*prompts, *prompts],
        [*first, *second],
        None if references is None else [*references, *references],
      )
    )
    of_first, of_second = np.split(rewards.astype(np.float64), 2)
    return bradley_terry(of_first - of_second, scale=scale).astype(np.float32)

  return prefer
