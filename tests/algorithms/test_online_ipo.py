"""Online IPO is self-play: their exact gradients are proportional."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts

TAU = 0.2


def online_ipo(world, samples, tau=TAU):
  sampling = rollouts.Sampling(
    samples=samples, max_tokens=2, temperature=1.0, eos_id=1
  )
  return algorithms.online_ipo(world.model, sampling=sampling, tau=tau)


@pytest.mark.parametrize("samples", [2, 3])
def test_the_expected_gradient_is_a_multiple_of_self_play_s(
  table_world, samples
):
  """Of E[P (h - 1/2tau)^2 + (1 - P) (h + 1/2tau)^2]: 4 / tau."""
  world = table_world
  policy = world.logprobs(world.policy)
  rollout, indices = world.rollout(samples, world.policy)
  got = world.expected_gradient(
    online_ipo(world, samples),
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    world.judged(indices),
    jnp.exp(policy[indices].sum(-1)),
  )["policy"]
  want = world.game_gradient(policy, tau=TAU)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a * TAU / 4, b, atol=1e-5),
    got,
    want,
  )


def test_swapping_the_responses_changes_nothing(table_world):
  world = table_world
  algorithm = online_ipo(world, 2)
  rollout, indices = world.rollout(2, world.policy)
  trainable, slow = {"policy": world.policy}, {"reference": world.reference}

  def swapped(array):
    return array[:, ::-1]

  turned = rollout.replace(
    responses=jax.tree.map(swapped, rollout.responses),
    logprobs=swapped(rollout.logprobs),
    ended=swapped(rollout.ended),
  )
  values = []
  for each, order in [(rollout, indices), (turned, indices[:, ::-1])]:
    batch = algorithm.rollouts.prepare(
      trainable, slow, each, world.judged(order)
    )
    values.append(algorithm.loss(trainable, slow, batch, None)[0].value())
  np.testing.assert_allclose(values[0], values[1], rtol=1e-6)


@pytest.mark.parametrize(
  "samples, tau, message",
  [
    (1, TAU, "online_ipo needs sampling.samples >= 2, got 1"),
    (2, 0.0, "tau must be > 0, got 0.0"),
  ],
)
def test_settings_out_of_range_are_refused(table_world, samples, tau, message):
  with pytest.raises(ValueError, match=message):
    online_ipo(table_world, samples, tau)
