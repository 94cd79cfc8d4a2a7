"""How often one policy beats another, and how sure that is.

Scores come from a judge, one per prompt; NumPy on the host.
"""

import numpy as np

from alignment_jax import errors

_DRAWS_AT_ONCE = 1 << 20  # 8 MiB of indices


def wins(scores: np.ndarray, baseline_scores: np.ndarray) -> np.ndarray:
  """Compares two policies prompt by prompt: 1 a win, 0.5 a tie, 0 a loss.

  Equal scores are a tie, exactly equal: a judge with few levels ties often.

  Args:
    scores: the judge's score of the policy, [N], in any unit.
    baseline_scores: the same judge's score of the other policy's response to
      the same prompt, [N].

  Returns:
    float64 [N].

  Raises:
    UserError: a score is NaN: then neither response is better.
  """
  scores, baseline_scores = np.asarray(scores), np.asarray(baseline_scores)
  if scores.shape != baseline_scores.shape or scores.ndim != 1:
    raise ValueError(
      f"scores {scores.shape} and baseline scores {baseline_scores.shape} must"
      " both be [N]"
    )
  undefined = np.flatnonzero(np.isnan(scores) | np.isnan(baseline_scores))
  if undefined.size:
    raise errors.UserError(
      f"{undefined.size} of {scores.size} comparisons have a NaN score, the"
      f" first is number {undefined[0]}; repair the judge or drop these prompts"
    )
  return np.where(
    scores == baseline_scores, 0.5, (scores > baseline_scores).astype(float)
  )


def win_rate(scores: np.ndarray, baseline_scores: np.ndarray) -> float:
  """The share of prompts won, a tie counting one half; in [0, 1].

  0.5 is what a policy gets against itself.
  """
  return float(_nonempty(wins(scores, baseline_scores)).mean())


def tie_rate(scores: np.ndarray, baseline_scores: np.ndarray) -> float:
  """The share of prompts on which both scores are equal; in [0, 1].

  Say it beside the win rate: 0.5 may mean that half is won, or all is tied.
  """
  return float((_nonempty(wins(scores, baseline_scores)) == 0.5).mean())


def bootstrap_interval(
  values: np.ndarray, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
  """How far the mean would move with other prompts of the same kind.

  Percentile bootstrap: draw N of the N values with replacement, `resamples`
  times, and take the middle `level` of the means. It knows only these prompts,
  not other seeds of training, and where all values are equal its width is 0,
  however few they are.

  Args:
    values: one value per prompt, [N], for instance `wins`.
    seed: the same seed gives the same interval.
    resamples: how many draws, > 0.
    level: the share of the means inside, in (0, 1).

  Returns:
    `(low, high)`, in the unit of the values.
  """
  values = _nonempty(np.asarray(values, dtype=np.float64))
  if values.ndim != 1:
    raise ValueError(f"values {values.shape} must be [N]")
  if not np.isfinite(values).all():
    raise errors.UserError("a bootstrap interval needs finite values")
  if not 0 < level < 1 or resamples < 1:
    raise ValueError(
      f"level {level} not in (0, 1), or resamples {resamples} < 1"
    )
  if values.size == 1:  # scipy asks for two
    return float(values[0]), float(values[0])
  # Two thirds of a second to import: paid where an interval is wanted.
  from scipy import stats

  low, high = stats.bootstrap(
    (values,),
    np.mean,
    n_resamples=resamples,
    confidence_level=level,
    method="percentile",
    batch=max(1, _DRAWS_AT_ONCE // values.size),
    rng=np.random.default_rng(seed),
  ).confidence_interval
  return float(low), float(high)


def _nonempty(values: np.ndarray) -> np.ndarray:
  if values.size == 0:
    raise errors.UserError("nothing to compare: there are no scores")
  return values
