"""RLOO against the exact gradient, and on several epochs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types

BETA = 0.3
REWARDS = jnp.asarray(np.random.default_rng(0).normal(size=7), jnp.float32)
NETWORK_REWARDS = jnp.asarray(
  np.random.default_rng(0).normal(size=13), jnp.float32
)


def sampling(**changes):
  return rollouts.Sampling(
    **{
      "samples": 2,
      "max_tokens": 2,
      "temperature": 1.0,
      "eos_id": 1,
      **changes,
    }
  )


def check_expected_gradient(
  world, want, temperature=1.0, rewards=REWARDS, **settings
):
  algorithm = algorithms.rloo(
    world.model,
    sampling=sampling(temperature=temperature),
    beta=BETA,
    **settings,
  )
  rollout, indices = world.rollout(2, world.policy, temperature)
  logprobs = world.logprobs(world.policy, temperature)
  got = world.expected_gradient(
    algorithm,
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    types.Feedback(rewards=rewards[indices]),
    jnp.exp(logprobs[indices].sum(axis=-1)),
  )["policy"]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_expected_gradient_is_that_of_the_regularised_reward(
  table_world, clip
):
  want = table_world.exact_gradient(REWARDS, BETA, 0.7)
  check_expected_gradient(table_world, want, 0.7, clip=clip)


def test_so_it_is_for_a_network(world):
  want = world.exact_gradient(NETWORK_REWARDS, BETA)
  check_expected_gradient(world, want, rewards=NETWORK_REWARDS)


@pytest.mark.parametrize("kl", ["reverse", "forward"])
def test_a_kl_loss_in_place_of_the_reward_follows_its_own_divergence(
  table_world, kl
):
  want = table_world.exact_gradient(REWARDS, BETA, kl=kl)
  check_expected_gradient(table_world, want, kl=kl)


def test_it_needs_two_samples(table_world):
  with pytest.raises(ValueError, match=r"rloo needs sampling.samples >= 2"):
    algorithms.rloo(table_world.model, sampling=sampling(samples=1), beta=BETA)
