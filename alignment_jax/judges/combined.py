"""Judges made of judges: sums, ensembles, shifts and limits."""

from collections.abc import Sequence

import numpy as np

from alignment_jax import errors
from alignment_jax.judges import base


def weighted_sum(
  judges: Sequence[base.RewardJudge], weights: Sequence[float]
) -> base.RewardJudge:
  """sum_i weight_i r_i.

  Args:
    judges: at least one.
    weights: one for each, in the same order; a negative one is a penalty.

  Raises:
    UserError: no judges, another number of weights, or one that is not finite.
  """
  weights = np.asarray(list(weights), np.float64)
  if len(weights) != len(judges) or not np.isfinite(weights).all():
    raise errors.UserError(
      f"{len(judges)} judges need as many finite weights, got"
      f" {weights.tolist()}"
    )
  return _of_all(judges, lambda rewards: weights @ rewards)


def ensemble_mean(judges: Sequence[base.RewardJudge]) -> base.RewardJudge:
  """The mean reward of several judges.

  Coste et al., 2023 (arXiv:2310.02743), mean optimisation. The judges should
  differ by seed and data order at least; their rewards must share a scale.

  Raises:
    UserError: no judges.
  """
  return _of_all(judges, lambda rewards: rewards.mean(axis=0))


def ensemble_worst(judges: Sequence[base.RewardJudge]) -> base.RewardJudge:
  """The least reward that any of several judges gives.

  Coste et al., 2023 (arXiv:2310.02743), worst-case optimisation. Their rewards
  must share a scale and a zero: see `centred`.

  Raises:
    UserError: no judges.
  """
  return _of_all(judges, lambda rewards: rewards.min(axis=0))


def ensemble_less_variance(
  judges: Sequence[base.RewardJudge], *, coefficient: float
) -> base.RewardJudge:
  """The mean minus coefficient times the variance among the judges.

  Coste et al., 2023 (arXiv:2310.02743), uncertainty-weighted optimisation. The
  variance divides by the number of judges. Unlike the deviation, it does not
  scale with the reward: another scale needs another coefficient.

  Args:
    judges: at least one.
    coefficient: >= 0, per unit of reward; the paper's lambda.

  Raises:
    UserError: no judges, or a coefficient below 0.
  """
  _non_negative(coefficient)
  return _of_all(
    judges,
    lambda rewards: rewards.mean(axis=0) - coefficient * rewards.var(axis=0),
  )


def ensemble_less_deviation(
  judges: Sequence[base.RewardJudge], *, coefficient: float
) -> base.RewardJudge:
  """The mean minus coefficient times the standard deviation among the judges.

  A lower confidence bound, in units of the reward; `ensemble_less_variance` is
  the published form.

  Args:
    judges: at least one.
    coefficient: >= 0, in standard deviations.

  Raises:
    UserError: no judges, or a coefficient below 0.
  """
  _non_negative(coefficient)
  return _of_all(
    judges,
    lambda rewards: rewards.mean(axis=0) - coefficient * rewards.std(axis=0),
  )


def centred(
  judge: base.RewardJudge,
  prompts: Sequence[str],
  demonstrations: Sequence[str],
  references: base.References = None,
) -> base.RewardJudge:
  """The reward minus its mean on demonstrations: a text as good as they is 0.

  A shift alone, as Huang et al., 2024 (arXiv:2403.17031) do to a reward model
  before PPO. The mean is taken here, once.

  Args:
    judge: the reward.
    prompts: of the demonstrations.
    demonstrations: what people wrote, one for each prompt, at least one.
    references: passed on to the judge.

  Raises:
    UserError: there are no demonstrations.
  """
  base.require_one_each(
    references, prompts=prompts, demonstrations=demonstrations
  )
  if len(demonstrations) == 0:
    raise errors.UserError("a judge is centred on demonstrations, got none")
  mean = np.asarray(judge(prompts, demonstrations, references)).mean(
    dtype=np.float64
  )
  return _of_all([judge], lambda rewards: rewards[0] - mean)


def clipped(
  judge: base.RewardJudge, *, low: float, high: float
) -> base.RewardJudge:
  """The reward, no less than `low` and no more than `high`.

  NaN stays NaN.

  Raises:
    UserError: `low` is not below `high`.
  """
  if not low < high:
    raise errors.UserError(f"low must be below high, got {low} and {high}")
  return _of_all([judge], lambda rewards: np.clip(rewards[0], low, high))


def _non_negative(coefficient):
  if not 0 <= coefficient < np.inf:
    raise errors.UserError(
      f"coefficient must be a finite number, at least 0, got {coefficient}"
    )


def _of_all(judges, combine):
  """The judge that combines the rewards [J, N], in float64, of J judges."""
  judges = list(judges)
  if not judges:
    raise errors.UserError("a combination needs at least one judge, got none")

  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    rewards = [
      np.asarray(one(prompts, responses, references)) for one in judges
    ]
    return combine(np.stack(rewards).astype(np.float64)).astype(np.float32)

  return judge
