"""Self-play against the exact gradient of the game."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts

TAU = 0.2


def self_play(world, samples):
  sampling = rollouts.Sampling(
    samples=samples, max_tokens=2, temperature=1.0, eos_id=1
  )
  return algorithms.self_play(world.model, sampling=sampling, tau=TAU)


@pytest.mark.parametrize("samples", [2, 3])
def test_the_expected_gradient_is_that_of_the_game_against_itself(
  table_world, samples
):
  world = table_world
  policy = world.logprobs(world.policy)
  rollout, indices = world.rollout(samples, world.policy)
  got = world.expected_gradient(
    self_play(world, samples),
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    world.judged(indices),
    jnp.exp(policy[indices].sum(-1)),
  )["policy"]
  want = world.game_gradient(policy, tau=TAU)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_it_needs_two_samples(table_world):
  with pytest.raises(
    ValueError, match=r"self_play needs sampling.samples >= 2, got 1"
  ):
    self_play(table_world, 1)
