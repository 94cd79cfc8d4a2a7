"""The game without regularization: averages, and the linear program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import tabular

ROCK_PAPER_SCISSORS = np.array([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])
# The first beats both others: only it is played.
DOMINATED = np.array([[0.5, 0.6, 0.9], [0.4, 0.5, 0.2], [0.1, 0.8, 0.5]])


def log_uniform(*batch, actions):
  return jnp.full((*batch, actions), -np.log(actions), jnp.float32)


@pytest.mark.parametrize(
  "game, expected",
  [
    (ROCK_PAPER_SCISSORS, [1 / 3, 1 / 3, 1 / 3]),
    (np.array([[9, 10, 8], [8, 9, 10], [10, 8, 9]]) / 18, [1 / 3] * 3),  # dice
    (DOMINATED, [1, 0, 0]),
    (np.array([[0.5]]), [1]),
  ],
)
def test_the_linear_program_solves_games_with_one_solution(game, expected):
  actual = tabular.linear_program_nash(game)
  np.testing.assert_allclose(actual.policy, expected, atol=1e-9)
  np.testing.assert_allclose(actual.value, 0.5, atol=1e-9)


def test_a_three_cycle_weighs_each_action_by_the_duel_it_is_not_in():
  # Skew 3 x 3: Nash is proportional to (|a23|, |a13|, |a12|).
  margins = np.array([[0, -0.1, 0.2], [0.1, 0, -0.3], [-0.2, 0.3, 0]])
  actual = tabular.linear_program_nash(0.5 + margins)
  np.testing.assert_allclose(actual.policy, [0.5, 1 / 3, 1 / 6], atol=1e-9)


def test_the_linear_program_takes_batches_and_nothing_beats_it():
  games = np.asarray(
    tabular.random_game(jax.random.key(0), actions=7, batch=(2, 5)), float
  )
  games = (games + 1 - np.swapaxes(games, -1, -2)) / 2  # exact in float64
  actual = tabular.linear_program_nash(games)
  assert actual.policy.shape == (2, 5, 7) and actual.value.shape == (2, 5)
  np.testing.assert_allclose(actual.policy.sum(-1), 1, rtol=1e-12)
  rates = np.einsum("...ij,...j->...i", games, actual.policy)
  np.testing.assert_allclose(rates.max(-1), 0.5, atol=1e-8)
  for index in [(0, 0), (1, 4)]:
    alone = tabular.linear_program_nash(games[index])
    np.testing.assert_allclose(alone.policy, actual.policy[index], atol=1e-12)


def test_regret_matching_averages_to_the_linear_program():
  games = tabular.random_game(jax.random.key(1), actions=5, batch=(20,))
  solve = jax.jit(
    functools.partial(tabular.solve_regret_matching, steps=16_000)
  )
  average = solve(games).average
  assert np.all(np.asarray(tabular.exploitability(average, games)) < 1e-3)
  # Random games have one equilibrium.
  exact = np.asarray(games, float)
  exact = (exact + 1 - np.swapaxes(exact, -1, -2)) / 2
  expected = tabular.linear_program_nash(exact).policy
  distance = np.abs(jnp.exp(average) - expected).sum(-1)
  assert distance.max() < 0.02


def test_regret_matching_is_worked_by_hand():
  # Uniform first: advantages of DOMINATED are (.5, -.4, -.1) / 3; only the
  # first is regretted, and it is then played alone.
  game = jnp.asarray(DOMINATED, jnp.float32)
  regrets = tabular.regret_matching_step(jnp.zeros(3), game)
  np.testing.assert_allclose(regrets, [0.5 / 3, 0, 0], atol=1e-7)
  policy = tabular.regret_matching_policy(regrets)
  np.testing.assert_array_equal(jnp.exp(policy), [1, 0, 0])
  start = tabular.regret_matching_policy(jnp.zeros(3))
  np.testing.assert_allclose(jnp.exp(start), 1 / 3, rtol=1e-6)


def test_regret_matching_weighs_later_policies_more():
  game = jnp.asarray(ROCK_PAPER_SCISSORS[[0, 1]][:, [0, 1]], jnp.float32)
  solution = tabular.solve_regret_matching(
    game, steps=3, metric=lambda i: i.policy
  )
  policies = np.exp(solution.trajectory)
  expected = (policies[0] + 2 * policies[1] + 3 * policies[2]) / 6
  np.testing.assert_allclose(jnp.exp(solution.average), expected, rtol=1e-6)


def test_sppo_multiplies_by_the_exponential_of_the_win_rate():
  policy = np.array([0.6, 0.3, 0.1])
  weights = policy * np.exp(2 * (ROCK_PAPER_SCISSORS @ policy))
  actual = tabular.sppo_step(
    jnp.log(jnp.asarray(policy, jnp.float32)),
    jnp.asarray(ROCK_PAPER_SCISSORS, jnp.float32),
    eta=2.0,
  )
  np.testing.assert_allclose(
    jnp.exp(actual), weights / weights.sum(), rtol=1e-6
  )


def test_sppo_climbs_to_the_best_action_of_a_bradley_terry_rater():
  game = tabular.bradley_terry(jnp.array([0.0, 0.5, 1.0, 1.5]))
  reference = log_uniform(actions=4)
  solution = jax.jit(
    lambda: tabular.solve_sppo(
      reference,
      game,
      eta=5.0,
      steps=60,
      metric=lambda i: tabular.win_rate(i.policy, reference, game),
    )
  )()
  rates = np.asarray(solution.trajectory)
  assert np.all(np.diff(rates) >= -1e-6)
  best = tabular.win_rates(reference, game).max()
  np.testing.assert_allclose(rates[-1], best, atol=1e-3)
  assert rates[0] < best - 0.05


def test_in_a_cycle_sppo_settles_on_average_only():
  game = jnp.asarray(ROCK_PAPER_SCISSORS, jnp.float32)
  start = jnp.log(jnp.array([0.5, 0.3, 0.2]))

  def gaps(iterate):
    return jnp.stack([tabular.exploitability(x, game) for x in iterate])

  solution = jax.jit(
    lambda: tabular.solve_sppo(start, game, eta=0.1, steps=2000, metric=gaps)
  )()
  last, average = np.asarray(solution.trajectory).T
  # log(A) / (eta T) + eta / 8 from a uniform start; here log(1 / 0.2).
  steps = np.arange(1, 2001)
  assert np.all(average <= np.log(5) / (0.1 * steps) + 0.1 / 8 + 1 / steps)
  assert average[-1] < 0.02
  assert last[-500:].max() > 0.1


def test_a_rate_that_is_not_positive_is_refused():
  with pytest.raises(ValueError, match="^eta must be > 0"):
    tabular.sppo_step(log_uniform(actions=3), tabular.dice_example(), eta=0.0)
