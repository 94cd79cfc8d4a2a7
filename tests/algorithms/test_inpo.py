"""INPO against the paper's loss, enumerated, and its mirror-descent step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, tabular

ETA, TAU = 0.6, 0.2


def inpo(world, *, samples=2, **changes):
  sampling = rollouts.Sampling(
    samples=samples, max_tokens=2, temperature=1.0, eos_id=1
  )
  settings = dict(eta=ETA, tau=TAU, choice="all", refresh_every=3)
  return algorithms.inpo(
    world.model, sampling=sampling, **{**settings, **changes}
  )


def slow(world):
  return {"reference": world.reference, "previous": world.other}


def margins(world, params):
  """h of each ordered pair, [N, N]."""
  policy, reference, previous = (
    logprobs[:, None] - logprobs[None, :]
    for logprobs in map(world.logprobs, (params, world.reference, world.other))
  )
  return policy - TAU / ETA * reference - (ETA - TAU) / ETA * previous


def gradient(world, algorithm, samples):
  previous = world.logprobs(world.other)
  rollout, indices = world.rollout(samples, world.other)
  got = world.expected_gradient(
    algorithm,
    {"policy": world.policy},
    slow(world),
    rollout,
    world.judged(indices),
    jnp.exp(previous[indices].sum(-1)),
  )["policy"]
  return got, indices


@pytest.mark.parametrize("samples", [2, 3])
def test_the_expected_gradient_over_all_pairs_is_the_paper_s(
  table_world, samples
):
  """E[P (h - 1/2eta)^2 + (1 - P) (h + 1/2eta)^2], both of the previous one."""
  world = table_world
  got, _ = gradient(world, inpo(world, samples=samples), samples)
  previous = jnp.exp(world.logprobs(world.other))
  chance = previous[:, None] * previous[None, :]
  wins = world.preferences()

  def loss(params):
    margin, target = margins(world, params), 1 / (2 * ETA)
    labelled = wins * jnp.square(margin - target)
    labelled += (1 - wins) * jnp.square(margin + target)
    return jnp.sum(chance * labelled)

  want = jax.jit(jax.grad(loss))(world.policy)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_of_the_best_and_worst_the_best_has_won(table_world):
  world = table_world
  got, indices = gradient(
    world, inpo(world, samples=3, choice="best_and_worst"), 3
  )
  preferences = np.asarray(world.preferences(), np.float64)
  chance = np.exp(world.logprobs(world.other)[indices].sum(-1))
  best, worst, weight = [], [], []
  for row in indices.tolist():
    wins = [np.mean([preferences[i, j] for j in row]) for i in row]
    best.append(row[np.argmax(wins)])
    worst.append(row[np.argmin(wins)])
    weight.append(float(max(wins) - min(wins) > 1e-6))
  chance = chance * np.array(weight, np.float32)

  def loss(params):
    margin = margins(world, params)[np.array(best), np.array(worst)]
    return jnp.sum(chance * jnp.square(margin - 1 / (2 * ETA)))

  want = jax.jit(jax.grad(loss))(world.policy)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_the_minimum_over_all_pairs_is_the_mirror_descent_step(
  one_token_world,
):
  """There the expected gradient is 0; the step is the tabular one."""
  world = one_token_world
  minimum = tabular.inpo_step(
    world.logprobs(world.other),
    world.logprobs(world.reference),
    world.preferences(),
    eta=ETA,
    tau=TAU,
  )
  previous = world.logprobs(world.other)
  rollout, indices = world.rollout(2, world.other)
  sampling = rollouts.Sampling(
    samples=2, max_tokens=1, temperature=1.0, eos_id=1
  )
  got = world.expected_gradient(
    algorithms.inpo(
      world.model,
      sampling=sampling,
      eta=ETA,
      tau=TAU,
      choice="all",
      refresh_every=3,
    ),
    {"policy": {**world.policy, "first": minimum}},
    slow(world),
    rollout,
    world.judged(indices),
    jnp.exp(previous[indices].sum(-1)),
  )["policy"]
  assert jnp.max(jnp.abs(minimum - previous)) > 0.1
  np.testing.assert_allclose(got["first"], 0, atol=1e-5)


def test_the_reference_stays_and_the_previous_policy_moves(table_world):
  world = table_world
  algorithm = inpo(world)
  _, kept = algorithm.init(jax.random.key(0), world.reference)
  for step, moved in ((2, False), (3, True)):
    _, after = algorithm.refresh(
      {"policy": world.policy}, kept, jnp.asarray(step), {}
    )
    expected = world.policy if moved else world.reference
    np.testing.assert_array_equal(after["previous"]["first"], expected["first"])
    np.testing.assert_array_equal(
      after["reference"]["first"], world.reference["first"]
    )


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
  "changes, message",
  [
    ({"samples": 1}, "inpo needs sampling.samples >= 2, got 1"),
    ({"tau": 0.0}, "tau must be > 0, got 0.0"),
    ({"tau": 0.7}, r"tau / eta must be in \[0, 1\]"),
    ({"choice": "some"}, "no choice of pairs 'some'"),
    ({"refresh_every": 0}, "refresh_every must be > 0, got 0"),
  ],
)
def test_settings_out_of_range_are_refused(table_world, changes, message):
  with pytest.raises(ValueError, match=message):
    inpo(table_world, **changes)
