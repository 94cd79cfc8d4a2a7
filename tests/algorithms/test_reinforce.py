"""REINFORCE: each baseline and each place of the KL, in expectation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types

BETA = 0.3
REWARDS = jnp.asarray(np.random.default_rng(1).normal(size=7), jnp.float32)


def method(world, samples=1, **settings):
  sampling = rollouts.Sampling(
    samples=samples, max_tokens=2, temperature=1.0, eos_id=1
  )
  return algorithms.reinforce(
    world.model, sampling=sampling, beta=BETA, **settings
  )


def expected_gradient(world, algorithm, samples):
  rollout, indices = world.rollout(samples, world.policy)
  _, slow = algorithm.init(jax.random.key(0), world.policy)
  if "baseline" in slow:
    slow["baseline"] = {"total": jnp.array(3.0), "weight": jnp.array(0.5)}
  return world.expected_gradient(
    algorithm,
    {"policy": world.policy},
    {**slow, "reference": world.reference},
    rollout,
    types.Feedback(rewards=REWARDS[indices]),
    jnp.exp(world.logprobs(world.policy)[indices].sum(axis=-1)),
  )["policy"]


def assert_close(got, want):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


@pytest.mark.parametrize(
  "baseline, kl",
  [
    ("none", "reward"),
    ("running", "reward"),
    ("running", "reverse"),
    ("running", "forward"),
  ],
)
def test_the_expected_gradient_is_that_of_the_regularised_reward(
  table_world, baseline, kl
):
  algorithm = method(table_world, baseline=baseline, kl=kl)
  divergence = "forward" if kl == "forward" else "reverse"
  want = table_world.exact_gradient(REWARDS, BETA, kl=divergence)
  assert_close(expected_gradient(table_world, algorithm, 1), want)


def test_a_batch_mean_holds_the_responses_own_reward(table_world):
  # Of N = 2 responses half of the own reward is in the baseline.
  algorithm = method(table_world, samples=2, baseline="batch")
  want = table_world.exact_gradient(REWARDS, BETA)
  assert_close(
    expected_gradient(table_world, algorithm, 2),
    jax.tree.map(lambda a: a / 2, want),
  )


def test_the_running_mean_forgets_and_has_no_bias_to_0(table_world):
  algorithm = method(table_world, decay=0.5)
  trainable, slow = algorithm.init(jax.random.key(0), table_world.policy)

  def after(slow, reward):
    _, slow = algorithm.refresh(
      trainable, slow, 1, {"rewards/regularized": jnp.array(reward)}
    )
    return slow

  # 2, then (2 / 4 + 4 / 2) / (1 / 4 + 1 / 2)
  slow = after(slow, 2.0)
  assert slow["baseline"]["total"] / slow["baseline"]["weight"] == 2.0
  slow = after(slow, 4.0)
  level = slow["baseline"]["total"] / slow["baseline"]["weight"]
  assert level == pytest.approx(10 / 3)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
  "settings, message",
  [
    ({"baseline": "mean"}, "no baseline 'mean'; available: batch, none, run"),
    ({"decay": 1.0}, "decay"),
    ({"kl": "k3"}, "no kl 'k3'; available: forward, reverse, reward"),
  ],
)
def test_settings_out_of_range_are_refused(table_world, settings, message):
  with pytest.raises(ValueError, match=message):
    method(table_world, **settings)
