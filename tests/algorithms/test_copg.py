"""CoPG: the policy gradient on its own samples, and on those of others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types

BETA = 0.3
REWARDS = jnp.asarray(np.random.default_rng(2).normal(size=7), jnp.float32)


def sampling(samples):
  return rollouts.Sampling(
    samples=samples, max_tokens=2, temperature=1.0, eos_id=1
  )


def expected_gradient(world, samples, sampled_by):
  rollout, indices = world.rollout(samples, sampled_by)
  return world.expected_gradient(
    algorithms.copg(world.model, sampling=sampling(samples), beta=BETA),
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    types.Feedback(rewards=REWARDS[indices]),
    jnp.exp(world.logprobs(sampled_by)[indices].sum(axis=-1)),
  )["policy"]


def assert_close(got, want):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), got, want
  )


@pytest.mark.parametrize("samples", [2, 3])
def test_on_its_own_samples_it_is_k_times_the_policy_gradient(
  table_world, samples
):
  want = table_world.exact_gradient(REWARDS, BETA)
  assert_close(
    expected_gradient(table_world, samples, table_world.policy),
    jax.tree.map(lambda a: samples * a, want),
  )


def test_on_the_samples_of_another_the_baseline_is_of_that_policy(table_world):
  # 2 E_mu[(R_beta - E_mu R_beta) grad log policy], section 3 of the paper.
  mu = np.exp(table_world.logprobs(table_world.other))
  regularised = REWARDS - BETA * (
    table_world.logprobs(table_world.policy)
    - table_world.logprobs(table_world.reference)
  )
  regularised = np.asarray(regularised)
  coefficients = jnp.asarray(-2 * mu * (regularised - mu @ regularised))
  want = jax.jit(
    jax.grad(lambda p: jnp.sum(coefficients * table_world.logprobs(p)))
  )(table_world.policy)
  assert_close(expected_gradient(table_world, 2, table_world.other), want)


def test_it_needs_two_samples(table_world):
  with pytest.raises(ValueError, match=r"copg needs sampling.samples >= 2"):
    algorithms.copg(table_world.model, sampling=sampling(1), beta=BETA)
