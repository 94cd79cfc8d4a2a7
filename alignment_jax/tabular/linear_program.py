"""The exact Nash policy of a preference game by linear programming.

NumPy in, NumPy out, on the host: an oracle to judge the solvers by.
"""

from typing import NamedTuple

import numpy as np
import scipy.optimize
from jaxtyping import Float

from alignment_jax.tabular import checks


class LinearProgramNash(NamedTuple):
  """An equilibrium of each game.

  Attributes:
    policy: probabilities [*batch, A], float64; one of them when several exist.
    value: [*batch], what it wins at least; 1/2 in every preference game.
  """

  policy: np.ndarray
  value: np.ndarray


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
    RuntimeError: the solver fails, which it should not.
  """
  checks.preference_matrix(preferences)
  games = np.asarray(preferences, np.float64)
  batch, actions = games.shape[:-2], games.shape[-1]
  answers = np.array(
    [_solve(game) for game in games.reshape(-1, actions, actions)]
  ).reshape(*batch, actions + 1)
  return LinearProgramNash(answers[..., :-1], answers[..., -1])


def _solve(game):
  """The policy and, last, its value: [A + 1]."""
  actions = len(game)
  found = scipy.optimize.linprog(
    c=np.append(np.zeros(actions), -1),
    A_ub=np.hstack([-game.T, np.ones((actions, 1))]),
    b_ub=np.zeros(actions),
    A_eq=np.append(np.ones(actions), 0)[None],
    b_eq=[1],
    bounds=[(0, None)] * actions + [(None, None)],
    method="highs",
  )
  if not found.success:
    raise RuntimeError(f"linear program: {found.message}")
  # HiGHS keeps the constraints to 1e-7; a policy shall be exactly one.
  policy = np.maximum(found.x[:-1], 0)
  policy /= policy.sum()
  return np.append(policy, np.min(policy @ game))
