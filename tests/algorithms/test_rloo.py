"""RLOO against the exact gradient, and on several epochs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms
from alignment_jax.algorithms import online

BETA = 0.3


def sampling(**changes):
  return online.Sampling(
    **{
      "samples": 2,
      "max_tokens": 2,
      "temperature": 1.0,
      "eos_id": 1,
      **changes,
    }
  )


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("clip", [0.0, 0.2])
def test_the_expected_gradient_is_that_of_the_regularised_reward(
  world, clip, temperature
):
  algorithm = algorithms.rloo(
    world.model,
    sampling=sampling(temperature=temperature),
    beta=BETA,
    clip=clip,
  )
  rewards = jnp.asarray(np.random.default_rng(0).normal(size=13), jnp.float32)
  rollout, places = world.rollout(2, world.policy, temperature)
  logprobs = world.logprobs(world.policy, temperature)
  got = world.expected_gradient(
    algorithm,
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    rewards[places],
    jnp.exp(logprobs[places].sum(axis=-1)),
  )["policy"]

  def objective(policy):
    logprobs = world.logprobs(policy, temperature)
    ratio = logprobs - world.logprobs(world.reference, temperature)
    return -jnp.sum(jnp.exp(logprobs) * (rewards - BETA * ratio))

  want = jax.jit(jax.grad(objective))(world.policy)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_it_needs_two_samples(world):
  with pytest.raises(ValueError, match=r"rloo needs sampling.samples >= 2"):
    algorithms.rloo(world.model, sampling=sampling(samples=1), beta=BETA)
