"""Bandits with known optima, and a descent that ends there.

Policies are softmax logits over a few actions. Every expectation is exact: all
actions, or all pairs of them, enter with their probability.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

STEPS = 3000


def descend(objective, start):
  """Where Adam ends; its rate falls to zero, so that it comes to rest."""
  optimizer = optax.adam(optax.cosine_decay_schedule(0.1, STEPS))

  @jax.jit
  def run(params):
    def step(carry, _):
      params, state = carry
      updates, state = optimizer.update(jax.grad(objective)(params), state)
      return (optax.apply_updates(params, updates), state), None

    carry, _ = jax.lax.scan(
      step, (params, optimizer.init(params)), length=STEPS
    )
    return carry[0]

  with jax.numpy_dtype_promotion("standard"):
    return run(start)


def normalized(weights):
  return weights / weights.sum(axis=-1, keepdims=True)


def draw_worlds(seed, worlds, actions):
  """Reference, behavior, and a number for each action, one row per world."""
  random = np.random.default_rng(seed)
  reference = normalized(random.uniform(0.3, 1.0, (worlds, actions)))
  behavior = normalized(random.uniform(0.3, 1.0, (worlds, actions)))
  return reference, behavior, random.normal(size=(worlds, actions))


def draw_preferences(seed, worlds, actions):
  """P(i preferred to j), not transitive, with P + P^T = 1."""
  random = np.random.default_rng(seed)
  upper = np.triu(random.uniform(0, 1, (worlds, actions, actions)), 1)
  lower = np.swapaxes(np.triu(np.ones_like(upper), 1) - upper, 1, 2)
  return upper + lower + np.eye(actions) / 2


def pair_objective(loss, reference, behavior, preference):
  """The expected loss over pairs of `behavior`, labeled by `preference`.

  Worlds are independent: their losses are added.
  """
  reference, behavior, preference = (
    jnp.asarray(x, jnp.float32) for x in (reference, behavior, preference)
  )
  weight = behavior[:, :, None] * behavior[:, None]

  def sides(logprobs):
    both = jnp.broadcast_to(logprobs[:, :, None], weight.shape)
    return both, jnp.swapaxes(both, 1, 2)

  def objective(logits):
    (i, j), (ref_i, ref_j) = (
      sides(x) for x in (jax.nn.log_softmax(logits), jnp.log(reference))
    )
    expected = preference * loss(i, j, ref_i, ref_j) + (1 - preference) * loss(
      j, i, ref_j, ref_i
    )
    return jnp.sum(weight * expected)

  return objective


def fit_pairs(loss, reference, behavior, preference):
  objective = pair_objective(loss, reference, behavior, preference)
  logits = descend(objective, jnp.log(jnp.asarray(reference, jnp.float32)))
  return np.asarray(jax.nn.softmax(logits))


def pairs(*arrays):
  """Each [worlds, actions] array as first and second response of all pairs."""
  for array in arrays:
    array = jnp.asarray(array, jnp.float32)
    both = jnp.broadcast_to(array[:, :, None], (*array.shape, array.shape[1]))
    yield both
    yield jnp.swapaxes(both, 1, 2)


def fit(loss_of_logprobs, reference):
  """The policies at the end of a descent from the reference, one per world."""
  start = jnp.log(jnp.asarray(reference, jnp.float32))
  logits = descend(
    lambda logits: loss_of_logprobs(jax.nn.log_softmax(logits)), start
  )
  return np.asarray(jax.nn.softmax(logits))
