"""The exact Nash policy of a preference game by linear programming.

NumPy in, NumPy out, on the host: the reference for the other solvers.
"""

from typing import NamedTuple

import numpy as np
import scipy.optimize
from jaxtyping import Float, Float64

from alignment_jax.tabular import checks


class LinearProgramNash(NamedTuple):
  """An equilibrium of each game.

  Attributes:
    policy: probabilities, float64; one of the equilibria if there are several.
    value: its win rate against a best response; 1/2 in every preference game.
  """

  policy: Float64[np.ndarray, "*batch A"]
  value: Float64[np.ndarray, "*batch"]


def linear_program_nash(
  preferences: Float[np.ndarray, "*batch A A"],
) -> LinearProgramNash:
  """argmax over pi of min over y of P(pi > y), without regularization.

  Maximizes v under sum_i pi_i P[i, j] >= v for all j, pi >= 0 and
  sum pi = 1, with SciPy's HiGHS; one game after the other.

  Args:
    preferences: P[i, j] = probability that i is preferred to j.

  Raises:
    ValueError: `preferences` is not a preference matrix.
    RuntimeError: the solver fails. It should not: the uniform policy is always
      feasible, and the value bounded.
  """
  checks.preference_matrix(preferences)
  games = np.asarray(preferences, np.float64)
  batch, actions = games.shape[:-2], games.shape[-1]
  solutions = np.array(
    [_solve(game) for game in games.reshape(-1, actions, actions)]
  ).reshape(*batch, actions + 1)
  return LinearProgramNash(solutions[..., :-1], solutions[..., -1])


def _solve(game: Float64[np.ndarray, "A A"]) -> Float64[np.ndarray, "_"]:
  """The policy and, last, its value: A + 1 numbers."""
  actions = len(game)
  # The variables are (pi, v): minimize -v under v - sum_i pi_i P[i, j] <= 0.
  # pi is bounded below by 0, v not at all.
  result = scipy.optimize.linprog(
    c=np.append(np.zeros(actions), -1),
    A_ub=np.hstack([-game.T, np.ones((actions, 1))]),
    b_ub=np.zeros(actions),
    A_eq=np.append(np.ones(actions), 0)[None],
    b_eq=[1],
    bounds=[(0, None)] * actions + [(None, None)],
    method="highs",
  )
  if not result.success:
    raise RuntimeError(f"linear program: {result.message}")
  # HiGHS satisfies constraints to 1e-7 only: make it a policy exactly, and take
  # the value that this policy attains.
  policy = np.maximum(result.x[:-1], 0)
  policy /= policy.sum()
  return np.append(policy, np.min(policy @ game))
