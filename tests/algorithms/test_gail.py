"""GAIL: exact gradients of the policy and of the discriminator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, errors, rollouts, scoring, types
from alignment_jax.models import heads

BETA, IMITATION = 0.3, 0.6
# The place of the demonstration among all responses.
DEMONSTRATION = 3


def method(model, **changes):
  sampling = rollouts.Sampling(
    samples=2, max_tokens=2, temperature=1.0, eos_id=1
  )
  return algorithms.gail(
    model,
    **{
      "sampling": sampling,
      "beta": BETA,
      "imitation": IMITATION,
      **changes,
    },
  )


def trainable_of(world):
  return {
    "policy": world.policy,
    "discriminator": {
      "network": world.other,
      "head": heads.init_scalar(jax.random.key(3), 3),
    },
  }


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_policy_and_discriminator_follow_their_exact_gradients(
  table_world, pooling
):
  world = table_world
  trainable = trainable_of(world)
  rollout, indices = world.rollout(2, world.policy)
  rollout = rollout.replace(
    demonstration=jax.tree.map(
      lambda a: jnp.repeat(a[:, DEMONSTRATION], len(indices), axis=0),
      world.responses,
    )
  )
  logprobs = world.logprobs(world.policy)
  got = world.expected_gradient(
    method(world.model, pooling=pooling),
    trainable,
    {"reference": world.reference},
    rollout,
    types.Feedback(),
    jnp.exp(logprobs[indices].sum(axis=-1)),
  )

  def objective(trainable):
    logits = scoring.rewards(
      world.model,
      trainable["discriminator"],
      world.prompt,
      world.responses,
      pooling=pooling,
    )[0]
    doubt = 1 / (1 + jnp.exp(logits))  # 1 - D
    rewards = jax.lax.stop_gradient(-jnp.log(doubt))
    own = world.logprobs(trainable["policy"])
    ratio = own - world.logprobs(world.reference)
    policy = -jnp.sum(jnp.exp(own) * (rewards - BETA * ratio))
    mistakes = -jnp.sum(jnp.exp(logprobs) * jnp.log(doubt))
    return (
      policy
      - IMITATION * own[DEMONSTRATION]
      + mistakes
      - jnp.log(1 - doubt[DEMONSTRATION])
    )

  want = jax.jit(jax.grad(objective))(trainable)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_the_discriminator_starts_from_the_policy(world):
  trainable, slow = method(world.model).init(jax.random.key(0), world.policy)
  for copy in (trainable["discriminator"]["network"], slow["reference"]):
    jax.tree.map(np.testing.assert_array_equal, copy, world.policy)


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_pooling_lists_those_there_are(world):
  with pytest.raises(errors.UserError, match="no pooling 'first'"):
    method(world.model, pooling="first")
