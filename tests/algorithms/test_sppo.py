"""SPPO against the paper's loss, enumerated; its iterations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types

ETA = 2.0


def sppo(world, *, samples=2, eta=ETA, refresh_every=2):
  sampling = rollouts.Sampling(
    samples=samples, max_tokens=2, temperature=1.0, eos_id=1
  )
  return algorithms.sppo(
    world.model, sampling=sampling, eta=eta, refresh_every=refresh_every
  )


@pytest.mark.parametrize("samples", [2, 3])
def test_the_expected_gradient_is_the_paper_s(table_world, samples):
  """(rho - eta (P - 1/2))^2 of the best and worst, P over all with itself."""
  world = table_world
  previous = world.logprobs(world.other)
  rollout, indices = world.rollout(samples, world.other)
  chance = jnp.exp(previous[indices].sum(-1))
  got = world.expected_gradient(
    sppo(world, samples=samples),
    {"policy": world.policy},
    {"previous": world.other},
    rollout,
    world.judged(indices),
    chance,
  )["policy"]
  preferences = np.asarray(world.preferences(), np.float64)

  def targets(row):
    """(response, its target) of the best and of the worst in a row."""
    wins = [np.mean([preferences[i, j] for j in row]) for i in row]
    order = sorted(range(len(row)), key=lambda i: wins[i])
    return [(row[i], ETA * (wins[i] - 0.5)) for i in (order[0], order[-1])]

  learning = [targets(row) for row in indices.tolist()]
  which = np.array([[i for i, _ in row] for row in learning])
  target = np.array([[t for _, t in row] for row in learning], np.float32)

  def loss(params):
    ratio = world.logprobs(params) - previous
    return jnp.sum(chance * jnp.square(ratio[which] - target).sum(-1))

  want = jax.jit(jax.grad(loss))(world.policy)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_the_previous_policy_samples_and_moves_every_so_many_steps(
  table_world,
):
  world, rows = table_world, 4000
  algorithm = sppo(world)
  trainable, slow = algorithm.init(jax.random.key(0), world.reference)
  moved = {"policy": world.policy}
  _, first = algorithm.refresh(moved, slow, jnp.asarray(1), {})
  _, second = algorithm.refresh(moved, slow, jnp.asarray(2), {})
  start, policy = world.reference["first"], world.policy["first"]
  np.testing.assert_array_equal(trainable["policy"]["first"], start)
  np.testing.assert_array_equal(first["previous"]["first"], start)
  np.testing.assert_array_equal(second["previous"]["first"], policy)
  prompt = jax.tree.map(lambda a: jnp.repeat(a, rows, axis=0), world.prompt)
  rollout = jax.jit(algorithm.rollouts.sample)(
    moved, first, types.Prompts(prompt), jax.random.key(0)
  )
  chance = np.asarray(jax.nn.softmax(start))
  share = (
    np.bincount(np.asarray(rollout.responses.ids[:, 0, 0]), minlength=3) / rows
  )
  error = 5 * np.sqrt(chance * (1 - chance) / rows)
  np.testing.assert_array_less(np.abs(share - chance), error)


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"samples": 1}, "sppo needs sampling.samples >= 2, got 1"),
    ({"eta": 0.0}, "eta must be > 0, got 0.0"),
    ({"refresh_every": 0}, "refresh_every must be > 0, got 0"),
  ],
)
def test_settings_out_of_range_are_refused(table_world, changes, message):
  with pytest.raises(ValueError, match=message):
    sppo(table_world, **changes)
