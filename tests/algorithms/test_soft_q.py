"""Inverse soft-Q learning, offline and online, against sums token by token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types
from alignment_jax.ops.means import divide

LAM, MIX, GAMMA = 0.3, 0.2, 0.9
EOS = 1


def sampling(temperature=1.0):
  return rollouts.Sampling(
    samples=2, max_tokens=2, temperature=temperature, eos_id=EOS
  )


def steps_of(params, response, temperature=1.0):
  """(Q, V) of each token of a response in a world of tables."""
  logits = [params["first"], *(params["next"][i] for i in response[:-1])]
  return [
    (
      float(row[i] / temperature),
      float(np.log(np.exp(row / temperature).sum())),
    )
    for row, i in zip(map(np.asarray, logits), response, strict=True)
  ]


def terms_of(params, response, temperature=1.0):
  """Squared reward and negative log-likelihood of each token."""
  steps = steps_of(params, response, temperature)
  squares = []
  for index, (q, _) in enumerate(steps):
    if index + 1 < len(steps):
      squares.append((q - GAMMA * steps[index + 1][1]) ** 2)
    else:  # after the end V is 0; after a cut it is not known
      squares.append(q**2 if response[-1] == EOS else 0.0)
  return squares, [value - q for q, value in steps]


def listed(tokens):
  """The real ids of each response."""
  flat = jax.tree.map(lambda a: a.reshape(-1, a.shape[-1]), tokens)
  return [
    list(np.asarray(ids)[np.asarray(mask)])
    for ids, mask in zip(flat.ids, flat.mask, strict=True)
  ]


def demonstrations(world):
  """One of each of the world's responses."""
  count = world.responses.ids.shape[1]
  prompt = jax.tree.map(lambda a: jnp.repeat(a, count, axis=0), world.prompt)
  return types.Demonstration(
    prompt, jax.tree.map(lambda a: a[0], world.responses)
  )


def test_the_loss_is_the_mean_over_tokens_of_both_terms(table_world):
  world = table_world
  algorithm = algorithms.soft_q(world.model, lam=LAM, eos_id=EOS, gamma=GAMMA)
  batch = demonstrations(world)
  total, metrics = algorithm.loss({"policy": world.policy}, (), batch, None)
  terms = [terms_of(world.policy, r) for r in listed(batch.response)]
  squares = [s for squares, _ in terms for s in squares]
  nats = [n for _, likelihoods in terms for n in likelihoods]
  want = np.mean([LAM * s + n for s, n in zip(squares, nats, strict=True)])
  assert total.value() == pytest.approx(want, rel=1e-5)
  assert metrics["rewards/squared"].value() == pytest.approx(
    np.mean(squares), rel=1e-5
  )
  assert metrics["loss/likelihood"].value() == pytest.approx(
    np.mean(nats), rel=1e-5
  )
  # (1,), and (a, 1) of two others a: three of seven end.
  assert metrics["responses/ended"].value() == pytest.approx(3 / 7)


def test_without_rewards_it_is_sft(world):
  batch = demonstrations(world)

  def gradient(algorithm):
    return jax.jit(
      jax.grad(lambda t: algorithm.loss(t, (), batch, None)[0].value())
    )({"policy": world.policy})

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    gradient(algorithms.soft_q(world.model, lam=0.0, eos_id=EOS)),
    gradient(algorithms.sft(world.model)),
  )


def collected(world, *, temperature=1.0, rows=8):
  """Some rollouts of two samples beside a longer demonstration each."""
  algorithm = algorithms.soft_q_online(
    world.model,
    sampling=sampling(temperature),
    lam=LAM,
    mix=MIX,
    gamma=GAMMA,
  )
  rollout, _ = world.rollout(2, world.policy, temperature)
  order = np.random.default_rng(0).permutation(len(rollout.ended))[:rows]
  rollout = jax.tree.map(lambda a: a[order], rollout)
  random = np.random.default_rng(1)
  ids = random.choice([0, 2], (rows, 3)).astype(np.int32)
  ids[:, -1] = random.integers(0, 3, rows)  # some end, the others are cut
  demonstration = types.Tokens(jnp.asarray(ids), jnp.ones((rows, 3), bool))
  batch = algorithm.rollouts.prepare(
    {"policy": world.policy},
    {"reference": world.reference},
    rollout.replace(demonstration=demonstration),
    types.Feedback(),
  )
  return algorithm, batch


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_online_each_kind_has_a_mean_of_its_own(table_world, temperature):
  world = table_world
  algorithm, batch = collected(world, temperature=temperature)
  total, metrics = algorithm.loss({"policy": world.policy}, {}, batch, None)

  def terms(tokens):
    each = [terms_of(world.policy, r, temperature) for r in listed(tokens)]
    return (
      np.array([s for squares, _ in each for s in squares]),
      np.array([n for _, nats in each for n in nats]),
    )

  squares, nats = terms(batch.rollout.demonstration)
  sampled, _ = terms(batch.rollout.responses)
  want = np.mean(LAM * (1 - MIX) * squares + nats) + LAM * MIX * sampled.mean()
  assert total.value() == pytest.approx(want, rel=1e-5)
  assert metrics["loss/likelihood"].value() == pytest.approx(
    nats.mean(), rel=1e-5
  )
  assert metrics["ratio/mean"].value() == pytest.approx(1, abs=1e-5)


def test_online_parts_of_a_batch_add_up_to_it(table_world):
  algorithm, batch = collected(table_world)
  trainable = {"policy": table_world.policy}
  whole, _ = algorithm.loss(trainable, {}, batch, None)

  def part(rows):
    return algorithm.loss(
      trainable, {}, jax.tree.map(lambda a: a[rows], batch), None
    )[0]

  parts = part(slice(0, 3)), part(slice(3, 8))
  added = jax.tree.map(jnp.add, *parts)
  assert divide(*added) == pytest.approx(float(whole.value()), rel=1e-5)


def test_online_without_a_mix_it_is_offline(table_world):
  world = table_world
  algorithm = algorithms.soft_q_online(
    world.model, sampling=sampling(), lam=LAM, mix=0.0, gamma=GAMMA
  )
  _, batch = collected(world)
  online_loss, _ = algorithm.loss({"policy": world.policy}, {}, batch, None)
  offline, _ = algorithms.soft_q(
    world.model, lam=LAM, eos_id=EOS, gamma=GAMMA
  ).loss(
    {"policy": world.policy},
    (),
    types.Demonstration(batch.rollout.prompt, batch.rollout.demonstration),
    None,
  )
  assert online_loss.value() == pytest.approx(float(offline.value()), rel=1e-5)
