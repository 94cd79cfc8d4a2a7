"""The contextual bandit with a gold and a proxy reward."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import tabular

WORLD = jax.jit(tabular.contextual_bandit)(jax.random.key(0))


def small(**fields):
  """One prompt, two responses, one feature; reference (1/4, 3/4)."""
  default = {
    "features": jnp.array([[[1.0], [0.0]]]),
    "gold": jnp.array([[1.0, 0.0]]),
    "proxy": jnp.array([[0.0, 1.0]]),
    "log_reference": jnp.log(jnp.array([[0.25, 0.75]])),
  }
  return tabular.ContextualBandit(**default | fields)


def test_the_world_has_the_sizes_and_the_moments_it_says():
  assert WORLD.features.shape == (64, 64, 32)
  for name in ["gold", "proxy", "log_reference"]:
    assert getattr(WORLD, name).shape == (64, 64)
  np.testing.assert_allclose(np.var(WORLD.features), 1 / 32, rtol=0.02)
  np.testing.assert_allclose(
    jnp.sum(jnp.exp(WORLD.log_reference), -1), 1, rtol=1e-5
  )


def residual(features, target):
  """What no linear function of the features explains, and the weights."""
  features = np.asarray(features, float).reshape(-1, 32)
  target = np.asarray(target, float).ravel()
  weights, *_ = np.linalg.lstsq(features, target)
  return np.std(target - features @ weights), weights


def test_gold_and_proxy_are_linear_in_the_features_but_for_their_noise():
  noise, gold = residual(WORLD.features, WORLD.gold)
  np.testing.assert_allclose(noise, 0.3, rtol=0.05)
  # 32 weights of deviation 1.5: the standard error of it is 12.5 %.
  np.testing.assert_allclose(np.std(gold), 1.5, rtol=0.4)
  noise, error = residual(WORLD.features, WORLD.proxy - WORLD.gold)
  np.testing.assert_allclose(noise, 0.3, rtol=0.05)
  np.testing.assert_allclose(np.std(error), 0.7 * 1.5, rtol=0.4)
  # The two directions are drawn independently.
  assert abs(np.corrcoef(gold, error)[0, 1]) < 0.6


def test_a_world_without_proxy_error_trains_on_gold():
  world = tabular.contextual_bandit(
    jax.random.key(1), prompts=3, responses=4, proxy_shift=0.0, proxy_noise=0.0
  )
  np.testing.assert_array_equal(world.proxy, world.gold)


def test_no_weights_are_the_reference():
  policy = tabular.contextual_log_policy(WORLD, jnp.zeros(32))
  np.testing.assert_allclose(policy, WORLD.log_reference, atol=1e-5)
  np.testing.assert_allclose(tabular.reference_kl(WORLD, policy), 0, atol=1e-6)
  np.testing.assert_allclose(
    tabular.gold_win_rate(WORLD, policy), 0.5, atol=1e-6
  )


def test_weights_tilt_the_reference_by_the_features():
  # Odds 1 : 3 times e^log(3) = 1 : 1.
  policy = tabular.contextual_log_policy(small(), jnp.log(jnp.array([3.0])))
  np.testing.assert_allclose(jnp.exp(policy), [[0.5, 0.5]], rtol=1e-6)
  # The first wins with 1/8 + 3/4, the second with 3/8: (7/8 + 3/8) / 2.
  np.testing.assert_allclose(
    tabular.gold_win_rate(small(), policy), 0.625, rtol=1e-6
  )
  expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
  np.testing.assert_allclose(
    tabular.reference_kl(small(), policy), expected, rtol=1e-6
  )


def test_equal_gold_rewards_count_half():
  world = small(gold=jnp.zeros((1, 2)))
  policy = jnp.log(jnp.array([[0.9, 0.1]]))
  np.testing.assert_allclose(
    tabular.gold_win_rate(world, policy), 0.5, rtol=1e-6
  )


def test_the_exact_win_rate_is_what_samples_show():
  policy = tabular.contextual_log_policy(WORLD, jnp.ones(32))
  exact = float(tabular.gold_win_rate(WORLD, policy))
  keys = jax.random.split(jax.random.key(2))
  own = tabular.sample_responses(keys[0], policy, samples=500)
  other = tabular.sample_responses(keys[1], WORLD.log_reference, samples=500)
  assert own.shape == (64, 500)
  gold = np.asarray(WORLD.gold)
  policy_gold, reference = (
    np.take_along_axis(gold, np.asarray(x), 1) for x in (own, other)
  )
  # 32,000 pairs: four standard errors are 0.011.
  sampled = (
    np.mean(policy_gold > reference) + np.mean(policy_gold == reference) / 2
  )
  np.testing.assert_allclose(sampled, exact, atol=0.011)
  assert abs(exact - 0.5) > 0.02


def test_worlds_can_be_stacked():
  single = [
    tabular.contextual_bandit(jax.random.key(seed), prompts=3, responses=4)
    for seed in range(6)
  ]
  worlds = jax.tree.map(lambda *fields: jnp.stack(fields), *single)
  weights = jax.random.normal(jax.random.key(4), (6, 32))
  policy = tabular.contextual_log_policy(worlds, weights)
  rates = tabular.gold_win_rate(worlds, policy)
  assert rates.shape == (6,)
  alone = tabular.contextual_log_policy(single[2], weights[2])
  np.testing.assert_allclose(
    tabular.gold_win_rate(single[2], alone), rates[2], rtol=1e-6
  )


def test_what_does_not_fit_the_world_is_refused():
  # Without the type checker, which is on in tests only.
  with pytest.raises(ValueError, match=r"^weights has shape \(2,\)"):
    inspect.unwrap(tabular.contextual_log_policy)(small(), jnp.zeros(2))
  with pytest.raises(ValueError, match=r"^log_policy has shape \(2,\)"):
    inspect.unwrap(tabular.gold_win_rate)(small(), jnp.zeros(2))
  with pytest.raises(ValueError, match="^responses must be at least 1"):
    tabular.contextual_bandit(jax.random.key(0), responses=0)
  with pytest.raises(ValueError, match="^samples must be at least 1"):
    tabular.sample_responses(jax.random.key(0), jnp.zeros((1, 2)), samples=0)
