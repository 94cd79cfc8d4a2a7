"""J-BOND against the exact gradient of its objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types


def sampling(samples=1):
  return rollouts.Sampling(
    samples=samples, max_tokens=2, temperature=1.0, eos_id=1
  )


@pytest.mark.parametrize("beta, gamma", [(0.0, 0.0), (1.0, 0.0), (0.4, 0.7)])
def test_the_expected_gradient_is_that_of_both_divergences(
  table_world, beta, gamma
):
  world = table_world
  anchor = world.other
  algorithm = algorithms.jbond(
    world.model, sampling=sampling(), beta=beta, gamma=gamma, eta=0.1
  )
  count = world.responses.ids.shape[1]
  rewards = np.random.default_rng(0).permutation(count).astype(np.float32)
  # A sample of the policy, then two of the anchor.
  rollout, indices = world.rollout(1, world.policy, opponents=2)
  policy, under_anchor = world.logprobs(world.policy), world.logprobs(anchor)
  got = world.gradient_of_prepared(
    algorithm,
    {"policy": world.policy},
    {"reference": world.reference, "anchor": anchor},
    rollout,
    types.Feedback(
      rewards=jnp.asarray(rewards[indices[:, :1]]),
      opponents=jnp.asarray(rewards[indices[:, 1:]]),
    ),
    jnp.exp(policy[indices[:, 0]] + under_anchor[indices[:, 1:]].sum(axis=-1)),
  )["policy"]
  share = np.exp(np.asarray(under_anchor))
  up_to = np.array([share[rewards <= r].sum() for r in rewards])
  below = np.array([share[rewards < r].sum() for r in rewards])
  best_of_two = jnp.asarray(up_to**2 - below**2, jnp.float32)
  # -log 16 if both samples of the anchor are better.
  reward = jnp.asarray(-np.log(16) * (1 - up_to) ** 2, jnp.float32)

  def objective(params):
    logprobs = world.logprobs(params)
    probabilities = jnp.exp(logprobs)
    ratio = logprobs - under_anchor
    forward = -jnp.sum(best_of_two * logprobs)
    backward = -jnp.sum(probabilities * (reward - ratio))
    divergence = jnp.sum(probabilities * ratio)
    return (1 - beta) * forward + beta * backward + gamma * divergence

  want = jax.jit(jax.grad(objective))(world.policy)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_the_anchor_follows_the_policy_slowly(table_world):
  algorithm = algorithms.jbond(
    table_world.model, sampling=sampling(), beta=0.5, gamma=0.0, eta=0.25
  )
  _, slow = algorithm.init(jax.random.key(0), table_world.policy)
  moved = {"policy": table_world.other}
  _, after = algorithm.refresh(moved, slow, 1, {})
  for old, new, got in zip(
    jax.tree.leaves(table_world.policy),
    jax.tree.leaves(table_world.other),
    jax.tree.leaves(after["anchor"]),
    strict=True,
  ):
    np.testing.assert_allclose(got, 0.75 * old + 0.25 * new, rtol=1e-5)
  assert after["reference"] is slow["reference"]


def test_the_opponents_are_two_responses_of_the_anchor(table_world):
  # The policy never ends a response, the anchor ends it at once.
  def tilted(logit):
    return jax.tree.map(lambda a: a.at[..., 1].set(logit), table_world.policy)

  algorithm = algorithms.jbond(
    table_world.model, sampling=sampling(3), beta=0.5, gamma=0.0, eta=0.1
  )
  prompt = jax.tree.map(lambda a: jnp.repeat(a, 4, axis=0), table_world.prompt)
  rollout = algorithm.rollouts.sample(
    {"policy": tilted(-50.0)},
    {"anchor": tilted(50.0)},
    types.Prompts(prompt),
    jax.random.key(0),
  )
  np.testing.assert_array_equal(rollout.ended, [[False] * 3] * 4)
  np.testing.assert_array_equal(
    rollout.responses.mask.sum(axis=-1), [[2, 2, 2]] * 4
  )
  np.testing.assert_array_equal(
    rollout.opponents.mask.sum(axis=-1), [[1, 1]] * 4
  )
  np.testing.assert_array_equal(rollout.opponents.ids[..., 0], [[1, 1]] * 4)


def test_each_of_several_samples_meets_the_same_two_of_the_anchor(table_world):
  algorithm = algorithms.jbond(
    table_world.model, sampling=sampling(2), beta=0.5, gamma=0.0, eta=0.1
  )
  rollout, indices = table_world.rollout(2, table_world.policy, opponents=2)
  rewards = np.arange(7, dtype=np.float32)[indices]
  batch = algorithm.rollouts.prepare(
    {"policy": table_world.policy},
    {"reference": table_world.reference, "anchor": table_world.other},
    rollout,
    types.Feedback(
      rewards=jnp.asarray(rewards[:, :2]),
      opponents=jnp.asarray(rewards[:, 2:]),
    ),
  )
  worse = rewards[:, 2:].min(axis=-1, keepdims=True)
  np.testing.assert_allclose(
    batch.extra["rewards"],
    np.where(rewards[:, :2] < worse, -np.log(16), 0),
    rtol=1e-6,
  )
  best = np.argmax(rewards[:, 2:], axis=-1)
  np.testing.assert_array_equal(
    batch.extra["best_of_anchor"].ids[:, 0],
    np.asarray(rollout.opponents.ids)[np.arange(len(indices)), best],
  )


def test_a_rate_beyond_one_is_refused(table_world):
  with pytest.raises(ValueError, match="eta"):
    algorithms.jbond(
      table_world.model, sampling=sampling(), beta=0.5, gamma=0.0, eta=1.5
    )
