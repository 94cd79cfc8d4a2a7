"""Numbers into other numbers: each conversion of feedback, once, in NumPy."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from alignment_jax import errors

Combination = Literal["sum", "mean", "worst", "less_variance", "less_deviation"]


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


def hard(margins: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
  """1 where the first reward is larger, 0 where smaller, 1/2 on ties."""
  return (1 + np.sign(margins)) / 2


def preferences(
  first: Float[np.ndarray, "B K"],
  second: Float[np.ndarray, "B J"],
  *,
  scale: float,
) -> Float[np.ndarray, "B K J"]:
  """Which of two rewards wins, for each couple of the two sets.

  Args:
    first: rewards of K responses to each prompt.
    second: of J others, or the same ones.
    scale: of `bradley_terry`; 0 for `hard`.
  """
  margins = first[:, :, None] - second[:, None, :]
  return bradley_terry(margins, scale=scale) if scale else hard(margins)


def swap_averaged(
  forward: Float[np.ndarray, "*batch"], backward: Float[np.ndarray, "*batch"]
) -> Float[np.ndarray, "*batch"]:
  """(P(a, b) + 1 - P(b, a)) / 2: no bias towards what is read first.

  Judges that read both texts often favor the one that they read first. With
  this P(a, b) + P(b, a) is 1.

  Args:
    forward: P(a preferred), a read first.
    backward: P(b preferred), b read first.
  """
  return (forward + (1 - backward)) / 2


def combined(
  rewards: Float[np.ndarray, "*batch n"],
  combination: Combination,
  *,
  coefficient: float = 0.0,
) -> Float[np.ndarray, "*batch"]:
  """One reward from those of n judges or of an ensemble of reward models.

  `mean`, `worst` and `less_variance` are the mean, worst-case and
  uncertainty-weighted optimization of Coste et al., 2023 (arXiv:2310.02743):
  the least reward, and the mean minus coefficient times the variance among the
  judges (which divides by their number). `less_deviation` takes the standard
  deviation in its place: a lower confidence bound, in units of the reward. But
  for `sum` the rewards must share a scale, and for `worst` a zero: see
  `centered`.

  Args:
    rewards: of each judge, along the last axis.
    combination: which of these.
    coefficient: of the variance or the deviation, >= 0.

  Raises:
    UserError: no such combination, or a coefficient below 0.
  """
  check_combination(combination, coefficient)
  # In float64: a variance of nearly equal float32 numbers would be noise.
  rewards = rewards.astype(np.float64)
  mean = rewards.mean(axis=-1)
  combine: dict[str, Callable[[], np.ndarray]] = {
    "sum": lambda: rewards.sum(axis=-1),
    "mean": lambda: mean,
    "worst": lambda: rewards.min(axis=-1),
    "less_variance": lambda: mean - coefficient * rewards.var(axis=-1),
    "less_deviation": lambda: mean - coefficient * rewards.std(axis=-1),
  }
  return combine[combination]().astype(np.float32)


def check_combination(combination: Any, coefficient: Any) -> None:
  """Refuses settings of `combined`.

  Raises:
    UserError: no such combination, or a coefficient that is no number >= 0.
  """
  if combination not in get_args(Combination):
    raise errors.unknown("combination", combination, get_args(Combination))
  if not (isinstance(coefficient, int | float) and 0 <= coefficient < np.inf):
    raise errors.UserError(
      f"coefficient must be a finite number, at least 0, got {coefficient}"
    )


def center_of(demonstrations: Float[np.ndarray, "*batch"]) -> float:
  """The mean reward of demonstrations, to be taken off every reward.

  A response as good as they are then earns 0: a shift alone, detail 15 of Huang
  et al., 2024 (arXiv:2403.17031).

  Args:
    demonstrations: rewards of what people wrote, at least one.

  Raises:
    UserError: there are none, or their mean is not finite.
  """
  if not demonstrations.size:
    raise errors.UserError("a judge is centered on demonstrations, got none")
  center = float(demonstrations.mean())
  if not np.isfinite(center):
    raise errors.UserError(
      f"the demonstrations have a mean reward of {center}; train the reward"
      " model again with a lower learning rate"
    )
  return center
