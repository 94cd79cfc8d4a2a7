"""Closed forms of one decision, against NumPy float64 and the papers."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import tabular

# Three arms of the toy bandit of SRPO, beta = tau = 1.
SRPO_GAME = [[0.50, 0.99, 0.30], [0.01, 0.50, 0.25], [0.70, 0.75, 0.50]]
TOTAL_ORDER = [[0.5, 1, 1], [0, 0.5, 1], [0, 0, 0.5]]


def log(*probabilities):
  return jnp.log(jnp.array(probabilities, jnp.float32))


def uniform(actions):
  return jnp.full(actions, -np.log(actions), jnp.float32)


def worlds(seed, *batch, actions):
  """Two policies with full support and rewards, float64."""
  random = np.random.default_rng(seed)
  first, second = random.dirichlet(np.full(actions, 2.0), (2, *batch))
  return first, second, random.normal(size=(*batch, actions))


def single(*arrays):
  return [jnp.asarray(array, jnp.float32) for array in arrays]


def identity(probabilities):
  return probabilities


def log_odds(probabilities):
  return jnp.log(probabilities) - jnp.log1p(-probabilities)


def test_the_tilted_policy_is_the_toy_optimum_of_copg():
  # CoPG, section 5: R = (2.5, 2, 1), beta = 0.5, uniform reference.
  rewards = jnp.array([2.5, 2.0, 1.0])
  optimum = tabular.tilted(uniform(3), rewards, tau=0.5)
  np.testing.assert_allclose(
    jnp.exp(optimum), [0.70538, 0.25950, 0.03512], atol=6e-6
  )
  value = tabular.regularized_value(uniform(3), rewards, tau=0.5)
  np.testing.assert_allclose(value, 2.12520, atol=6e-6)
  start = tabular.regularized_objective(
    uniform(3), uniform(3), rewards, tau=0.5
  )
  np.testing.assert_allclose(value - start, 0.29187, atol=6e-6)


def test_the_tilted_policy_is_reference_times_exp_of_reward():
  _, reference, rewards = worlds(0, 7, 2, actions=5)
  weights = reference * np.exp(rewards / 0.3)
  optimum = tabular.tilted(*single(np.log(reference), rewards), tau=0.3)
  expected = weights / weights.sum(-1, keepdims=True)
  np.testing.assert_allclose(jnp.exp(optimum), expected, rtol=2e-5)


def test_no_policy_has_a_larger_objective_than_the_value():
  policy, reference, rewards = worlds(1, 200, actions=4)
  log_policy, log_reference, rewards = single(
    np.log(policy), np.log(reference), rewards
  )
  value = tabular.regularized_value(log_reference, rewards, tau=0.7)
  optimum = tabular.tilted(log_reference, rewards, tau=0.7)

  def objective(candidate):
    return tabular.regularized_objective(
      candidate, log_reference, rewards, tau=0.7
    )

  np.testing.assert_allclose(objective(optimum), value, rtol=1e-5, atol=1e-6)
  # J* - J(pi) = tau KL(pi, pi*).
  np.testing.assert_allclose(
    value - objective(log_policy),
    0.7 * np.asarray(tabular.kl(log_policy, optimum)),
    rtol=1e-3,
    atol=2e-6,
  )


def test_a_large_constant_in_the_rewards_changes_no_digit():
  rewards = jnp.array([0.5, 0.25, 0.0])
  for constant in [1e4, -1e4]:
    np.testing.assert_array_equal(
      tabular.tilted(uniform(3), rewards + constant, tau=0.01),
      tabular.tilted(uniform(3), rewards, tau=0.01),
    )


def test_kl_counts_the_actions_that_are_taken():
  # 0 log 0 = 0: 0.5 log(0.5 / 0.25) + 0.5 log(0.5 / 0.75).
  p, q = log(0.5, 0.5, 0.0), log(0.25, 0.75, 0.0)
  expected = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
  np.testing.assert_allclose(tabular.kl(p, q), expected, rtol=1e-6)
  assert tabular.kl(p, log(0.5, 0.0, 0.5)) == np.inf


def test_the_policy_gradient_is_the_finite_difference_of_the_objective():
  with jax.enable_x64(True):
    policy, reference, rewards = map(jnp.asarray, worlds(2, actions=4))
    logits, log_reference = jnp.log(policy), jnp.log(reference)

    def objective(logits):
      return tabular.regularized_objective(
        jax.nn.log_softmax(logits), log_reference, rewards, tau=0.4
      )

    gradient = tabular.policy_gradient(logits, log_reference, rewards, tau=0.4)
    steps = 1e-5 * jnp.eye(4)
    differences = [
      (objective(logits + step) - objective(logits - step)) / 2e-5
      for step in steps
    ]
    np.testing.assert_allclose(gradient, differences, atol=1e-9)
    optimum = tabular.tilted(log_reference, rewards, tau=0.4)
    at_rest = tabular.policy_gradient(optimum, log_reference, rewards, tau=0.4)
    np.testing.assert_allclose(at_rest, 0, atol=1e-15)


@pytest.mark.parametrize(
  "tau, expected",
  [
    (0.1, [0.9644, 0.0344, 0.0012]),
    (0.5, [0.5627, 0.2889, 0.1483]),
    (1.0, [0.4484, 0.3213, 0.2302]),
    (10.0, [0.3445, 0.3332, 0.3223]),
  ],
)
def test_ipo_on_a_total_order_is_the_papers_table(tau, expected):
  optimum = tabular.psipo_optimum(
    uniform(3), jnp.array(TOTAL_ORDER), uniform(3), psi=identity, tau=tau
  )
  np.testing.assert_allclose(jnp.exp(optimum), expected, atol=6e-5)


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0, 10.0])
def test_ipo_on_two_actions_is_a_sigmoid(tau):
  # P(y1 > y2) = 1: p(y1 > mu) - p(y2 > mu) = 3/4 - 1/4.
  optimum = tabular.psipo_optimum(
    uniform(2),
    jnp.array([[0.5, 1.0], [0.0, 0.5]]),
    uniform(2),
    psi=identity,
    tau=tau,
  )
  expected = 1 / (1 + np.exp(-1 / (2 * tau)))
  np.testing.assert_allclose(jnp.exp(optimum[0]), expected, rtol=1e-6)


def test_log_odds_of_a_bradley_terry_rater_give_the_rewards_optimum():
  behavior, reference, rewards = worlds(3, 20, actions=5)
  log_behavior, log_reference, rewards = single(
    np.log(behavior), np.log(reference), rewards
  )

  @jax.jit
  def run(reference, behavior, rewards):
    game = tabular.bradley_terry(rewards)
    return (
      tabular.tilted(reference, rewards, tau=0.5),
      tabular.psipo_optimum(reference, game, behavior, psi=log_odds, tau=0.5),
      tabular.dpo_optimum(reference, game, behavior, tau=0.5),
    )

  direct, psipo, dpo = run(log_reference, log_behavior, rewards)
  np.testing.assert_allclose(psipo, direct, atol=2e-5)
  np.testing.assert_allclose(dpo, direct, atol=2e-5)


@pytest.mark.parametrize(
  "behavior, ipo, dpo",
  [
    ((1 / 3, 1 / 3, 1 / 3), [0.3618, 0.2566, 0.3816], [0.405, 0.069, 0.527]),
    ((0.2, 0.7, 0.1), [0.394, 0.252, 0.354], [0.661, 0.047, 0.293]),
  ],
)
def test_skewed_data_move_ipo_and_dpo_as_the_srpo_table_says(
  behavior, ipo, dpo
):
  game, behavior = jnp.array(SRPO_GAME), log(*behavior)
  actual = tabular.psipo_optimum(
    uniform(3), game, behavior, psi=identity, tau=1.0
  )
  np.testing.assert_allclose(jnp.exp(actual), ipo, atol=6e-4)
  actual = tabular.dpo_optimum(uniform(3), game, behavior, tau=1.0)
  np.testing.assert_allclose(jnp.exp(actual), dpo, atol=6e-4)


def test_the_bradley_terry_fit_matches_expected_wins():
  # The likelihood equations: sum_j mu_i mu_j (P_ij - sigmoid(r_i - r_j)) = 0.
  with jax.enable_x64(True):
    game = tabular.random_game(jax.random.key(4), actions=6, batch=(30,))
    behavior, _, _ = worlds(4, 30, actions=6)
    rewards = tabular.bradley_terry_fit(game, jnp.log(jnp.asarray(behavior)))
    r, p = np.asarray(rewards), np.asarray(game)
    predicted = 1 / (1 + np.exp(r[:, None, :] - r[:, :, None]))
    residual = np.einsum("bj,bij->bi", behavior, p - predicted)
    np.testing.assert_allclose(residual, 0, atol=1e-9)
    np.testing.assert_allclose(r.sum(-1), 0, atol=1e-12)


@pytest.mark.parametrize("game", [[[0.5, 1], [0, 0.5]], TOTAL_ORDER])
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_sure_preferences_send_dpo_to_one_action_whatever_the_strength(
  game, tau
):
  policy = uniform(len(game))
  actual = tabular.dpo_optimum(
    policy, jnp.array(game, jnp.float32), policy, tau=tau, steps=200
  )
  assert np.all(np.isfinite(actual)) and np.exp(actual[0]) > 0.999


@pytest.mark.parametrize(
  "beta, expected, tolerance",
  [(1.0, [0.3553, 0.2571, 0.3876], 6e-5), (0.1, [0.126, 0.007, 0.867], 6e-4)],
)
def test_the_srpo_writer_is_the_papers_table(beta, expected, tolerance):
  writer = tabular.srpo_generator(
    uniform(3), jnp.stack([uniform(3)] * 3), jnp.array(SRPO_GAME), beta=beta
  )
  np.testing.assert_allclose(jnp.exp(writer), expected, atol=tolerance)


def test_srpo_policies_satisfy_both_identities():
  with jax.enable_x64(True):
    game = tabular.random_game(jax.random.key(5), actions=4, batch=(10,))
    policy, _, _ = worlds(5, 10, actions=4)
    reviser_reference, _, _ = worlds(6, 10, 4, actions=4)
    # Identity A needs one reference for both policies.
    shared = np.broadcast_to(policy[:, None], (10, 4, 4))
    beta = 0.3

    def ratios(shown):
      log_reference = jnp.log(jnp.asarray(policy))
      log_shown = jnp.log(jnp.asarray(shown))
      writer = tabular.srpo_generator(log_reference, log_shown, game, beta=beta)
      reviser = tabular.srpo_reviser(log_shown, game, beta=beta)
      return np.asarray(writer - log_reference), np.asarray(reviser - log_shown)

    wins = np.swapaxes(np.asarray(game), 1, 2)  # [y1, y2]: y2 beats y1
    for shown in [shared, reviser_reference]:
      rho, revised = ratios(shown)
      # A: beta (rho'(y2|y1) - rho(y1) - rho'(y1|y2) + rho(y2)) = 2 P - 1
      actual = revised - rho[:, :, None] - np.swapaxes(revised, 1, 2)
      actual = beta * (actual + rho[:, None, :])
      np.testing.assert_allclose(actual, 2 * wins - 1, atol=1e-12)
      # B: beta (rho'(y2|y1) - rho'(y1|y1)) = P - 1/2
      same = np.diagonal(revised, axis1=1, axis2=2)[:, :, None]
      np.testing.assert_allclose(
        beta * (revised - same), wins - 0.5, atol=1e-12
      )


def test_best_of_two_among_ties_is_counted_by_hand():
  # ref = (1/2, 1/4, 1/4), scores (0, 1, 1). Both draws are the first with 1/4;
  # the rest is shared by two equally likely arms.
  actual = tabular.best_of_n(
    log(0.5, 0.25, 0.25), jnp.array([0.0, 1.0, 1.0]), n=2
  )
  np.testing.assert_allclose(jnp.exp(actual), [0.25, 0.375, 0.375], rtol=1e-6)


def test_best_of_n_is_the_distribution_over_all_draws():
  reference = np.array([0.4, 0.3, 0.2, 0.1])
  scores = np.array([1.0, 3.0, 1.0, 2.0])
  expected = np.zeros(4)
  for draws in np.ndindex(4, 4, 4):
    best = scores[list(draws)].max()
    top = [y for y in draws if scores[y] == best]
    for y in top:
      expected[y] += reference[list(draws)].prod() / len(top)
  actual = tabular.best_of_n(*single(np.log(reference), scores), n=3)
  np.testing.assert_allclose(jnp.exp(actual), expected, rtol=2e-6)


def test_best_of_n_is_a_difference_of_powers_when_scores_differ():
  _, reference, scores = worlds(7, 5, actions=16)
  actual = tabular.best_of_n(*single(np.log(reference), scores), n=4)
  for row in range(5):
    order = np.argsort(scores[row])
    at_most = np.cumsum(reference[row][order])
    below = at_most - reference[row][order]
    np.testing.assert_allclose(
      jnp.exp(actual)[row, order], at_most**4 - below**4, rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("n", [2, 4, 64])
def test_best_of_n_is_the_optimum_of_the_bond_reward(n):
  _, reference, scores = worlds(8, 5, actions=16)
  scores = np.round(scores)  # many ties
  arrays = single(np.log(reference), scores)
  rewards = tabular.bond_rewards(*arrays, n=n)
  optimum = tabular.tilted(arrays[0], rewards, tau=1 / (n - 1))
  # Unnormalized: the best-of-n probabilities already sum to one.
  best = tabular.best_of_n(*arrays, n=n)
  np.testing.assert_allclose(optimum, best, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(jnp.sum(jnp.exp(best), -1), 1, rtol=1e-5)
  value = tabular.regularized_value(arrays[0], rewards, tau=1 / (n - 1))
  np.testing.assert_allclose(value, 0, atol=1e-5)


def test_best_of_n_stays_within_its_kl_and_composes():
  _, reference, scores = worlds(9, 5, actions=64)

  def run(reference, scores, n):
    best = tabular.best_of_n(reference, scores, n=n)
    twice = tabular.best_of_n(best, scores, n=n)
    square = tabular.best_of_n(reference, scores, n=n * n)
    return tabular.kl(best, reference), jnp.exp(twice), jnp.exp(square)

  for n in [1, 2, 10]:
    divergence, twice, square = jax.jit(run, static_argnums=2)(
      *single(np.log(reference), scores), n
    )
    assert np.all(np.asarray(divergence) <= np.log(n) - (n - 1) / n + 1e-5)
    np.testing.assert_allclose(twice, square, rtol=1e-3, atol=1e-6)


def test_best_of_n_beats_the_reference_n_times_of_n_plus_one():
  # The limit of many equally likely arms; with ties half it is exact to 1/A^2.
  arms, n = 1000, 4
  scores = jnp.arange(arms, dtype=jnp.float32)
  best = tabular.best_of_n(uniform(arms), scores, n=n)
  beaten = (scores + 0.5) / arms
  np.testing.assert_allclose(
    tabular.expected(best, beaten), n / (n + 1), atol=2e-5
  )
  # log N - (N - 1) / N is the KL in the same limit.
  np.testing.assert_allclose(
    tabular.kl(best, uniform(arms)), np.log(4) - 3 / 4, atol=1e-3
  )


@pytest.mark.parametrize("function", [tabular.tilted, tabular.policy_gradient])
def test_a_strength_that_is_not_positive_is_refused(function):
  arrays = [uniform(3)] * (2 if function is tabular.tilted else 3)
  for tau in [0.0, -1.0]:
    with pytest.raises(ValueError, match="^tau must be > 0"):
      function(*arrays, tau=tau)


def test_shapes_that_do_not_match_are_refused_by_name():
  # Without the type checker, which is on in tests only.
  with pytest.raises(ValueError, match=r"^rewards has shape \(3, 1\)"):
    inspect.unwrap(tabular.tilted)(uniform(3), uniform(3)[:, None], tau=1.0)
  with pytest.raises(ValueError, match="^log_q must hold floating-point"):
    inspect.unwrap(tabular.kl)(uniform(3), jnp.ones(3, int))


def test_counts_out_of_range_are_refused():
  with pytest.raises(ValueError, match="^n must be at least 2, got 1"):
    tabular.bond_rewards(uniform(3), uniform(3), n=1)
  with pytest.raises(ValueError, match="^n must be at least 1, got 0"):
    tabular.best_of_n(uniform(3), uniform(3), n=0)
