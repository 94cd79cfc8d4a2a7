"""Random preference games, and their equilibria in NumPy.

Equilibria in float64 come from a damped fixed point, which shares no code with
the library.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax import tabular

ROCK_PAPER_SCISSORS = np.array([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])


def random_games(seed, games, actions):
  """References and preference matrices, float64."""
  random = np.random.default_rng(seed)
  upper = np.triu(random.uniform(size=(games, actions, actions)), 1)
  lower = np.tril(1 - np.swapaxes(upper, 1, 2), -1)
  reference = random.dirichlet(np.full(actions, 2.0), games)
  return np.log(reference), upper + lower + np.eye(actions) / 2


def numpy_response(log_policy, log_reference, preferences, tau):
  gains = np.einsum("bij,bj->bi", preferences, np.exp(log_policy))
  logits = log_reference + gains / tau
  top = logits.max(-1, keepdims=True)
  return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def numpy_nash(log_reference, preferences, tau):
  """The fixed point pi = response(pi), by small steps in log-probability."""
  log_policy = log_reference
  for _ in range(3000):
    response = numpy_response(log_policy, log_reference, preferences, tau)
    step = min(0.5, 2 * tau**2)
    log_policy = (1 - step) * log_policy + step * response
    log_policy -= np.log(np.exp(log_policy).sum(-1, keepdims=True))
  response = numpy_response(log_policy, log_reference, preferences, tau)
  assert np.abs(response - log_policy).max() < 1e-8
  return log_policy


def numpy_kl(log_p, log_q):
  return np.sum(np.exp(log_p) * (log_p - log_q), axis=-1)


def double(function):
  """Runs in float64, compiled, NumPy in and out."""

  @functools.wraps(function)
  def wrapped(*arrays):
    with jax.enable_x64(True):
      result = jax.jit(function)(*map(jnp.asarray, arrays))
      return jax.tree.map(np.asarray, result)

  return wrapped


def kl_to(nash):
  return lambda iterate: tabular.kl(nash, iterate.policy)
