"""Descend losses in a world of two responses, where the minimum is by hand.

The policy is one number x, with policy(first) = sigmoid(x). The first response
is preferred with probability p. Each expected value is solved for p backwards:
choose x, and write the derivative at x as zero.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses
from tests.bandit_worlds import descend

HALF = jnp.log(jnp.asarray(0.5))


def _descend(loss, preference):
  """x at the minimum of the expected loss over labels."""

  def objective(x):
    first, second = jax.nn.log_sigmoid(x), jax.nn.log_sigmoid(-x)
    return preference * loss(first, second) + (1 - preference) * loss(
      second, first
    )

  return float(descend(objective, jnp.float32(0.1)))


@pytest.mark.parametrize("preference, side", [(0.6, 1), (0.95, 1), (0.3, -1)])
def test_hinge_gives_the_majority_the_margin_one_over_beta(preference, side):
  # The derivative is 1 - 2 p between -1 and 1, and p or 1 - p beyond them: the
  # margin says who wins more often, and not how much.
  x = _descend(
    lambda win, lose: losses.hinge_loss(win, lose, HALF, HALF, beta=0.5),
    preference,
  )
  np.testing.assert_allclose(x, side / 0.5, atol=1e-2)


@pytest.mark.parametrize("delta", [0.5, 1.5])
def test_slic_stops_at_its_margin(delta):
  # Always the first wins, and the target is the second: below delta the slope
  # is -1 + lam sigmoid(x) < 0, above it lam sigmoid(x) > 0.
  x = _descend(
    lambda win, lose: losses.slic_loss(win, lose, lose, delta=delta, lam=0.5),
    1.0,
  )
  np.testing.assert_allclose(x, delta, atol=1e-2)


def test_orpo_balances_likelihood_and_odds():
  # The log-odds are x and -x, so with lam = 1/2 the derivative is
  # sigmoid(x) - p + sigmoid(2 x) - p: zero at x = log 2 where
  # 2 p = 2/3 + 4/5.
  x = _descend(
    lambda win, lose: losses.orpo_loss(win, lose, lam=0.5),
    11 / 15,
  )
  np.testing.assert_allclose(x, np.log(2), atol=1e-3)


def test_orpo_without_odds_is_the_share_of_wins():
  x = _descend(lambda win, lose: losses.orpo_loss(win, lose, lam=0.0), 0.8)
  np.testing.assert_allclose(x, np.log(4), atol=1e-3)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_simpo_asks_for_more_than_the_share_of_wins(beta):
  # With a = beta x the derivative is zero where
  # p / (1 - p) = (1 + e^(a - gamma)) / (1 + e^(-a - gamma)); a = gamma = log 2
  # gives 2 / (5/4), so p = 8/13, whose own log-odds are only log(8/5).
  gamma = float(np.log(2))
  x = _descend(
    lambda win, lose: losses.simpo_loss(win, lose, beta=beta, gamma=gamma),
    8 / 13,
  )
  np.testing.assert_allclose(x, np.log(2) / beta, atol=1e-3)


def test_the_optimism_of_xpo_moves_the_policy_away_from_the_reference():
  # The reference is (3/4, 1/4), beta 1 and alpha 1/2, so h = x - log 3. With
  # the reference's response drawn from it, the derivative is
  # sigmoid(h) - p - alpha (sigmoid(x) - 3/4): at x = log 9 both sigmoids are
  # 3/4 and 9/10, so p = 3/4 - 0.15 / 2.
  reference = jnp.log(jnp.asarray([0.75, 0.25]))

  def objective(x):
    policy = jnp.stack([jax.nn.log_sigmoid(x), jax.nn.log_sigmoid(-x)])
    total = 0.0
    for winner, share in ((0, 0.675), (1, 0.325)):
      for sampled, weight in ((0, 0.75), (1, 0.25)):
        total += (
          share
          * weight
          * losses.xpo_loss(
            policy[winner],
            policy[1 - winner],
            reference[winner],
            reference[1 - winner],
            policy[sampled],
            beta=1.0,
            alpha=0.5,
          )
        )
    return total

  x = float(descend(objective, jnp.float32(0.1)))
  np.testing.assert_allclose(x, np.log(9), atol=1e-3)
