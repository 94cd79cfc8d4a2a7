"""Solvers of the regularized game by gradients: where they end."""

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax import tabular
from tests.game_worlds import (
  ROCK_PAPER_SCISSORS,
  double,
  numpy_kl,
  numpy_nash,
  numpy_response,
  random_games,
)


def test_the_exact_self_play_gradient_is_that_of_its_objective():
  log_reference, game = random_games(15, 3, 4)
  logits, _ = random_games(16, 3, 4)

  def gradients(logits, log_reference, game):
    opponent = tabular.geometric_mixture(logits, log_reference, weight=0.25)

    def objective(logits):
      policy = jax.nn.log_softmax(logits)
      value = tabular.win_rate(policy, opponent, game)
      return jnp.sum(value - 0.3 * tabular.kl(policy, log_reference))

    return jax.grad(objective)(logits), tabular.self_play_gradient(
      logits, opponent, log_reference, game, tau=0.3
    )

  by_autodiff, exact = double(gradients)(logits, log_reference, game)
  np.testing.assert_allclose(exact, by_autodiff, atol=1e-14)
  assert np.abs(exact).max() > 1e-3


def test_the_mixture_against_rock_paper_scissors_is_the_papers_table():
  # core 2.6 (c): tau 0.1, exact gradients, rate 0.5, 40,000 steps.
  beta = np.array([0, 0.125, 0.25, 0.5, 0.75, 1])
  log_reference = np.log(np.tile([0.5, 0.3, 0.2], (6, 1)))
  game = np.tile(ROCK_PAPER_SCISSORS, (6, 1, 1))

  @double
  def run(beta, log_reference, game):
    def solve(beta, log_reference, game):
      return tabular.solve_nash_md_pg(
        log_reference,
        game,
        beta=beta,
        tau=0.1,
        learning_rate=0.5,
        steps=40_000,
      ).policy

    policy = jax.vmap(solve)(beta, log_reference, game)
    return (
      policy,
      tabular.regularized_exploitability(policy, log_reference, game, tau=0.1),
      tabular.exploitability(policy, game),
    )

  policy, regularized, plain = run(beta, log_reference, game)
  assert regularized[0] < 1e-14
  np.testing.assert_allclose(
    regularized[1:], [0.0011, 0.0058, 0.038, 0.090, 0.134], rtol=0.05
  )
  np.testing.assert_allclose(
    plain, [0.049, 0.050, 0.053, 0.080, 0.124, 0.264], atol=6e-4
  )
  assert regularized[5] > 4 * regularized[2]
  # The mixture, not the policy, is the Nash of temperature tau / (1 - beta).
  share = beta[1:5, None]
  mixture = (1 - share) * policy[1:5] + share * log_reference[1:5]
  mixture -= np.log(np.exp(mixture).sum(-1, keepdims=True))
  gains = np.einsum("bij,bj->bi", game[1:5], np.exp(mixture))
  logits = log_reference[1:5] + gains * (1 - share) / 0.1
  logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
  np.testing.assert_allclose(mixture, logits, atol=1e-10)


def test_self_play_ends_at_the_equilibrium():
  game, log_reference = ROCK_PAPER_SCISSORS, np.log([0.5, 0.3, 0.2])
  nash = numpy_nash(log_reference[None], game[None], 0.1)[0]

  @double
  def run(log_reference, game):
    return tabular.solve_self_play(
      log_reference, game, tau=0.1, learning_rate=0.5, steps=5000
    ).policy

  np.testing.assert_allclose(run(log_reference, game), nash, atol=1e-7)


def test_a_trailing_opponent_ends_there_unless_it_remembers_too_long():
  game, log_reference = ROCK_PAPER_SCISSORS, np.log([0.5, 0.3, 0.2])
  nash = numpy_nash(log_reference[None], game[None], 0.1)[0]
  response = numpy_response(
    log_reference[None], log_reference[None], game[None], 0.1
  )[0]

  @double
  def run(beta, log_reference, game):
    return jax.vmap(
      lambda beta: (
        tabular.solve_nash_ema(
          log_reference,
          game,
          beta=beta,
          tau=0.1,
          learning_rate=0.5,
          steps=40_000,
        ).policy
      )
    )(beta)

  beta = np.array([0.0, 0.5, 0.9, 0.95, 1.0])
  *settled, circling, frozen = run(beta, log_reference, game)
  for actual in settled:
    np.testing.assert_allclose(actual, nash, atol=1e-7)
  assert numpy_kl(nash, circling) > 0.1
  # What never moves is answered by the best response to it.
  np.testing.assert_allclose(frozen, response, atol=1e-7)


def test_the_trailing_opponent_is_an_average_of_logits():
  logits = jnp.array([1.0, 0.0, -1.0])
  state = tabular.EmaState(logits, jnp.zeros(3))
  actual = tabular.nash_ema_step(
    state,
    jnp.log(jnp.ones(3) / 3),
    jnp.asarray(ROCK_PAPER_SCISSORS, jnp.float32),
    beta=0.75,
    tau=0.5,
    learning_rate=0.1,
  )
  assert np.any(actual.logits != logits)
  np.testing.assert_allclose(actual.average, 0.25 * actual.logits, rtol=1e-6)


def test_the_ends_of_the_mixture_are_the_policy_and_the_reference():
  p, q = jnp.log(jnp.array([0.7, 0.3])), jnp.log(jnp.array([0.4, 0.6]))
  ends = [tabular.geometric_mixture(p + 5, q, weight=w) for w in [0.0, 1.0]]
  np.testing.assert_allclose(
    jnp.exp(jnp.stack(ends)), jnp.exp(jnp.stack([p, q])), rtol=1e-6
  )
