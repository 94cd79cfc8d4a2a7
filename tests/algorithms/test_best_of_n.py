"""Best-of-n against the exact distribution of the best sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types


def sampling(samples):
  return rollouts.Sampling(
    samples=samples, max_tokens=2, temperature=1.0, eos_id=1
  )


@pytest.mark.parametrize("samples", [2, 3])
def test_the_expected_gradient_imitates_the_best_of_k(table_world, samples):
  world = table_world
  algorithm = algorithms.best_of_n(world.model, sampling=sampling(samples))
  count = world.responses.ids.shape[1]
  rewards = np.random.default_rng(0).permutation(count).astype(np.float32)
  rollout, indices = world.rollout(samples, world.policy)
  logprobs = world.logprobs(world.policy)
  got = world.expected_gradient(
    algorithm,
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    types.Feedback(rewards=jnp.asarray(rewards[indices])),
    jnp.exp(logprobs[indices].sum(axis=-1)),
  )["policy"]
  # P(best of K = y) = P(reward <= r(y))^K - P(reward < r(y))^K.
  share = np.exp(np.asarray(logprobs))
  up_to = np.array([share[rewards <= r].sum() for r in rewards])
  below = np.array([share[rewards < r].sum() for r in rewards])
  best = jnp.asarray(up_to**samples - below**samples, jnp.float32)

  def objective(policy):
    return -jnp.sum(best * world.logprobs(policy))

  want = jax.jit(jax.grad(objective))(world.policy)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_a_single_sample_has_no_best(table_world):
  with pytest.raises(ValueError, match="best_of_n needs sampling.samples >= 2"):
    algorithms.best_of_n(table_world.model, sampling=sampling(1))
