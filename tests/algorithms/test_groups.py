"""GRPO, Dr. GRPO, DAPO and GSPO against their papers' formulas in NumPy.

The expected gradient, over all ways to sample K = 3 responses with an older
policy, is sum_y c[y] grad log policy(y): the coefficients c are added up here
token by token from the papers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types

K, EPSILON = 3, 1e-4
LOW, HIGH, BETA = 0.4, 0.9, 0.05
# Few values, so that groups whose rewards are all equal occur.
REWARDS = np.array([0.0, 1.0, 1.0, 0.0, 2.0, 1.0, 0.0], np.float32)


def sampling(samples=K):
  return rollouts.Sampling(
    samples=samples, max_tokens=2, temperature=1.0, eos_id=1
  )


def method(world, name, samples=K, **settings):
  return algorithms.ALGORITHMS[name].factory(
    world.model, sampling=sampling(samples), **settings
  )


def slope(ratio, advantage, low, high):
  """Of -min(r A, clip(r) A) in log r."""
  if advantage > 0 and ratio > 1 + high or advantage < 0 and ratio < 1 - low:
    return 0.0
  return -advantage * ratio


def centred(rewards):
  return rewards - rewards.mean()


def scaled(rewards):
  return centred(rewards) / (rewards.std(ddof=1) + EPSILON)


def grpo(row):
  """Mean over responses of the mean over tokens; k3 of each token."""
  advantages = scaled(row.rewards)
  for k, length in enumerate(row.lengths):
    for t in range(length):
      kl = BETA * (1 - np.exp(row.reference[k, t] - row.policy[k, t]))
      gain = slope(row.ratios[k, t], advantages[k], LOW, LOW)
      yield k, t, (gain + kl) / (K * length)


def dr_grpo(row):
  """No deviation; the sum over tokens by the largest length, 2."""
  advantages = centred(row.rewards)
  for k, length in enumerate(row.lengths):
    for t in range(length):
      gain = slope(row.ratios[k, t], advantages[k], LOW, LOW)
      yield k, t, gain / (K * 2)


def gspo(row):
  """One ratio for each response: the geometric mean of its tokens'."""
  advantages = scaled(row.rewards)
  for k, length in enumerate(row.lengths):
    ratio = np.prod(row.ratios[k, :length]) ** (1 / length)
    for t in range(length):
      yield k, t, slope(ratio, advantages[k], LOW, HIGH) / length / K


def dapo(row, rewards, counted):
  """The mean over all tokens that count; an equal group has none."""
  if np.ptp(row.rewards) == 0:
    return
  advantages = scaled(rewards)
  tokens = sum(row.lengths[k] for k in range(K) if counted[k])
  for k in range(K):
    for t in range(row.lengths[k] if counted[k] else 0):
      yield k, t, slope(row.ratios[k, t], advantages[k], LOW, HIGH) / tokens


def dapo_masked(row):
  return dapo(row, row.rewards, row.ended)


def dapo_soft(row):
  # Two tokens are the most: all of the penalty; one is within the budget.
  return dapo(row, row.rewards - (row.lengths == 2), np.ones(K, bool))


class Row(NamedTuple):
  """One way to sample K responses: an entry for each, and for its tokens."""

  rewards: np.ndarray
  lengths: np.ndarray
  ended: np.ndarray
  policy: np.ndarray
  reference: np.ndarray
  ratios: np.ndarray


@pytest.fixture(scope="module")
def rows(table_world):
  """The rollout, its places and probabilities, and each row in NumPy."""
  world = table_world
  rollout, indices = world.rollout(K, world.other)

  def tokens(params):
    return np.asarray(world.token_logprobs(params), np.float64)

  mask = np.asarray(world.responses.mask)[0]
  each = Row(
    rewards=REWARDS.astype(np.float64),
    lengths=mask.sum(axis=-1),
    ended=np.any((np.asarray(world.responses.ids)[0] == 1) & mask, axis=-1),
    policy=tokens(world.policy),
    reference=tokens(world.reference),
    ratios=np.exp(tokens(world.policy) - tokens(world.other)),
  )
  logprobs = np.asarray(world.logprobs(world.other), np.float64)
  probabilities = np.exp(logprobs[indices].sum(axis=-1))
  chosen = [Row(*(array[row] for array in each)) for row in indices]
  return rollout, indices, probabilities, chosen


