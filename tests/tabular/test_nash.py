"""Solvers of the regularized game by proximal steps: rates, bounds, numbers.

Games are independent and solved side by side.
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import tabular
from tests.game_worlds import (
  ROCK_PAPER_SCISSORS,
  double,
  kl_to,
  numpy_kl,
  numpy_nash,
  numpy_response,
  random_games,
)


@pytest.mark.parametrize("tau", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("actions", [3, 10, 64])
def test_the_reference_solver_is_exact_in_float32(actions, tau):
  log_reference, game = random_games(0, 20, actions)
  actual = jax.jit(functools.partial(tabular.regularized_nash, tau=tau))(
    jnp.asarray(log_reference, jnp.float32), jnp.asarray(game, jnp.float32)
  )
  # Judged in float64 and by the definition, not by the library.
  actual = np.asarray(actual, np.float64)
  actual -= np.log(np.exp(actual).sum(-1, keepdims=True))
  response = numpy_response(actual, log_reference, game, tau)
  gain = tau * numpy_kl(actual, response)
  assert gain.max() < 1e-6
  np.testing.assert_allclose(actual, response, atol=2e-5 / tau)


def test_the_reference_solver_finds_the_fixed_point_in_float64():
  log_reference, game = random_games(1, 20, 6)
  actual = double(functools.partial(tabular.regularized_nash, tau=0.2))(
    log_reference, game
  )
  assert actual.dtype == np.float64
  expected = numpy_nash(log_reference, game, 0.2)
  np.testing.assert_allclose(actual, expected, atol=1e-7)
  response = numpy_response(actual, log_reference, game, 0.2)
  np.testing.assert_allclose(actual, response, atol=1e-12)


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_two_actions_have_a_closed_form(tau):
  # pi1 / pi2 = mu1 / mu2 exp((p - 1/2) / tau), whatever the opponent.
  wins, log_reference = 0.8, jnp.log(jnp.array([0.3, 0.7]))
  game = jnp.array([[0.5, wins], [1 - wins, 0.5]])
  expected = np.log(0.3 / 0.7) + (wins - 0.5) / tau
  nash = tabular.regularized_nash(log_reference, game, tau=tau, steps=300)
  response = tabular.regularized_best_response(
    jnp.log(jnp.array([0.9, 0.1])), log_reference, game, tau=tau
  )
  np.testing.assert_allclose(nash[0] - nash[1], expected, rtol=1e-5)
  np.testing.assert_allclose(response[0] - response[1], expected, rtol=1e-5)


def test_a_thousand_games_are_solved_at_once_as_they_are_alone():
  log_reference, game = (
    jnp.asarray(x, jnp.float32) for x in random_games(17, 1000, 4)
  )
  solve = jax.jit(functools.partial(tabular.regularized_nash, tau=0.5))
  actual = solve(log_reference, game)
  stacked = solve(log_reference.reshape(20, 50, 4), game.reshape(20, 50, 4, 4))
  np.testing.assert_allclose(actual, stacked.reshape(1000, 4), atol=1e-6)
  np.testing.assert_allclose(
    actual[123], solve(log_reference[123], game[123]), atol=1e-6
  )


def test_offline_ipo_is_the_equilibrium_for_two_actions_only():
  # core 8.6: with mu = pi, IPO's optimum is the Nash; with mu fixed it is not.
  for actions, same in [(2, True), (3, False)]:
    log_reference, game = random_games(18, 10, actions)

    @double
    def run(log_reference, game):
      ipo = functools.partial(
        tabular.psipo_optimum, log_reference, game, psi=lambda p: p, tau=0.2
      )
      nash = tabular.regularized_nash(log_reference, game, tau=0.2)
      return nash, ipo(nash), ipo(log_reference)

    nash, online, offline = run(log_reference, game)
    np.testing.assert_allclose(online, nash, atol=1e-10)
    close = np.abs(offline - nash).max(-1) < 1e-10
    assert np.all(close) if same else not np.any(close)


def test_a_strong_regularization_gives_the_reference():
  log_reference, game = random_games(2, 5, 4)
  arrays = [jnp.asarray(x, jnp.float32) for x in (log_reference, game)]
  actual = tabular.regularized_nash(*arrays, tau=1e6, steps=3)
  np.testing.assert_allclose(actual, log_reference, atol=1e-5)


def test_one_nash_md_step_on_the_dice_is_the_papers_example():
  game, uniform = tabular.dice_example(), jnp.log(jnp.ones(3) / 3)
  policy = jnp.log(jnp.array([0.6, 0.3, 0.1]))
  mixture = tabular.geometric_mixture(policy, uniform, weight=0.5)
  np.testing.assert_allclose(
    jnp.exp(mixture), [0.47273, 0.33427, 0.19299], atol=6e-6
  )
  np.testing.assert_allclose(
    tabular.win_rates(mixture, game), [0.50785, 0.48446, 0.50769], atol=6e-6
  )
  actual = tabular.nash_md_step(policy, uniform, game, eta=5.0, tau=0.1)
  np.testing.assert_allclose(
    jnp.exp(actual), [0.49092, 0.30882, 0.20026], atol=6e-6
  )


@pytest.mark.parametrize("tau", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("actions, games", [(3, 30), (10, 10), (50, 3)])
def test_nash_md_contracts_in_every_step_and_keeps_its_bound(
  actions, games, tau
):
  log_reference, game = random_games(3, games, actions)
  start, _ = random_games(4, games, actions)

  @double
  def run(log_reference, game, start):
    nash = tabular.regularized_nash(log_reference, game, tau=tau, steps=600)
    solution = tabular.solve_nash_md(
      log_reference,
      game,
      tau=tau,
      steps=2000,
      start=start,
      metric=kl_to(nash),
    )
    return nash, tabular.kl(nash, start), solution.trajectory

  nash, first, later = run(log_reference, game, start)
  response = numpy_response(nash, log_reference, game, tau)
  np.testing.assert_allclose(nash, response, atol=1e-9)
  distances = np.concatenate([first[None], later])  # [T + 1, games]
  t = np.arange(2000)[:, None]
  eta = 2 / (tau * (t + 2))
  allowed = (1 - eta * tau) * distances[:-1] + 2 * eta**2
  assert np.all(distances[1:] <= allowed + 1e-12)
  bound = 8 / (tau**2 * (np.arange(1, 2001)[:, None] + 1))
  assert np.all(distances[1:] <= bound)


def test_the_first_step_of_the_schedule_forgets_the_start():
  log_reference, game = random_games(5, 10, 5)
  start, _ = random_games(6, 10, 5)

  @double
  def run(log_reference, game, start):
    solve = functools.partial(
      tabular.solve_nash_md, log_reference, game, tau=0.1, steps=1
    )
    return solve().policy, solve(start=start).policy

  default, other = run(log_reference, game, start)
  np.testing.assert_allclose(default, other, atol=1e-12)


def test_a_fixed_step_of_nash_md_leaves_a_bias_that_falls_as_its_square():
  log_reference, game = random_games(7, 10, 6)
  nash = numpy_nash(log_reference, game, 0.1)

  def bias(eta):
    @double
    def run(log_reference, game):
      return tabular.solve_nash_md(
        log_reference, game, eta=eta, tau=0.1, steps=2000
      ).policy

    return numpy_kl(nash, run(log_reference, game))

  distances = np.array([bias(eta) for eta in [1.0, 0.5, 0.25]])
  assert np.all(distances > 1e-6)
  ratios = distances[:-1] / distances[1:]
  np.testing.assert_allclose(ratios, 4, atol=0.5)


def test_inpo_reaches_the_equilibrium_in_a_hundred_iterations():
  # At eta = 3 tau one random game in twenty is still at 2.5e-9: a game that
  # turns fast needs a stronger pull. At 10 tau the pull itself is too slow.
  log_reference, game = random_games(8, 20, 6)
  nash = numpy_nash(log_reference, game, 0.1)

  @double
  def run(log_reference, game):
    return tabular.solve_inpo(
      log_reference, game, eta=0.5, tau=0.1, steps=100
    ).policy

  assert numpy_kl(nash, run(log_reference, game)).max() < 1e-9


def test_one_inpo_step_is_written_out():
  log_reference, game = random_games(9, 5, 4)
  policy, _ = random_games(10, 5, 4)
  step = double(functools.partial(tabular.inpo_step, eta=0.5, tau=0.2))
  gains = np.einsum("bij,bj->bi", game, np.exp(policy))
  weights = np.exp(gains / 0.5 + 0.4 * log_reference + 0.6 * policy)
  expected = weights / weights.sum(-1, keepdims=True)
  actual = np.exp(step(policy, log_reference, game))
  np.testing.assert_allclose(actual, expected, rtol=1e-12)
  # At eta = tau the old policy drops out of all but the opponent: IPO.
  step = double(functools.partial(tabular.inpo_step, eta=0.2, tau=0.2))
  actual = step(policy, log_reference, game)
  expected = numpy_response(policy, log_reference, game, 0.2)
  np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_one_mirror_prox_step_is_the_two_proximal_problems():
  log_reference, game = random_games(11, 5, 4)
  policy, _ = random_games(12, 5, 4)
  eta, tau = 0.6, 0.3

  def prox(opponent):
    gains = np.einsum("bij,bj->bi", game, np.exp(opponent))
    logits = gains / (tau + tau / eta)
    logits = logits + log_reference / (1 + 1 / eta) + policy / (eta + 1)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

  step = double(functools.partial(tabular.mirror_prox_step, eta=eta, tau=tau))
  actual = step(policy, log_reference, game)
  np.testing.assert_allclose(actual, prox(prox(policy)), atol=1e-12)


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_mirror_prox_keeps_its_rate(tau):
  log_reference, game = random_games(13, 20, 6)
  start, _ = random_games(14, 20, 6)
  nash = numpy_nash(log_reference, game, tau)

  @double
  def run(log_reference, game, start, nash):
    return tabular.solve_mirror_prox(
      log_reference, game, tau=tau, steps=80, start=start, metric=kl_to(nash)
    ).trajectory

  actual = run(log_reference, game, start, nash)
  k = np.arange(1, 81)[:, None]
  bound = numpy_kl(nash, start) * (1 + 2 * tau) ** -k
  assert np.all(actual <= bound + 1e-13)


def test_mirror_descent_is_stable_for_a_small_step_and_circles_for_a_large():
  game, log_reference = ROCK_PAPER_SCISSORS, np.log([0.5, 0.3, 0.2])
  nash = numpy_nash(log_reference[None], game[None], 0.1)[0]

  def distance(eta, steps):
    @double
    def run(log_reference, game):
      return tabular.solve_mirror_descent(
        log_reference, game, eta=eta, tau=0.1, steps=steps
      ).policy

    return numpy_kl(nash, run(log_reference, game))

  assert distance(0.2, 2000) < 1e-12
  assert distance(5.0, 2000) > 0.01


def test_the_average_is_that_of_all_policies_after_the_start():
  game, reference = tabular.dice_example(), jnp.log(jnp.array([0.6, 0.3, 0.1]))
  solution = tabular.solve_sppo(
    reference, game, eta=1.0, steps=4, metric=lambda i: (i.policy, i.average)
  )
  policies, averages = map(np.asarray, solution.trajectory)
  assert policies.shape == (4, 3)
  np.testing.assert_array_equal(policies[-1], solution.policy)
  np.testing.assert_allclose(
    np.exp(averages[2]), np.exp(policies[:3]).mean(0), rtol=1e-6
  )
  np.testing.assert_array_equal(averages[-1], solution.average)


STEPS = [
  tabular.nash_md_step,
  tabular.mirror_descent_step,
  tabular.inpo_step,
  tabular.mirror_prox_step,
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_coefficients_out_of_range_are_refused_by_name(step):
  policy, game = jnp.log(jnp.ones(3) / 3), tabular.dice_example()
  for name in ["eta", "tau"]:
    coefficients = {"eta": 0.5, "tau": 0.5, name: 0.0}
    with pytest.raises(ValueError, match=f"^{name} must be > 0"):
      step(policy, policy, game, **coefficients)


def test_a_step_beyond_the_reference_is_refused():
  policy, game = jnp.log(jnp.ones(3) / 3), tabular.dice_example()
  with pytest.raises(ValueError, match="^eta must be at most 1 / tau"):
    tabular.nash_md_step(policy, policy, game, eta=3.0, tau=0.5)
  with pytest.raises(ValueError, match="^weight must be in"):
    tabular.geometric_mixture(policy, policy, weight=1.5)


def test_a_start_that_does_not_fit_is_refused_by_name():
  # Without the type checker, which is on in tests only.
  solve = inspect.unwrap(tabular.solve_nash_md)
  policy, game = jnp.log(jnp.ones(3) / 3), tabular.dice_example()
  with pytest.raises(ValueError, match=r"^start has shape \(2,\)"):
    solve(policy, game, tau=0.5, steps=3, start=policy[:2])
  with pytest.raises(ValueError, match="^tau must be > 0"):
    solve(policy, game, tau=-0.5, steps=3)
  with pytest.raises(ValueError, match="^steps must be at least 1"):
    solve(policy, game, tau=0.5, steps=0)
