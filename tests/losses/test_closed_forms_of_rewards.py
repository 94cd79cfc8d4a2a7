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
  own = np.sum(
    behavior * (rewards - tau * np.log(policy / reference)),
    axis=-1,
    keepdims=True,
  )
  tilt = rewards - policy / behavior * (own - wrong[:, None])
  np.testing.assert_allclose(
    policy, normalized(reference * np.exp(tilt / tau)), atol=1e-3
  )
  assert np.abs(policy - normalized(weights)).max() > 0.02


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_copg_finds_the_optimum_from_two_unknown_distributions(beta):
  reference, one, rewards = draw_worlds(10, 3, 5)
  _, other, _ = draw_worlds(11, 3, 5)
  weight = jnp.asarray(one[:, :, None] * other[:, None], jnp.float32)

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
