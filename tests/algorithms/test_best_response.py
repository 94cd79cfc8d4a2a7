"""The best response against the exact gradient of the game."""

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax import algorithms, rollouts

TAU = 0.2


def best_response(world, **changes):
  settings = dict(samples=1, max_tokens=2, temperature=1.0, eos_id=1)
  sampling = rollouts.Sampling(**{**settings, **changes})
  return algorithms.best_response(world.model, sampling=sampling, tau=TAU)


def test_the_expected_gradient_is_that_of_the_game_against_the_reference(
  table_world,
):
  world = table_world
  policy = world.logprobs(world.policy)
  reference = world.logprobs(world.reference)
  rollout, indices = world.rollout(1, world.policy, opponents=1)
  got = world.expected_gradient(
    best_response(world),
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    world.judged(indices, 1),
    jnp.exp(policy[indices[:, 0]] + reference[indices[:, 1]]),
  )["policy"]
  want = world.game_gradient(reference, tau=TAU)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_a_response_that_ends_beats_one_that_does_not(table_world):
  world = table_world
  rollout, indices = world.rollout(1, world.policy, opponents=1)
  algorithm = best_response(world, missing_eos_penalty=1.0)
  slow = {"reference": world.reference}
  batch = algorithm.rollouts.prepare(
    {}, slow, rollout, world.judged(indices, 1)
  )
  own = np.asarray(rollout.ended)[:, 0]
  other = np.asarray(world.rollout(2, world.policy)[0].ended)[:, 1]
  wins = np.asarray(batch.extra["win_rates"])[:, 0]
  assert (wins[own & ~other] == 1).all() and (wins[~own & other] == 0).all()
  np.testing.assert_array_equal(
    wins[own == other], world.judged(indices, 1).preferences[own == other, 0, 0]
  )
  _, metrics = algorithm.loss({"policy": world.policy}, slow, batch, None)
  np.testing.assert_allclose(
    metrics["win_rate"].value(), wins.mean(), rtol=1e-6
  )
  # Only the policy's responses learn.
  assert batch.rollout.responses.ids.shape == (len(indices), 1, 2)
