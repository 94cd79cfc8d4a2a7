"""Nash-EMA against the exact gradient, and the recursion of its opponent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts

TAU, DECAY = 0.2, 0.75


def nash_ema(world, **changes):
  sampling = rollouts.Sampling(
    samples=1, max_tokens=2, temperature=1.0, eos_id=1
  )
  return algorithms.nash_ema(
    world.model, sampling=sampling, **{"tau": TAU, "decay": DECAY, **changes}
  )


def test_the_expected_gradient_is_that_of_the_game_against_the_average(
  table_world,
):
  world = table_world
  policy, average = world.logprobs(world.policy), world.logprobs(world.other)
  rollout, indices = world.rollout(1, world.policy, opponents=1)
  got = world.expected_gradient(
    nash_ema(world),
    {"policy": world.policy},
    {"reference": world.reference, "average": world.other},
    rollout,
    world.judged(indices, 1),
    jnp.exp(policy[indices[:, 0]] + average[indices[:, 1]]),
  )["policy"]
  want = world.game_gradient(average, tau=TAU)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_the_opponent_is_an_average_that_remembers(table_world):
  """theta_0, then 3/4 of the average and 1/4 of the policy, twice."""
  world = table_world
  algorithm = nash_ema(world)
  _, slow = algorithm.init(jax.random.key(0), world.reference)
  first, second = world.policy["first"], world.other["first"]
  for step, policy in enumerate([world.policy, world.other], start=1):
    _, slow = algorithm.refresh({"policy": policy}, slow, jnp.asarray(step), {})
  start = world.reference["first"]
  np.testing.assert_allclose(
    slow["average"]["first"],
    0.75 * (0.75 * start + 0.25 * first) + 0.25 * second,
    rtol=1e-6,
  )
  np.testing.assert_array_equal(slow["reference"]["first"], start)


def test_a_decay_out_of_range_is_refused(table_world):
  with pytest.raises(ValueError, match=r"decay must be in \[0, 1\], got 1.1"):
    nash_ema(table_world, decay=1.1)