@pytest.mark.parametrize(
  "name, settings, paper",
  [
    ("grpo", {"clip": LOW, "beta": BETA}, grpo),
    ("dr_grpo", {"clip": LOW}, dr_grpo),
    ("gspo", {"clip_low": LOW, "clip_high": HIGH}, gspo),
    (
      "dapo",
      {"clip_low": LOW, "clip_high": HIGH, "overlong": "mask"},
      dapo_masked,
    ),
    (
      "dapo",
      {
        "clip_low": LOW,
        "clip_high": HIGH,
        "overlong": "soft",
        "overlong_cache": 1,
      },
      dapo_soft,
    ),
  ],
)
def test_the_expected_gradient_is_the_papers(
  table_world, rows, name, settings, paper
):
  world = table_world
  rollout, indices, probabilities, numpy_rows = rows
  got = world.expected_gradient(
    method(world, name, **settings),
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    types.Feedback(rewards=jnp.asarray(REWARDS[indices])),
    jnp.asarray(probabilities, jnp.float32),
  )["policy"]
  coefficients = np.zeros(world.responses.ids.shape[1:])
  for row, index, probability in zip(
    numpy_rows, indices, probabilities, strict=True
  ):
    for k, t, coefficient in paper(row):
      coefficients[index[k], t] += probability * coefficient
  coefficients = jnp.asarray(coefficients, jnp.float32)
  want = jax.jit(
    jax.grad(lambda p: jnp.sum(coefficients * world.token_logprobs(p)))
  )(world.policy)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), got, want
  )
  assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(want)) > 0.01


def test_dr_grpo_is_a_multiple_of_the_policy_gradient(table_world):
  # (K - 1) / K of RLOO's advantage, over the constant length: K = 2, 2 tokens.
  world = table_world
  rollout, indices = world.rollout(2, world.policy)
  got = world.expected_gradient(
    method(world, "dr_grpo", samples=2, clip=LOW),
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    types.Feedback(rewards=jnp.asarray(REWARDS[indices])),
    jnp.exp(world.logprobs(world.policy)[indices].sum(axis=-1)),
  )["policy"]
  want = world.exact_gradient(jnp.asarray(REWARDS), 0.0)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b / 4, atol=1e-5), got, want
  )


def test_dapo_counts_the_groups_that_it_drops(table_world):
  world = table_world
  rollout, indices = world.rollout(2, world.policy)
  algorithm = method(world, "dapo", samples=2, clip_low=LOW, clip_high=HIGH)
  slow = {"reference": world.reference}
  batch = algorithm.rollouts.prepare(
    {}, slow, rollout, types.Feedback(rewards=jnp.asarray(REWARDS[indices]))
  )
  total, metrics = algorithm.loss(
    {"policy": world.policy}, slow, batch, jax.random.key(0)
  )
  # Of 7 responses three have reward 0, three 1 and one 2: 9 + 9 + 1 of 49.
  assert metrics["groups/dropped"].value() == pytest.approx(19 / 49)
  kept = REWARDS[indices][:, 0] != REWARDS[indices][:, 1]
  lengths = np.asarray(rollout.responses.mask).sum(axis=(1, 2))
  assert float(total.weight) == lengths[kept].sum()


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
  "name, settings, message",
  [
    ("grpo", {"clip": 1.0, "beta": 0.0}, "clip must be in"),
    ("grpo", {"clip": 0.2, "beta": -1.0}, "beta must be >= 0"),
    (
      "grpo",
      {"clip": 0.2, "beta": 0.0, "aggregation": "sum"},
      "no aggregation 'sum'; available: bnpo, dapo, dr_grpo, grpo",
    ),
    ("dr_grpo", {"clip": 0.0}, "clip must be in"),
    ("gspo", {"clip_low": 0.2, "clip_high": 0.0}, "clip_high must be > 0"),
    (
      "dapo",
      {"clip_low": 0.2, "clip_high": 0.2, "overlong": "cut"},
      "no overlong 'cut'; available: mask, none, soft",
    ),
    (
      "dapo",
      {"clip_low": 0.2, "clip_high": 0.2, "overlong_cache": 2},
      "overlong_cache is the number of tokens of overlong 'soft'",
    ),
    (
      "dapo",
      {
        "clip_low": 0.2,
        "clip_high": 0.2,
        "overlong": "soft",
        "overlong_cache": 3,
      },
      r"overlong_cache must be in \[0, 2\]",
    ),
  ],
)
def test_settings_out_of_range_are_refused(
  table_world, name, settings, message
):
  with pytest.raises(ValueError, match=message):
    method(table_world, name, **settings)


@pytest.mark.parametrize("name", ["dapo", "dr_grpo", "grpo", "gspo"])
def test_it_needs_two_samples(table_world, name):
  settings = (
    {"clip_low": 0.2, "clip_high": 0.2}
    if name in ("dapo", "gspo")
    else {"clip": 0.2}
  )
  if name == "grpo":
    settings["beta"] = 0.0
  with pytest.raises(ValueError, match=f"{name} needs sampling.samples >= 2"):
    method(table_world, name, samples=1, **settings)
