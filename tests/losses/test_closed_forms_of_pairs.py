"""Descend a loss of pairs on a bandit whose optimum is known, and compare."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses
from tests.bandit_worlds import (
  descend,
  draw_preferences,
  draw_worlds,
  fit,
  fit_pairs,
  normalized,
  pairs,
)

# A and B, B and C are ranked by chance and against the order A > C.
THREE_ACTIONS = {
  "reference": np.array([[0.5, 0.3, 0.2]]),
  "behavior": np.array([[0.2, 0.5, 0.3]]),
  "preference": np.array([[[0.5, 0.7, 0.4], [0.3, 0.5, 0.9], [0.6, 0.1, 0.5]]]),
}


def _five_actions():
  reference, behavior, _ = draw_worlds(1, 3, 5)
  return {
    "reference": reference,
    "behavior": behavior,
    "preference": draw_preferences(2, 3, 5),
  }


@pytest.mark.parametrize("tau", [0.1, 1.0])
@pytest.mark.parametrize(
  "world", [THREE_ACTIONS, _five_actions()], ids=["three", "five"]
)
def test_ipo_tilts_the_reference_by_the_win_rate_against_the_data(world, tau):
  # pi* = ref exp(p(y > mu) / tau) / Z, with p(y > mu) = sum_y' mu(y') P(y, y')
  win_rate = np.einsum("wij,wj->wi", world["preference"], world["behavior"])
  expected = normalized(world["reference"] * np.exp(win_rate / tau))
  loss = functools.partial(losses.ipo_loss, tau=tau)
  np.testing.assert_allclose(fit_pairs(loss, **world), expected, atol=1e-3)


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0])
def test_ipo_on_three_ranked_actions_spaces_the_logits_evenly(tau):
  # D1 of Azar et al.: (a, b), (b, c), (a, c). With theta = (k, 0, -k) the sum
  # 2 (k - m)^2 + (2 k - m)^2, m = 1 / (2 tau), is least at k = 4 m / 6.
  winners, losers = np.array([0, 1, 0]), np.array([1, 2, 2])

  def objective(logits):
    logprobs = jax.nn.log_softmax(logits)
    uniform = jnp.full(3, -jnp.log(3.0))
    return losses.ipo_loss(
      logprobs[winners], logprobs[losers], uniform, uniform, tau=tau
    ).mean()

  logits = descend(objective, jnp.zeros(3))
  k = 1 / (3 * tau)
  np.testing.assert_allclose(logits - logits.mean(), [k, 0, -k], atol=1e-3)


@pytest.mark.parametrize("tau", [0.2, 1.0])
def test_ipo_keeps_a_response_that_never_wins(tau):
  # E1 of Azar et al.: pi*(y1) = sigmoid(1 / (2 tau)), though y1 always wins.
  loss = functools.partial(losses.ipo_loss, tau=tau)
  uniform = np.full((1, 2), 0.5)
  policy = fit_pairs(
    loss, uniform, uniform, np.array([[[0.5, 1.0], [0.0, 0.5]]])
  )
  expected = 1 / (1 + np.exp(-1 / (2 * tau)))
  np.testing.assert_allclose(policy, [[expected, 1 - expected]], atol=1e-3)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_dpo_drops_a_response_that_never_wins_whatever_beta(beta):
  loss = functools.partial(losses.dpo_loss, beta=beta)
  uniform = np.full((1, 2), 0.5)
  policy = fit_pairs(
    loss, uniform, uniform, np.array([[[0.5, 1.0], [0.0, 0.5]]])
  )
  assert policy[0, 1] < 0.02


@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("worlds, actions", [(1, 3), (3, 5)])
def test_dpo_tilts_the_reference_by_the_bradley_terry_reward(
  worlds, actions, beta
):
  reference, behavior, rewards = draw_worlds(3, worlds, actions)
  # P(i preferred to j) = sigmoid(r_i - r_j); pi* = ref exp(r / beta) / Z
  differences = rewards[:, :, None] - rewards[:, None]
  preference = 1 / (1 + np.exp(-differences))
  expected = normalized(reference * np.exp(rewards / beta))
  loss = functools.partial(losses.dpo_loss, beta=beta)
  np.testing.assert_allclose(
    fit_pairs(loss, reference, behavior, preference), expected, atol=1e-3
  )


@pytest.mark.parametrize(
  "psi", [losses.logit, functools.partial(losses.clipped_logit, limit=1.0)]
)
def test_psipo_tilts_the_reference_by_the_mean_of_psi(psi):
  reference, behavior, _ = draw_worlds(6, 3, 4)
  preference = 0.02 + 0.96 * draw_preferences(7, 3, 4)
  log_odds = np.log(preference / (1 - preference))
  if psi is not losses.logit:
    log_odds = np.clip(log_odds, -1, 1)
  scores = np.einsum("wij,wj->wi", log_odds, behavior)
  weight = jnp.asarray(behavior[:, :, None] * behavior[:, None], jnp.float32)

  def objective(policy):
    arrays = (*pairs(policy), *pairs(np.log(reference)))
    return jnp.sum(
      weight
      * losses.psipo_loss(
        *arrays, jnp.asarray(preference, jnp.float32), psi=psi, tau=0.8
      )
    )

  expected = normalized(reference * np.exp(scores / 0.8))
  np.testing.assert_allclose(fit(objective, reference), expected, atol=1e-3)


def test_psipo_refuses_a_psi_that_pairs_alone_cannot_fit():
  arrays = [jnp.zeros(2)] * 5
  with pytest.raises(ValueError, match="psi must make .* the same"):
    losses.psipo_loss(*arrays, psi=jnp.square, tau=1.0)


def test_psipo_regression_fits_any_psi_from_scores():
  # Psi(p) = p^2, which is not odd about 1/2
  reference, behavior, _ = draw_worlds(8, 3, 4)
  preference = draw_preferences(9, 3, 4)
  scores = np.einsum("wij,wj->wi", preference**2, behavior)
  weight = jnp.asarray(behavior[:, :, None] * behavior[:, None], jnp.float32)

  def objective(policy):
    arrays = (*pairs(policy), *pairs(np.log(reference)), *pairs(scores))
    return jnp.sum(weight * losses.psipo_regression_loss(*arrays, tau=0.3))

  expected = normalized(reference * np.exp(scores / 0.3))
  np.testing.assert_allclose(fit(objective, reference), expected, atol=1e-3)


def test_dno_takes_a_multiplicative_weights_step():
  previous, behavior, _ = draw_worlds(14, 3, 4)
  win_rates = np.einsum("wij,wj->wi", draw_preferences(15, 3, 4), previous)
  weight = jnp.asarray(behavior[:, :, None] * behavior[:, None], jnp.float32)

  def objective(policy):
    arrays = (*pairs(policy), *pairs(np.log(previous)), *pairs(win_rates))
    return jnp.sum(weight * losses.dno_loss(*arrays, eta=0.4))

  expected = normalized(previous * np.exp(win_rates / 0.4))
  np.testing.assert_allclose(fit(objective, previous), expected, atol=1e-3)


def test_inpo_takes_a_mirror_descent_step():
  eta, tau = 0.5, 0.2
  reference, previous, _ = draw_worlds(16, 3, 4)
  preference = draw_preferences(17, 3, 4)
  # Pairs of the previous policy, labeled by the preference.
  weight = jnp.asarray(previous[:, :, None] * previous[:, None], jnp.float32)
  label = jnp.asarray(preference, jnp.float32)

  def objective(policy):
    arrays = (*pairs(policy), *pairs(np.log(reference)))
    arrays += tuple(pairs(np.log(previous)))
    swapped = [arrays[i] for i in (1, 0, 3, 2, 5, 4)]
    return jnp.sum(
      weight
      * (
        label * losses.inpo_loss(*arrays, eta=eta, tau=tau)
        + (1 - label) * losses.inpo_loss(*swapped, eta=eta, tau=tau)
      )
    )

  win_rates = np.einsum("wij,wj->wi", preference, previous)
  expected = normalized(
    np.exp(win_rates / eta)
    * reference ** (tau / eta)
    * previous ** (1 - tau / eta)
  )
  np.testing.assert_allclose(fit(objective, reference), expected, atol=1e-3)


@pytest.mark.parametrize("seed", [18, 19])
def test_srpo_finds_both_policies_whatever_the_data(seed):
  beta, actions = 1.0, 3
  reference, _, _ = draw_worlds(20, 1, actions)
  _, behavior, _ = draw_worlds(seed, 1, actions)
  reference, behavior = reference[0], behavior[0]
  preference = draw_preferences(21, 1, actions)[0]
  # The reviser's reference is the same, whatever it is shown.
  tilt = reference[:, None] * np.exp(preference / beta)
  reviser = tilt / tilt.sum(axis=0, keepdims=True)  # [y2, y1]
  generator = normalized(reference / tilt.sum(axis=0))

  log_reference = jnp.asarray(np.log(reference), jnp.float32)
  grid = jnp.meshgrid(jnp.arange(actions), jnp.arange(actions), indexing="ij")
  weight = jnp.asarray(np.outer(behavior, behavior), jnp.float32)
  label = jnp.asarray(preference, jnp.float32)

  def objective(params):
    plain = jax.nn.log_softmax(params["generator"])
    revision = jax.nn.log_softmax(params["reviser"], axis=0)

    def loss(w, l):  # noqa: E741
      def six(plain, revision):
        return (
          plain[w],
          plain[l],
          revision[w, l],
          revision[w, w],
          revision[l, l],
          revision[l, w],
        )

      same = jnp.broadcast_to(log_reference[:, None], revision.shape)
      return losses.srpo_loss(
        *six(plain, revision), *six(log_reference, same), beta=beta, alpha=0.5
      )

    i, j = grid
    return jnp.sum(weight * (label * loss(i, j) + (1 - label) * loss(j, i)))

  params = descend(
    objective,
    {
      "generator": log_reference,
      "reviser": jnp.zeros((actions, actions)),
    },
  )
  np.testing.assert_allclose(
    jax.nn.softmax(params["generator"]), generator, atol=1e-3
  )
  np.testing.assert_allclose(
    jax.nn.softmax(params["reviser"], axis=0), reviser, atol=1e-3
  )


@pytest.mark.parametrize(
  "score, derivative",
  [
    (losses.forward_kl_score, lambda u: -1 / u),
    (losses.jensen_shannon_score, lambda u: np.log(2 * u / (1 + u))),
    (
      functools.partial(losses.alpha_divergence_score, alpha=0.5),
      lambda u: 2 * (1 - u**-0.5),
    ),
  ],
)
def test_f_dpo_makes_the_derivative_of_f_the_reward(score, derivative):
  reference, behavior, rewards = draw_worlds(22, 2, 3)
  rewards = 0.3 * rewards
  preference = 1 / (1 + np.exp(rewards[:, None] - rewards[:, :, None]))
  loss = functools.partial(losses.f_dpo_loss, beta=1.0, score=score)
  policy = fit_pairs(loss, reference, behavior, preference)
  implied = derivative(policy / reference)
  np.testing.assert_allclose(
    implied - implied[:, :1], rewards - rewards[:, :1], atol=3e-3
  )


def test_robust_dpo_is_dpo_in_expectation_over_flips():
  rng = np.random.default_rng(23)
  pairs = [jnp.asarray(rng.normal(size=50), jnp.float32) for _ in range(4)]
  swapped = [pairs[i] for i in (1, 0, 3, 2)]
  robust = functools.partial(
    losses.robust_dpo_loss, beta=0.7, label_smoothing=0.2
  )
  np.testing.assert_allclose(
    0.8 * robust(*pairs) + 0.2 * robust(*swapped),
    losses.dpo_loss(*pairs, beta=0.7),
    rtol=1e-5,
  )


@pytest.mark.parametrize(
  "loss, minimum",
  [
    # sigmoid(beta h) = 1 - e for both, from opposite KL divergences
    (functools.partial(losses.exo_loss, beta=0.5, label_smoothing=0.1), 0.9),
    (functools.partial(losses.dpo_loss, beta=0.5, label_smoothing=0.1), 0.9),
  ],
)
def test_smoothed_labels_give_a_finite_margin(loss, minimum):
  zero = jnp.zeros(())
  margin = descend(lambda h: loss(h, zero, zero, zero), jnp.float32(0.1))
  np.testing.assert_allclose(jax.nn.sigmoid(0.5 * margin), minimum, atol=1e-3)


def test_sppo_misses_its_step_by_the_normalizer_alone():
  # Over pairs of the last policy, with t = eta (win rate - 1/2), the derivative
  # to the logits is zero where log(policy / last) - t = c policy / last for
  # one c: the constant that a normalized policy cannot regress away.
  last, _, _ = draw_worlds(24, 3, 4)
  win_rates = np.einsum("wij,wj->wi", draw_preferences(25, 3, 4), last)
  weight = jnp.asarray(last[:, :, None] * last[:, None], jnp.float32)

  def objective(policy):
    arrays = (*pairs(policy), *pairs(np.log(last)), *pairs(win_rates))
    return jnp.sum(weight * losses.sppo_loss(*arrays, eta=2.0))

  policy = fit(objective, last)
  residual = np.log(policy / last) - 2.0 * (win_rates - 0.5)
  constant = residual * last / policy
  np.testing.assert_allclose(
    constant, np.broadcast_to(constant[:, :1], constant.shape), atol=1e-3
  )
  # Up to that, it is the step of multiplicative weights.
  step = normalized(last * np.exp(2.0 * win_rates))
  assert np.abs(policy - last).max() > 0.05
  np.testing.assert_allclose(policy, step, atol=0.02)
