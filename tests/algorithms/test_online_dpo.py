"""Online DPO against the paper's loss, enumerated; best, worst and ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types

BETA = 0.3


def online_dpo(world, **changes):
  settings = dict(samples=2, max_tokens=2, temperature=1.0, eos_id=1)
  samples = {n: changes.pop(n) for n in ("samples",) if n in changes}
  return algorithms.online_dpo(
    world.model,
    sampling=rollouts.Sampling(**{**settings, **samples}),
    **{"beta": BETA, **changes},
  )


def gradient(world, algorithm, rollout, feedback, chance):
  return world.expected_gradient(
    algorithm,
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    feedback,
    chance,
  )["policy"]


def enumerated(world, wins, chance):
  """Gradient of sum_ij chance_ij wins_ij -log sigmoid(beta (rho_i - rho_j))."""

  def loss(policy):
    ratio = world.logprobs(policy) - world.logprobs(world.reference)
    margin = ratio[:, None] - ratio[None, :]
    return -jnp.sum(chance * wins * jax.nn.log_sigmoid(BETA * margin))

  return jax.jit(jax.grad(loss))(world.policy)


@pytest.mark.parametrize("feedback", ["reward", "preference"])
def test_the_expected_gradient_is_dpo_s_on_the_better_of_two(
  table_world, feedback
):
  """Ordered pairs: the response that is better is chosen; equals give none."""
  world = table_world
  rewards = jnp.asarray([0.0, 2.0, 1.0, 1.0, -1.0, 3.0, 0.0])
  rollout, indices = world.rollout(2, world.policy)
  policy = world.logprobs(world.policy)
  judged, better = {
    "reward": (
      types.Feedback(rewards=rewards[indices]),
      rewards[:, None] > rewards[None, :],
    ),
    "preference": (world.judged(indices), world.preferences() > 0.5),
  }[feedback]
  got = gradient(
    world,
    online_dpo(world, feedback=feedback),
    rollout,
    judged,
    jnp.exp(policy[indices].sum(-1)),
  )
  chance = jnp.exp(policy)[:, None] * jnp.exp(policy)[None, :]
  want = enumerated(world, better.astype(jnp.float32), 2 * chance)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_of_three_the_best_and_the_worst_learn_whatever_the_scale(table_world):
  world = table_world
  algorithm = online_dpo(world, samples=3)
  rollout, indices = world.rollout(3, world.policy)
  row = 7 * 7 * 2 + 7 * 5 + 3  # responses 2, 5 and 3
  assert indices[row].tolist() == [2, 5, 3]
  chance = jnp.zeros(len(indices)).at[row].set(1.0)
  wins = jnp.zeros((7, 7)).at[5, 3].set(1.0)
  want = enumerated(world, wins, jnp.ones((7, 7)))
  for rewards in ([0.1, 0.2, -5.0], [1.0, 8.0, 0.9]):
    feedback = types.Feedback(
      rewards=jnp.broadcast_to(jnp.asarray([rewards]), indices.shape)
    )
    got = gradient(world, algorithm, rollout, feedback, chance)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, want
    )


@pytest.mark.parametrize("feedback", ["reward", "preference"])
def test_ties_give_no_gradient_and_are_counted(table_world, feedback):
  world = table_world
  algorithm = online_dpo(world, feedback=feedback)
  rollout, indices = world.rollout(2, world.policy)
  rows = len(indices)
  tied = {
    "reward": types.Feedback(rewards=jnp.full((rows, 2), 0.7)),
    "preference": types.Feedback(preferences=jnp.full((rows, 2, 2), 0.5)),
  }[feedback]
  got = gradient(world, algorithm, rollout, tied, jnp.ones(rows))
  assert all((leaf == 0).all() for leaf in jax.tree.leaves(got))
  trainable, slow = {"policy": world.policy}, {"reference": world.reference}
  batch = algorithm.rollouts.prepare(trainable, slow, rollout, tied)
  total, metrics = algorithm.loss(trainable, slow, batch, None)
  assert total.value() == 0 and metrics["pairs/tied"].value() == 1


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
  "changes, message",
  [
    ({"samples": 1}, "online_dpo needs sampling.samples >= 2, got 1"),
    ({"beta": 0.0}, "beta must be > 0, got 0.0"),
    ({"feedback": "rank"}, "no judgement 'rank'"),
  ],
)
def test_settings_out_of_range_are_refused(table_world, changes, message):
  with pytest.raises(ValueError, match=message):
    online_dpo(table_world, **changes)
