"""Descend a loss of rewards or demonstrations to its optimum, and compare."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses
from tests.bandit_worlds import descend, draw_worlds, fit, normalized, pairs


def _fit_dro(reference, behavior, rewards, tau, values=None):
  """Policy and values; the policy alone where `values` are given."""
  log_reference, weight, rewards = (
    jnp.asarray(x, jnp.float32) for x in (np.log(reference), behavior, rewards)
  )

  def objective(params):
    policy = jax.nn.log_softmax(params["logits"])
    per_prompt = params["values"] if values is None else values
    arrays = (
      policy,
      log_reference,
      rewards,
      jnp.broadcast_to(per_prompt[:, None], policy.shape),
    )
    loss = losses.dro_policy_loss(*arrays, tau=tau)
    if values is None:
      loss += losses.dro_value_loss(*arrays, tau=tau)
    return jnp.sum(weight * loss)

  params = descend(
    objective,
    {"logits": log_reference, "values": jnp.zeros(len(reference))},
  )
  return np.asarray(jax.nn.softmax(params["logits"])), params["values"]


@pytest.mark.parametrize("tau", [0.5, 1.0])
@pytest.mark.parametrize("worlds, actions", [(1, 3), (3, 5)])
def test_dro_finds_the_optimum_and_its_value_from_other_data(
  worlds, actions, tau
):
  reference, behavior, rewards = draw_worlds(4, worlds, actions)
  # pi* = ref exp(r / tau) / Z and V* = tau log Z, though mu is not ref
  weights = reference * np.exp(rewards / tau)
  policy, values = _fit_dro(reference, behavior, rewards, tau)
  np.testing.assert_allclose(policy, normalized(weights), atol=1e-3)
  np.testing.assert_allclose(
    values, tau * np.log(weights.sum(axis=-1)), atol=1e-3
  )


def test_dro_with_a_wrong_value_ends_where_proposition_one_says():
  tau = 0.5
  reference, behavior, rewards = draw_worlds(5, 2, 4)
  weights = reference * np.exp(rewards / tau)
  wrong = tau * np.log(weights.sum(axis=-1)) + 1.0
  policy, _ = _fit_dro(
    reference, behavior, rewards, tau, jnp.asarray(wrong, jnp.float32)
  )
  # pi = ref exp((r - (pi / mu) (V_pi - V)) / tau) / Z,
  # with V_pi = E_mu[r - tau log(pi / ref)]
  mean_residual = np.sum(
    behavior * (rewards - tau * np.log(policy / reference)),
    axis=-1,
    keepdims=True,
  )
  tilt = rewards - policy / behavior * (mean_residual - wrong[:, None])
  np.testing.assert_allclose(
    policy, normalized(reference * np.exp(tilt / tau)), atol=1e-3
  )
  assert np.abs(policy - normalized(weights)).max() > 0.02


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_copg_finds_the_optimum_from_two_unknown_distributions(beta):
  reference, first, rewards = draw_worlds(10, 3, 5)
  _, second, _ = draw_worlds(11, 3, 5)
  weight = jnp.asarray(first[:, :, None] * second[:, None], jnp.float32)

  def objective(policy):
    arrays = (*pairs(policy), *pairs(np.log(reference)), *pairs(rewards))
    return jnp.sum(weight * losses.copg_loss(*arrays, beta=beta))

  expected = normalized(reference * np.exp(rewards / beta))
  np.testing.assert_allclose(fit(objective, reference), expected, atol=1e-3)


def test_copg_of_groups_finds_the_same_optimum():
  reference, _, rewards = draw_worlds(12, 3, 5)

  def objective(policy):
    return losses.copg_group_loss(
      policy,
      jnp.asarray(np.log(reference), jnp.float32),
      jnp.asarray(rewards, jnp.float32),
      beta=0.7,
    ).sum()

  expected = normalized(reference * np.exp(rewards / 0.7))
  np.testing.assert_allclose(fit(objective, reference), expected, atol=1e-3)


def test_dro_over_a_batch_of_one_prompt_needs_no_value():
  reference, _, rewards = draw_worlds(13, 1, 6)

  def objective(policy):
    return losses.dro_batch_variance_loss(
      policy,
      jnp.asarray(np.log(reference), jnp.float32),
      jnp.asarray(rewards, jnp.float32),
      tau=0.7,
    ).sum()

  expected = normalized(reference * np.exp(rewards / 0.7))
  np.testing.assert_allclose(fit(objective, reference), expected, atol=1e-3)


@pytest.mark.parametrize(
  "lam, expected",
  [
    (0.1, (0.55593, 0.31252, 0.10136, 0.03018)),
    (1.0, (0.40777, 0.33030, 0.18277, 0.07916)),
  ],
)
def test_soft_q_on_one_step_evens_out_the_demonstrated_actions(lam, expected):
  # Stationary at pi(a) = p(a) (1 - 2 lam Q(a)), with sum p Q = 0.
  expert = jnp.asarray([0.6, 0.3, 0.08, 0.02])

  def objective(logits):
    values = jnp.broadcast_to(jax.nn.logsumexp(logits), (4, 1))
    loss = losses.soft_q_loss(
      logits[:, None],
      values,
      jnp.ones((4, 1), bool),
      jnp.ones(4, bool),
      lam=lam,
    )
    return jnp.sum(expert * loss[:, 0])

  q = np.asarray(descend(objective, jnp.zeros(4)), np.float64)
  policy = np.exp(q) / np.exp(q).sum()
  np.testing.assert_allclose(policy, expected, atol=1e-3)
  np.testing.assert_allclose(
    policy, np.asarray(expert) * (1 - 2 * lam * q), atol=1e-3
  )
  assert abs(np.asarray(expert) @ q) < 1e-3


def test_gail_learns_the_log_ratio_of_densities():
  expert, policy = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
  weight = jnp.asarray([*expert, *policy], jnp.float32)
  is_expert = jnp.asarray([True] * 3 + [False] * 3)

  def objective(logits):
    both = jnp.concatenate([logits, logits])
    return jnp.sum(weight * losses.gail_discriminator_loss(both, is_expert))

  logits = descend(objective, jnp.zeros(3))
  np.testing.assert_allclose(logits, np.log(expert / policy), atol=1e-3)


def test_a_preference_model_learns_the_share_of_raters():
  share = jnp.asarray([0.1, 0.5, 0.97])
  logits = descend(
    lambda x: losses.preference_model_loss(x, share).sum(), jnp.zeros(3)
  )
  np.testing.assert_allclose(jax.nn.sigmoid(logits), share, atol=1e-3)


def test_a_reward_model_finds_the_rewards_of_bradley_terry_raters():
  _, behavior, rewards = draw_worlds(23, 3, 4)
  wins = 1 / (1 + np.exp(rewards[:, None] - rewards[:, :, None]))
  weight = behavior[:, :, None] * behavior[:, None] * wins
  weight = jnp.asarray(weight, jnp.float32)

  def objective(learned):
    return jnp.sum(weight * losses.bradley_terry_loss(*pairs(learned)))

  learned = descend(objective, jnp.zeros((3, 4)))
  np.testing.assert_allclose(
    learned - learned[:, :1], rewards - rewards[:, :1], atol=2e-3
  )


def _good_and_bad(reference, policy, beta):
  """Shares of good and of bad responses for which `policy` is the optimum.

  A classifier of good against bad is best at r = log(good / bad). For
  r = beta log(policy / reference) take w sigmoid(r) and w sigmoid(-r) with w
  such that both add up to one: w = 1 / |tanh(r / 2)|, shared out evenly on the
  side of r > 0 and on that of r < 0, makes sum w tanh(r / 2) = 0.
  """
  r = beta * np.log(policy / reference)
  counts = np.where(r > 0, (r > 0).sum(), (r < 0).sum())
  w = 1 / (counts * np.abs(np.tanh(r / 2)))
  good, bad = w / (1 + np.exp(-r)), w / (1 + np.exp(r))
  np.testing.assert_allclose(good.sum(), bad.sum())
  return good / good.sum(), bad / bad.sum()


REFERENCE = np.asarray([0.4, 0.3, 0.2, 0.1])
OPTIMUM = np.asarray([0.5, 0.1, 0.15, 0.25])


def test_bco_of_pairs_finds_the_policy_whose_rewards_classify_best():
  good, bad = _good_and_bad(REFERENCE, OPTIMUM, 0.7)
  # The chosen response is drawn from the good ones, the other from the bad.
  weight = jnp.asarray(good[None, :, None] * bad[None, None], jnp.float32)

  def objective(policy):
    arrays = (*pairs(policy), *pairs(np.log(REFERENCE)[None]))
    return jnp.sum(weight * losses.bco_pair_loss(*arrays, beta=0.7))

  policy = fit(objective, REFERENCE[None])
  np.testing.assert_allclose(policy[0], OPTIMUM, atol=1e-3)


def test_bco_takes_its_shift_for_the_normalizer():
  # With good and bad of any kind, r - shift = log(good / bad) where the policy
  # is reference (good / bad)^(1 / beta) / Z and the shift -beta log Z.
  beta = 0.7
  good, bad = np.asarray([0.5, 0.2, 0.2, 0.1]), np.asarray([0.1, 0.3, 0.2, 0.4])
  weights = REFERENCE * (good / bad) ** (1 / beta)
  shift = jnp.float32(-beta * np.log(weights.sum()))
  log_reference = jnp.asarray(np.log(REFERENCE), jnp.float32)

  def objective(policy):
    loss = losses.bco_unpaired_loss(
      jnp.concatenate([policy[0], policy[0]]),
      jnp.concatenate([log_reference, log_reference]),
      jnp.arange(8) < 4,
      shift,
      beta=beta,
    )
    return jnp.sum(jnp.asarray([*good, *bad], jnp.float32) * loss)

  policy = fit(objective, REFERENCE[None])
  np.testing.assert_allclose(policy[0], normalized(weights), atol=1e-3)


def test_nca_on_samples_of_the_reference_finds_the_chosen_ones():
  # Both responses of a pair come from the reference and p is who wins: the
  # chosen ones have 2 ref(y) sum_y' ref(y') p(y, y') and half of all responses
  # are chosen. At beta 1, r = log(2 chosen / (chosen + rejected)) is the
  # log-ratio of the distribution of the chosen ones to the reference.
  wins = np.asarray([[0.5, 0.9, 0.3], [0.1, 0.5, 0.8], [0.7, 0.2, 0.5]])
  reference = np.asarray([0.5, 0.3, 0.2])
  chosen = 2 * reference * (wins @ reference)
  weight = jnp.asarray(
    (2 * wins * reference[:, None] * reference)[None], jnp.float32
  )

  def objective(policy):
    arrays = (*pairs(policy), *pairs(np.log(reference)[None]))
    return jnp.sum(weight * losses.nca_loss(*arrays, beta=1.0))

  policy = fit(objective, reference[None])
  np.testing.assert_allclose(policy[0], chosen, atol=1e-3)
  assert np.abs(chosen - reference).max() > 0.05


@pytest.mark.parametrize("side", [-1, 1])
def test_a_value_moves_to_its_return_but_no_further_than_its_clip(side):
  def loss(value, target):
    return losses.ppo_value_loss(
      value, jnp.float32(0.0), jnp.float32(target), clip=0.5
    )

  near = descend(lambda v: loss(v, 0.3 * side), jnp.float32(0.0))
  np.testing.assert_allclose(near, 0.3 * side, atol=1e-3)
  # A return of 2 is past the clip: the slope is value - return up to 0.5, and
  # then nothing, though the value is not there yet.
  slopes = [jax.grad(loss)(jnp.float32(side * v), 2.0 * side) for v in (0.4, 1)]
  np.testing.assert_allclose(slopes, [-1.6 * side, 0], rtol=1e-6)
