"""Preference games: win rates, best responses, gaps, examples of papers."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import tabular

ROCK_PAPER_SCISSORS = [[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]]


def log(*probabilities):
  return jnp.log(jnp.array(probabilities, jnp.float32))


def random_policies(seed, *shape):
  random = np.random.default_rng(seed)
  policies = random.dirichlet(np.full(shape[-1], 2.0), shape[:-1])
  return jnp.log(jnp.asarray(policies, jnp.float32))


def test_random_games_are_preferences_and_depend_on_the_key():
  games = tabular.random_game(jax.random.key(0), actions=5, batch=(100,))
  assert games.shape == (100, 5, 5)
  np.testing.assert_allclose(games + games.mT, 1, atol=1e-6)
  np.testing.assert_array_equal(np.diagonal(games, axis1=1, axis2=2), 0.5)
  above = np.asarray(games)[:, *np.triu_indices(5, 1)]
  np.testing.assert_allclose(above.mean(), 0.5, atol=0.03)  # 1000 uniforms
  np.testing.assert_allclose(above.var(), 1 / 12, atol=0.01)
  other = tabular.random_game(jax.random.key(1), actions=5, batch=(100,))
  assert np.any(other != games)


def test_cyclic_games_are_written_out():
  np.testing.assert_array_equal(tabular.cyclic_game(3), ROCK_PAPER_SCISSORS)
  np.testing.assert_allclose(
    tabular.cyclic_game(4, win=0.75),
    [
      [0.5, 0.75, 0.5, 0.25],
      [0.25, 0.5, 0.75, 0.5],
      [0.5, 0.25, 0.5, 0.75],
      [0.75, 0.5, 0.25, 0.5],
    ],
  )


def test_the_dice_beat_each_other_in_a_circle_with_five_ninths():
  # {2,4,9} over {1,6,8}: 2 and 4 beat 1, 9 beats all three.
  high, low = 5 / 9, 4 / 9
  expected = [[0.5, high, low], [low, 0.5, high], [high, low, 0.5]]
  np.testing.assert_allclose(tabular.dice_example(), expected, rtol=1e-6)


def test_equal_faces_count_half():
  # {1, 2} against {2, 2}: loses, ties twice over four pairs.
  game = tabular.dice_game(jnp.array([[1.0, 2.0], [2.0, 2.0]]))
  np.testing.assert_allclose(game, [[0.5, 0.25], [0.75, 0.5]])


@pytest.mark.parametrize("epsilon", [-0.05, 0.0, 0.05])
def test_three_raters_have_the_papers_nash_policy(epsilon):
  game = tabular.three_raters(epsilon)
  nash = log(1 / 3 + epsilon / 2, 1 / 3 + epsilon / 2, 1 / 3 - epsilon)
  np.testing.assert_allclose(tabular.win_rates(nash, game), 0.5, atol=1e-7)


def test_the_bradley_terry_winner_of_three_raters_jumps():
  uniform = log(1 / 3, 1 / 3, 1 / 3)
  best = [
    int(jnp.argmax(tabular.bradley_terry_fit(tabular.three_raters(e), uniform)))
    for e in [-0.01, 0.01]
  ]
  assert best == [1, 0]


def test_the_best_reward_loses_to_the_best_win_rate_in_the_elo_example():
  rewards = tabular.elo_example()
  game = tabular.bradley_terry(rewards)
  shares = jnp.linspace(0, 1 / 3, 101)
  family = tabular.tied_policies(shares)
  np.testing.assert_allclose(
    jnp.exp(family[:, 0]), 2 * jnp.exp(family[:, 1]), rtol=1e-6
  )
  by_reward = tabular.expected(family, jnp.stack([rewards] * 101))
  assert int(jnp.argmax(by_reward)) == 100  # (2/3, 1/3, 0)
  wins = tabular.win_rate(
    family, jnp.stack([family[100]] * 101), jnp.stack([game] * 101)
  )
  assert int(jnp.argmax(wins)) == 0  # (0, 0, 1)
  np.testing.assert_allclose(wins[0], 50 / 99, rtol=1e-6)


def test_win_rates_of_two_policies_sum_to_one():
  games = tabular.random_game(jax.random.key(2), actions=4, batch=(50,))
  p, q = random_policies(0, 2, 50, 4)
  forward = tabular.win_rate(p, q, games)
  expected = np.einsum("bi,bij,bj->b", np.exp(p), np.asarray(games), np.exp(q))
  np.testing.assert_allclose(forward, expected, rtol=1e-5)
  np.testing.assert_allclose(
    forward + tabular.win_rate(q, p, games), 1, rtol=1e-6
  )
  np.testing.assert_allclose(tabular.win_rate(p, p, games), 0.5, rtol=1e-6)


def test_the_regularized_preference_charges_both_players():
  # P = 1/2 everywhere: -tau KL(p, mu) + tau KL(q, mu) is left.
  p, q, reference = log(0.75, 0.25), log(0.5, 0.5), log(0.5, 0.5)
  game = jnp.full((2, 2), 0.5)
  divergence = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
  for pair, sign in [((p, q), -1), ((q, p), 1)]:
    actual = tabular.regularized_preference(*pair, reference, game, tau=0.4)
    np.testing.assert_allclose(actual, 0.5 + sign * 0.4 * divergence, rtol=1e-6)


def test_rock_is_answered_by_what_beats_it():
  game = jnp.array(ROCK_PAPER_SCISSORS)
  response = tabular.best_response(log(0.0, 1.0, 0.0), game)
  np.testing.assert_array_equal(jnp.exp(response), [1, 0, 0])
  # (0.5, 0.3, 0.2): P(2 > .) = 0.5 + 0.2 / 2, the best by 0.1.
  policy = log(0.5, 0.3, 0.2)
  np.testing.assert_allclose(
    tabular.exploitability(policy, game), 0.1, rtol=1e-5
  )
  np.testing.assert_allclose(
    tabular.duality_gap(policy, log(1 / 3, 1 / 3, 1 / 3), game), 0.1, rtol=1e-5
  )


def test_the_regularized_best_response_is_written_out():
  # Against scissors (2), rock (0) loses, 1 wins, and 2 ties.
  response = tabular.regularized_best_response(
    log(0.0, 0.0, 1.0),
    log(0.5, 0.25, 0.25),
    jnp.array(ROCK_PAPER_SCISSORS),
    tau=0.5,
  )
  weights = np.array([0.5, 0.25, 0.25]) * np.exp(np.array([0, 1, 0.5]) / 0.5)
  np.testing.assert_allclose(
    jnp.exp(response), weights / weights.sum(), rtol=1e-6
  )


def test_exploitability_is_the_gain_of_the_best_response():
  games = tabular.random_game(jax.random.key(3), actions=5, batch=(100,))
  policy, reference = random_policies(1, 2, 100, 5)
  best = tabular.best_response(policy, games)
  np.testing.assert_allclose(
    tabular.exploitability(policy, games),
    tabular.win_rate(best, policy, games) - 0.5,
    atol=1e-6,
  )
  best = tabular.regularized_best_response(policy, reference, games, tau=0.2)
  gain = tabular.regularized_preference(best, policy, reference, games, tau=0.2)
  np.testing.assert_allclose(
    tabular.regularized_exploitability(policy, reference, games, tau=0.2),
    gain - 0.5,
    atol=1e-6,
  )


def test_duality_gaps_are_a_maximum_less_a_minimum():
  games = tabular.random_game(jax.random.key(4), actions=5, batch=(100,))
  policy, opponent, reference = random_policies(2, 3, 100, 5)
  best = tabular.win_rates(opponent, games).max(-1)
  worst = 1 - tabular.win_rates(policy, games).max(-1)
  np.testing.assert_allclose(
    tabular.duality_gap(policy, opponent, games), best - worst, atol=1e-6
  )

  def against(other):
    response = tabular.regularized_best_response(
      other, reference, games, tau=0.3
    )
    return tabular.regularized_preference(
      response, other, reference, games, tau=0.3
    )

  # min over pi' of P_tau(policy > pi') = 1 - max of P_tau(pi' > policy).
  np.testing.assert_allclose(
    tabular.regularized_duality_gap(
      policy, opponent, reference, games, tau=0.3
    ),
    against(opponent) - (1 - against(policy)),
    atol=2e-6,
  )


@pytest.mark.parametrize(
  "game, message",
  [
    ([[0.5, 0.6], [0.6, 0.5]], r"preferences must satisfy P \+ P\^T = 1"),
    ([[0.4, 0.6], [0.4, 0.5]], r"preferences must satisfy P \+ P\^T = 1"),
    ([[0.5, 1.2], [-0.2, 0.5]], r"preferences must lie in \[0, 1\]"),
    ([[0.5, np.nan], [0.5, 0.5]], r"preferences must lie in \[0, 1\]"),
  ],
)
def test_what_is_no_preference_matrix_is_refused(game, message):
  policy = log(0.5, 0.5)
  with pytest.raises(ValueError, match=f"^{message}"):
    tabular.exploitability(policy, jnp.array(game, jnp.float32))
  with pytest.raises(ValueError, match=f"^{message}"):
    tabular.linear_program_nash(np.array(game))


def test_policies_that_do_not_fit_the_game_are_refused_by_name():
  # Without the type checker, which is on in tests only.
  win_rate = inspect.unwrap(tabular.win_rate)
  policy, game = log(0.5, 0.5), jnp.full((2, 2), 0.5, jnp.float32)
  with pytest.raises(ValueError, match=r"^log_opponent has shape \(3,\)"):
    win_rate(policy, log(0.5, 0.25, 0.25), game)
  with pytest.raises(ValueError, match=r"^preferences must be \[..., A, A\]"):
    win_rate(policy, policy, game[:1])
  with jax.enable_x64(True):
    double = jnp.log(jnp.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="^log_policy has dtype float64"):
      win_rate(double, double, game)


def test_a_traced_matrix_is_taken_as_it_is():
  wrong = jnp.full((2, 2), 0.75)
  actual = jax.jit(tabular.exploitability)(log(0.5, 0.5), wrong)
  np.testing.assert_allclose(actual, 0.25)


def test_constructors_refuse_what_is_out_of_range():
  with pytest.raises(ValueError, match="^epsilon must be in"):
    tabular.three_raters(0.4)
  with pytest.raises(ValueError, match="^shares must be in"):
    tabular.tied_policies(jnp.array([0.4]))
  with pytest.raises(ValueError, match="^win must be in"):
    tabular.cyclic_game(3, win=1.5)
  with pytest.raises(ValueError, match="^actions must be at least 1"):
    tabular.random_game(jax.random.key(0), actions=0)


def test_no_games_at_all_have_no_exploitability():
  none = tabular.exploitability(jnp.zeros((0, 3)), jnp.zeros((0, 3, 3)))
  assert none.shape == (0,)
