"""XPO against the paper's loss, enumerated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types

BETA = 0.3


def xpo(world, *, samples=1, alpha=0.1):
  sampling = rollouts.Sampling(
    samples=samples, max_tokens=2, temperature=1.0, eos_id=1
  )
  return algorithms.xpo(world.model, sampling=sampling, beta=BETA, alpha=alpha)


@pytest.mark.parametrize("samples, alpha", [(1, 0.0), (1, 0.1), (2, 0.1)])
def test_the_expected_gradient_is_the_paper_s(table_world, samples, alpha):
  """y of the policy, y' of the reference, the label drawn with P:

  E[-P log sigmoid(beta h) - (1 - P) log sigmoid(-beta h) + alpha log pi(y')].
  """
  world = table_world
  policy = world.logprobs(world.policy)
  reference = world.logprobs(world.reference)
  rollout, indices = world.rollout(samples, world.policy, opponents=samples)
  own, other = indices[:, :samples], indices[:, samples:]
  got = world.expected_gradient(
    xpo(world, samples=samples, alpha=alpha),
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    world.judged(indices, samples),
    jnp.exp(policy[own].sum(-1) + reference[other].sum(-1)),
  )["policy"]
  chance = jnp.exp(policy)[:, None] * jnp.exp(reference)[None, :]
  wins = world.preferences()

  def loss(params):
    logprobs = world.logprobs(params)
    ratio = logprobs - reference
    logit = BETA * (ratio[:, None] - ratio[None, :])
    label = wins * jnp.log1p(jnp.exp(-logit))
    label += (1 - wins) * jnp.log1p(jnp.exp(logit))
    return jnp.sum(chance * (label + alpha * logprobs[None, :]))

  want = jax.jit(jax.grad(loss))(world.policy)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_the_opponents_of_a_rollout_are_the_reference_s(table_world):
  """Frequencies of the first token of 4,000, within five standard errors."""
  world, rows = table_world, 4000
  prompt = jax.tree.map(lambda a: jnp.repeat(a, rows, axis=0), world.prompt)
  rollout = jax.jit(xpo(world).rollouts.sample)(
    {"policy": world.policy},
    {"reference": world.reference},
    types.Prompts(prompt),
    jax.random.key(0),
  )
  for responses, params in (
    (rollout.responses, world.policy),
    (rollout.opponents, world.reference),
  ):
    chance = np.asarray(jax.nn.softmax(params["first"]))
    first = np.asarray(responses.ids[:, 0, 0])
    share = np.bincount(first, minlength=3) / rows
    error = 5 * np.sqrt(chance * (1 - chance) / rows)
    np.testing.assert_array_less(np.abs(share - chance), error)


def test_a_negative_bonus_is_refused(table_world):
  with pytest.raises(ValueError, match="alpha must be >= 0, got -1.0"):
    xpo(table_world, alpha=-1.0)
