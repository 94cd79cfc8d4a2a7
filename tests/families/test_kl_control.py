"""The coefficient of the KL, where it moves, and that methods use it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types
from alignment_jax.families import kl_control

SAMPLING = rollouts.Sampling(samples=2, max_tokens=2, temperature=1.0, eos_id=1)


def control(**changes):
  return kl_control.KLControl(
    **{"beta": 0.5, "target": 4.0, "gain": 0.1, **changes}
  )


@pytest.mark.parametrize(
  "kl, factor",
  [
    (4.0, 1.0),
    (4.4, 1.01),  # 10 % above the target
    (400.0, 1.02),  # the error is cut at 20 %
    (3.6, 0.99),
    (-400.0, 0.98),
  ],
)
def test_the_coefficient_follows_the_relative_error(table_world, kl, factor):
  moved = control()
  trainable, slow = moved.init(jax.random.key(0), table_world.policy)
  assert moved.coefficient(slow) == 0.5
  _, slow = moved.refresh(trainable, slow, 1, {"kl/sampled": jnp.array(kl)})
  np.testing.assert_allclose(moved.coefficient(slow), 0.5 * factor, rtol=1e-6)


def test_by_default_the_coefficient_moves_by_a_tenth_of_the_error(table_world):
  moved = kl_control.KLControl(beta=0.5, target=4.0)
  trainable, slow = moved.init(None, table_world.policy)
  _, slow = moved.refresh(trainable, slow, 1, {"kl/sampled": jnp.array(4.4)})
  np.testing.assert_allclose(moved.coefficient(slow), 0.505, rtol=1e-6)


def test_without_a_target_there_is_nothing_to_keep(table_world):
  fixed = control(target=None)
  trainable, slow = fixed.init(jax.random.key(0), table_world.policy)
  assert slow.keys() == {"reference"}
  same = fixed.refresh(trainable, slow, 1, {})
  assert same == (trainable, slow)
  assert fixed.coefficient(slow) == 0.5


@pytest.mark.parametrize("name", ["ppo", "reinforce", "rloo"])
def test_a_method_uses_the_coefficient_that_was_moved(table_world, name):
  world = table_world
  rollout, indices = world.rollout(2, world.policy)
  scores = jnp.asarray(indices, jnp.float32)
  trainable = {
    "policy": world.policy,
    "value": {
      "network": world.other,
      "head": {"weight": jnp.ones(3), "bias": jnp.zeros(())},
    },
  }
  slow = {"reference": world.reference}
  if name == "reinforce":
    slow["baseline"] = {"total": jnp.zeros(()), "weight": jnp.zeros(())}

  def prepared(beta, target, **more):
    algorithm = algorithms.ALGORITHMS[name].factory(
      world.model, sampling=SAMPLING, beta=beta, kl_target=target
    )
    batch = algorithm.rollouts.prepare(
      trainable, {**slow, **more}, rollout, types.Feedback(rewards=scores)
    )
    return batch.extra["advantages"]

  want = prepared(0.7, None)
  moved = prepared(0.1, 3.0, kl_coefficient=jnp.float32(0.7))
  np.testing.assert_allclose(moved, want, rtol=1e-6)
  assert np.max(np.abs(prepared(0.1, None) - want)) > 0.1


def test_the_measured_kl_is_that_of_the_sampled_responses(table_world):
  world = table_world
  rollout, indices = world.rollout(1, world.policy)
  algorithm = algorithms.rloo(
    world.model, sampling=SAMPLING, beta=0.1, kl_target=3.0
  )
  _, slow = algorithm.init(jax.random.key(0), world.reference)
  batch = rollouts.sampled_from_policy(world.model, SAMPLING).prepare(
    {}, slow, rollout, types.Feedback(rewards=jnp.zeros(indices.shape))
  )
  metrics = control().metrics(slow, batch)
  ratio = world.logprobs(world.policy) - world.logprobs(world.reference)
  np.testing.assert_allclose(
    metrics["kl/sampled"].value(), np.mean(ratio), rtol=1e-5
  )
  assert metrics["kl/coefficient"].value() == pytest.approx(0.1)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
  "changes, message",
  [
    ({"beta": 0.0}, "beta must be > 0 to be moved towards kl_target 4.0"),
    ({"beta": -1.0}, "beta must be >= 0"),
    ({"target": -1.0}, "kl_target must be > 0"),
    ({"target": 0.0}, "kl_target must be > 0"),
    ({"gain": 0.0}, "kl_gain must be > 0"),
    ({"kl": "k2"}, "no kl 'k2'"),
  ],
)
def test_settings_out_of_range_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    control(**changes)
