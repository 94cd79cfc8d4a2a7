"""WARP: each member's exact gradient, and what a phase ends with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, models, rollouts, types

BETA, MU, ETA = 0.4, 0.25, 0.3


def method(model, **changes):
  sampling = rollouts.Sampling(
    samples=2, max_tokens=2, temperature=1.0, eos_id=1
  )
  return algorithms.warp(
    model,
    **{
      "sampling": sampling,
      "beta": BETA,
      "mu": MU,
      "eta": ETA,
      "phase": 2,
      **changes,
    },
  )


def test_each_member_follows_its_own_regularised_reward(table_world):
  world = table_world
  algorithm = method(world.model)
  trainable = {"policy": world.policy, "member_2": world.other}
  anchors = {"policy": world.other, "member_2": world.reference}
  rewards = jnp.asarray(np.random.default_rng(0).normal(size=7), jnp.float32)
  # Two samples of the policy, two of the other member.
  rollout, indices = world.rollout(4, world.policy)
  tokens = world.token_logprobs(world.other)[indices]
  rollout = rollout.replace(
    logprobs=rollout.logprobs.at[:, 2:].set(tokens[:, 2:])
  )
  one, two = world.logprobs(world.policy), world.logprobs(world.other)
  got = world.expected_gradient(
    algorithm,
    trainable,
    {"reference": world.reference, "anchors": anchors},
    rollout,
    types.Feedback(rewards=rewards[indices]),
    jnp.exp(
      one[indices[:, :2]].sum(axis=-1) + two[indices[:, 2:]].sum(axis=-1)
    ),
  )
  for name, params in trainable.items():

    def objective(params, name=name):
      logprobs = world.logprobs(params)
      ratio = logprobs - world.logprobs(anchors[name])
      return -jnp.sum(jnp.exp(logprobs) * (rewards - BETA * ratio))

    want = jax.jit(jax.grad(objective))(params)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got[name], want
    )


def test_members_sample_apart(table_world):
  # One never ends a response, the other ends it at once.
  def tilted(logit):
    return jax.tree.map(lambda a: a.at[..., 1].set(logit), table_world.policy)

  prompt = jax.tree.map(lambda a: jnp.repeat(a, 4, axis=0), table_world.prompt)
  rollout = method(table_world.model).rollouts.sample(
    {"policy": tilted(-50.0), "member_2": tilted(50.0)},
    {},
    types.Prompts(prompt),
    jax.random.key(0),
  )
  np.testing.assert_array_equal(rollout.ended, [[False, False, True, True]] * 4)
  # Each under its own parameters: what it does is nearly certain of the end.
  np.testing.assert_allclose(rollout.logprobs[:, 2:], 0, atol=1e-6)


def halfway(start, one, two):
  """Spherical interpolation of two task vectors, as one vector each."""
  one, two = one - start, two - start
  angle = np.arccos(
    np.sum(one * two) / np.linalg.norm(one) / np.linalg.norm(two)
  )
  return start + np.sin(angle / 2) / np.sin(angle) * (one + two)


@pytest.fixture(scope="module")
def phases():
  """A stacked decoder: states before, after one and after two updates."""
  model = models.make_model(
    "decoder_tiny", vocabulary_size=4, layers=2, width=4, heads=1, kv_heads=1,
    head_width=4, mlp_width=4,
  )  # fmt: skip
  algorithm = method(model)
  start, one, two = (
    jax.jit(model.init)(jax.random.key(seed)) for seed in range(3)
  )
  _, slow = algorithm.init(jax.random.key(0), start)
  members = {"policy": one, "member_2": two}
  refresh = jax.jit(algorithm.refresh)
  first = refresh(members, slow, 1, {})
  second = refresh(members, first[1], 2, {})
  return start, members, first, second


def test_before_the_end_of_a_phase_only_the_anchors_move(phases):
  start, members, (trainable, slow), _ = phases
  jax.tree.map(np.testing.assert_array_equal, trainable, members)
  jax.tree.map(np.testing.assert_array_equal, slow["start"], start)
  for name, params in members.items():
    jax.tree.map(
      lambda old, new, got: np.testing.assert_allclose(
        got, (1 - MU) * old + MU * new, rtol=1e-5, atol=1e-6
      ),
      start,
      params,
      slow["anchors"][name],
    )


def test_a_phase_ends_with_one_policy_merged_layer_by_layer(phases):
  start, members, _, (trainable, slow) = phases
  everything = [
    trainable["policy"],
    trainable["member_2"],
    slow["anchors"]["policy"],
    slow["anchors"]["member_2"],
  ]
  for tree in everything:
    jax.tree.map(np.testing.assert_array_equal, tree, slow["start"])

  def check(get, layers):
    old, one, two, got = (
      np.asarray(get(tree))
      for tree in (start, members["policy"], members["member_2"], slow["start"])
    )
    rows = range(len(old)) if layers else [slice(None)]
    for row in rows:
      merged = halfway(old[row], one[row], two[row])
      np.testing.assert_allclose(
        got[row], (1 - ETA) * old[row] + ETA * merged, rtol=1e-4, atol=1e-6
      )

  check(lambda tree: tree["blocks"]["mlp"]["up"]["kernel"], layers=True)
  check(lambda tree: tree["embedding"]["table"], layers=False)


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"members": 1}, "members must be >= 2, got 1"),
    ({"phase": 0}, "phase"),
    ({"eta": 1.5}, "eta"),
    ({"mu": -0.1}, "mu"),
  ],
)
def test_settings_out_of_range_are_refused(table_world, changes, message):
  with pytest.raises(ValueError, match=message):
    method(table_world.model, **changes)
