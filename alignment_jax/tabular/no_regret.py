"""Solvers of the preference game without regularization.

In a cyclic game the last iterate cycles or approaches the boundary, while the
average of the iterates converges to a Nash policy. If an action beats all
others, the last iterate converges too. `linear_program` has the exact solution.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards
from alignment_jax.tabular import bandits, checks, games, iteration

Scalar = bandits.Scalar


def sppo_step(
  log_policy: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  eta: Scalar,
) -> Float[Array, "*batch A"]:
  """Multiplicative weights: pi_t exp(eta P(. > pi_t)) / Z.

  Wu et al., 2024 (arXiv:2405.00675), SPPO. The exact iteration of DNO (Rosset
  et al., 2024, arXiv:2404.03715) is the same with 1 / eta in place of eta.

  Args:
    log_policy: log pi_t.
    preferences: P[i, j] = probability that i is preferred to j.
    eta: step size, > 0, nats per win rate.

  Raises:
    ValueError: shapes or dtypes differ, eta <= 0, or `preferences` is not a
      preference matrix.
  """
  guards.positive(eta=eta)
  gains = games.advantages(log_policy, preferences)
  return jax.nn.log_softmax(log_policy + eta * gains, axis=-1)


def solve_sppo(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  eta: Scalar,
  steps: int,
  metric: iteration.Metric | None = None,
) -> iteration.Solution:
  """Repeats `sppo_step`; the reference is only where it starts.

  From a uniform start the exploitability of the average after T steps is at
  most log(A) / (eta T) + eta / 8 + 1 / T.

  Raises:
    ValueError: as `sppo_step`, or steps < 1.
  """
  preferences, start = checks.game(preferences, log_reference=log_reference)
  return iteration.iterate(
    lambda log_policy, _: sppo_step(log_policy, preferences, eta=eta),
    start,
    lambda log_policy: log_policy,
    steps=steps,
    metric=metric,
  )


def regret_matching_policy(
  regrets: Float[Array, "*batch A"],
) -> Float[Array, "*batch A"]:
  """log of regrets / sum; uniform if all are zero.

  Args:
    regrets: how much more each action would have won so far, >= 0, in units of
      win rate.
  """
  (regrets,) = guards.same_shape_floats(regrets=regrets)
  total = jnp.sum(regrets, axis=-1, keepdims=True)
  shares = jnp.where(total > 0, regrets / jnp.where(total > 0, total, 1), 1)
  return jnp.log(shares / jnp.sum(shares, axis=-1, keepdims=True))


def regret_matching_step(
  regrets: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
) -> Float[Array, "*batch A"]:
  """One step of regret matching+ in self-play; returns the next regrets.

  Tammelin, 2014 (arXiv:1407.5042): regrets are clipped at zero after each step.
  The policy gains P(pi > pi) - 1/2 = 0 against itself, so an action's regret is
  its advantage. There is no step size.

  Raises:
    ValueError: shapes or dtypes differ, or `preferences` is not a preference
      matrix.
  """
  preferences, regrets = checks.game(preferences, regrets=regrets)
  policy = regret_matching_policy(regrets)
  return jnp.maximum(regrets + games.advantages(policy, preferences), 0)


def solve_regret_matching(
  preferences: Float[Array, "*batch A A"],
  *,
  steps: int,
  metric: iteration.Metric | None = None,
) -> iteration.Solution:
  """Repeats `regret_matching_step` from the uniform policy.

  `Solution.average` weights policy t by t (linear averaging) and converges to a
  Nash policy at least as fast as 1 / sqrt(steps); `Solution.policy` need not.

  Raises:
    ValueError: `preferences` is not a preference matrix, or steps < 1.
  """
  (preferences,) = checks.game(preferences)
  return iteration.iterate(
    lambda regrets, _: regret_matching_step(regrets, preferences),
    jnp.zeros_like(preferences[..., 0]),
    regret_matching_policy,
    steps=steps,
    metric=metric,
    weight=iteration.linear_weight,
  )
