"""IPO-MD against its formula, and where its responses come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, types

TAU, BETA = 0.2, 0.25


def ipo_md(world, **changes):
  settings = dict(samples=2, max_tokens=2, temperature=1.0, eos_id=1)
  sampling = rollouts.Sampling(**{**settings, **changes})
  return algorithms.ipo_md(world.model, sampling=sampling, tau=TAU, beta=BETA)


def mixture(world):
  """Log-probabilities of the token-level mixture."""
  return world.logprobs(
    jax.tree.map(
      lambda a, b: (1 - BETA) * a + BETA * b, world.policy, world.reference
    )
  )


def test_the_expected_gradient_is_the_formula_with_the_mean_taken_off(
  table_world,
):
  """-(4/tau) E[grad log pi(y) (P(y > mix) - 1/2 - tau (rho(y) - E rho))]."""
  world, other = table_world, mixture(table_world)
  rollout, indices = world.rollout(2, world.policy)
  got = world.expected_gradient(
    ipo_md(world),
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    world.judged(indices),
    jnp.exp(other[indices].sum(-1)),
  )["policy"]
  ratio = world.logprobs(world.policy) - world.logprobs(world.reference)
  ratio = ratio - jnp.sum(jnp.exp(other) * ratio)
  wins = world.preferences() @ jnp.exp(other)
  weights = -(4 / TAU) * jnp.exp(other) * (wins - 0.5 - TAU * ratio)
  want = jax.jit(
    jax.grad(lambda policy: jnp.sum(weights * world.logprobs(policy)))
  )(world.policy)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), got, want
  )


def test_both_responses_are_the_mixture_s(table_world):
  """Frequencies of 4,000 of each, within five standard errors."""
  world, rows = table_world, 4000
  prompt = jax.tree.map(lambda a: jnp.repeat(a, rows, axis=0), world.prompt)
  rollout = jax.jit(ipo_md(world).rollouts.sample)(
    {"policy": world.policy},
    {"reference": world.reference},
    types.Prompts(prompt),
    jax.random.key(0),
  )
  first = rollout.responses.ids[:, :, 0]
  expected = np.exp(mixture(world))
  for token in range(3):
    starts = world.responses.ids[0, :, 0] == token
    chance = expected[starts].sum()
    share = (first == token).mean(axis=0)
    error = 5 * np.sqrt(chance * (1 - chance) / rows)
    np.testing.assert_array_less(np.abs(share - chance), error)


def test_it_needs_two_samples(table_world):
  with pytest.raises(
    ValueError, match=r"ipo_md needs sampling.samples >= 2, got 1"
  ):
    ipo_md(table_world, samples=1)
