"""RCfD against the exact gradient of its calibrated reward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types
from alignment_jax.algorithms.rcfd import alignment

BETA = 0.3


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


def rollout_beside(world, count):
  """All rollouts; the demonstration has a place of its own, the fourth."""
  rollout, indices = world.rollout(count, world.policy)
  demonstration = jax.tree.map(
    lambda a: jnp.repeat(a[:, 3], len(indices), axis=0), world.responses
  )
  return rollout.replace(demonstration=demonstration), indices


def rewards_of(world, seed=0):
  count = world.responses.ids.shape[1]
  return jnp.asarray(np.random.default_rng(seed).normal(size=count) * 3)


@pytest.mark.parametrize("beta", [0.0, BETA])
def test_the_expected_gradient_is_that_of_the_calibrated_reward(
  table_world, beta
):
  world = table_world
  algorithm = algorithms.rcfd(world.model, sampling=sampling(), beta=beta)
  rewards = jnp.asarray(rewards_of(world), jnp.float32)
  rollout, indices = rollout_beside(world, 2)
  logprobs = world.logprobs(world.policy)
  got = world.gradient_of_prepared(
    algorithm,
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    types.Feedback(
      rewards=rewards[indices][..., None],
      demonstration=jnp.full((len(indices), 1), rewards[3]),
    ),
    jnp.exp(logprobs[indices].sum(axis=-1)),
  )["policy"]
  # In the rollouts every response occurs as often as any other.
  calibrated = -np.square(np.asarray(rewards) - float(rewards[3]))
  standard = (calibrated - calibrated.mean()) / calibrated.std()

  def objective(policy):
    logprobs = world.logprobs(policy)
    ratio = logprobs - world.logprobs(world.reference)
    return -jnp.sum(
      jnp.exp(logprobs) * (jnp.asarray(standard, jnp.float32) - beta * ratio)
    )

  want = jax.jit(jax.grad(objective))(world.policy)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def prepared(world, rewards, demonstration, **changes):
  """The batch of all rollouts, by the rewards [N, n] of n judges."""
  algorithm = algorithms.rcfd(world.model, sampling=sampling(**changes))
  judges = rewards.shape[1]
  rollout, indices = rollout_beside(world, 2)
  return algorithm.rollouts.prepare(
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    types.Feedback(
      rewards=jnp.asarray(rewards[indices], jnp.float32),
      demonstration=jnp.broadcast_to(
        jnp.asarray(demonstration, jnp.float32), (len(indices), judges)
      ),
    ),
  )


def test_scaling_and_shifting_the_judge_changes_no_advantage(table_world):
  rewards = jnp.asarray(rewards_of(table_world), jnp.float32)

  def advantages(scale, shift):
    changed = scale * rewards[:, None] + shift
    return prepared(table_world, changed, changed[3]).extra["advantages"]

  np.testing.assert_allclose(
    advantages(2.0, 5.0), advantages(1.0, 0.0), atol=1e-4
  )


def test_a_missing_end_brings_no_reward_nearer_to_the_demonstration(
  table_world,
):
  # All rewards are 1 above the demonstration's, and the penalty is 1: taken off
  # the reward itself, it would make what did not end the best.
  batch = prepared(
    table_world, jnp.ones((7, 1)), jnp.zeros(1), missing_eos_penalty=1.0
  )
  ended = batch.rollout.ended
  one_ended = ended[:, 0] & ~ended[:, 1]
  assert bool(jnp.any(one_ended))
  assert bool(jnp.all(batch.extra["advantages"][one_ended, 0] > 0))


def test_several_rewards_are_calibrated_each_by_itself_and_added(table_world):
  world = table_world
  rewards = np.stack([rewards_of(world, 0), 100 * rewards_of(world, 1)], -1)

  batch = prepared(world, rewards, rewards[3])
  # In the rollouts every response occurs as often as any other.
  calibrated = -np.square(rewards - rewards[3])
  standard = (calibrated - calibrated.mean(0)) / calibrated.std(0)
  composite = (1 / (1 + np.exp(-standard))).sum(-1)
  composite = (composite - composite.mean()) / composite.std()
  _, indices = rollout_beside(world, 2)
  want = composite[indices] - composite[indices][:, ::-1]  # less the other one
  np.testing.assert_allclose(batch.extra["advantages"], want, atol=1e-4)
  np.testing.assert_allclose(
    batch.feedback.rewards, rewards.sum(-1)[indices], rtol=1e-5, atol=1e-4
  )


def test_the_weight_of_a_judge_in_a_sum_changes_no_advantage(table_world):
  world = table_world
  rewards = np.stack([rewards_of(world, 0), rewards_of(world, 1)], -1)

  def advantages(*weights):
    weighted = rewards * weights
    return prepared(world, weighted, weighted[3]).extra["advantages"]

  np.testing.assert_allclose(
    advantages(-5.0, 0.5), advantages(1.0, 1.0), atol=1e-4
  )


def test_alignment_is_the_divergence_of_two_histograms():
  # Two bins of ten are used; with one more in each: (2, 1, .., 1, 1) / 11 and
  # (1, 1, .., 1, 2) / 11, of which two terms differ.
  got = alignment(jnp.array([0.0]), jnp.array([1.0]))
  assert got == pytest.approx(2 / 11 * np.log(2) - 1 / 11 * np.log(2))
  same = jnp.array([0.3, 0.7, 0.9])
  assert alignment(same, same) == pytest.approx(0, abs=1e-6)
  assert alignment(jnp.ones(3), jnp.ones(4)) < 0.02
