"""Preferences between two texts, from a reward or made symmetric.

Munos et al., 2023 (arXiv:2312.00886), Nash learning from human feedback, and
the self-play methods ask P(first preferred to second), not a reward.
"""

from collections.abc import Sequence

import numpy as np

from alignment_jax import errors
from alignment_jax.judges import base


def from_reward(
  judge: base.RewardJudge, *, scale: float
) -> base.PreferenceJudge:
  """Bradley-Terry: P(first preferred) = sigmoid(scale (r(first) - r(second))).

  Args:
    judge: the reward, asked once about both.
    scale: nats of log-odds per unit of reward, > 0. Small is a rater who hardly
      tells them apart, large one who never errs.

  Raises:
    UserError: `scale` is not a finite number above 0.
  """
  if not 0 < scale < np.inf:
    raise errors.UserError(
      f"scale must be a finite number above 0, got {scale}; for a rater who"
      " never errs take the preference 'hard'"
    )

  def odds(margin):
    # exp of a negative number alone: nothing overflows.
    small = np.exp(-np.abs(scale * margin))
    return np.where(margin >= 0, 1.0, small) / (1.0 + small)

  return _from_margin(judge, odds)


def hard_from_reward(judge: base.RewardJudge) -> base.PreferenceJudge:
  """1 where the first reward is larger, 0 where smaller, 1/2 on ties.

  Args:
    judge: the reward, asked once about both.
  """
  return _from_margin(judge, lambda margin: 0.5 + 0.5 * np.sign(margin))


def swap_averaged(prefer: base.PreferenceJudge) -> base.PreferenceJudge:
  """(P(a, b) + 1 - P(b, a)) / 2: a judge without a bias to one place.

  Models that read both texts often favour the one that they read first. Both
  orders are asked in one call of 2 N. P(a, b) + P(b, a) is then 1.

  Args:
    prefer: any preference judge.
  """

  def averaged(
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(
      references, prompts=prompts, first=first, second=second
    )
    answers = np.asarray(
      prefer(
        _twice(prompts),
        [*first, *second],
        [*second, *first],
        _twice(references),
      )
    )
    forward, backward = np.split(answers, 2)
    return ((forward + (1 - backward)) / 2).astype(np.float32)

  return averaged


def _from_margin(judge, probability):
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
      judge(_twice(prompts), [*first, *second], _twice(references))
    )
    one, two = np.split(rewards.astype(np.float64), 2)
    return probability(one - two).astype(np.float32)

  return prefer


def _twice(texts):
  return None if texts is None else [*texts, *texts]
