"""Reward and preference models as functions: what they read, and in order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import scoring, types
from alignment_jax.feedback import models

TEMPLATE = scoring.template_of(((7,), (8,), (9,)))


@pytest.fixture
def reading(table_world):
  """A network that prefers by what stands in its prompt: the log-odds are the
  sum of the first response's ids less half of the second's."""

  def encode(params, prompt, key=None):
    del key
    ids = jnp.where(prompt.mask, prompt.ids, 0)
    opened = jnp.cumsum(ids == 8, axis=-1) > 0
    started = (jnp.cumsum(ids == 7, axis=-1) > 0) & ~opened
    words = jnp.where(ids < 7, ids, 0)
    first, second = (
      jnp.sum(jnp.where(part, words, 0), axis=-1).astype(jnp.float32)
      for part in (started, opened)
    )
    context = table_world.model.encode(table_world.policy, prompt)
    odds = params["scale"] * (first - 0.5 * second)
    return context.replace(last=odds[:, None])

  return table_world.model._replace(encode=encode)


PARAMS = {
  "network": {"scale": jnp.float32(0.3)},
  "head": {"weight": jnp.ones(1), "bias": jnp.float32(0.1)},
}


def tokens(sums, length=2):
  """Responses [B, K, T] whose ids add up to these numbers, or are padded."""
  sums = np.asarray(sums, np.int32)
  ids = np.zeros((*sums.shape, length), np.int32)
  ids[..., 0] = sums
  mask = np.ones(ids.shape, bool)
  ids[..., 1], mask[..., 1] = 5, False  # nobody may read it
  return types.Tokens(jnp.asarray(ids), jnp.asarray(mask))


def prompts(rows):
  ids = jnp.full((rows, 3), 6)
  return types.Tokens(ids, jnp.ones(ids.shape, bool))


def preferred(first, second):
  """Averaged over which one is read first."""

  def read(a, b):
    return 1 / (1 + np.exp(-(0.3 * (a - 0.5 * b) + 0.1)))

  return (read(first, second) + 1 - read(second, first)) / 2


def test_without_opponents_each_two_responses_are_compared(reading):
  sums = np.array([[1, 4, 2], [0, 3, 3]])
  compare = models.preference_model(reading, template=TEMPLATE)
  got = jax.jit(compare)(PARAMS, prompts(2), tokens(sums), None)
  want = preferred(sums[:, :, None], sums[:, None, :])
  assert got.shape == (2, 3, 3)
  np.testing.assert_allclose(got, want, rtol=1e-5)
  np.testing.assert_array_equal(np.diagonal(got, axis1=1, axis2=2), 0.5)


def test_with_opponents_each_response_meets_each_of_theirs(reading):
  sums, others = np.array([[1, 4], [0, 3]]), np.array([[2, 5, 0], [4, 1, 3]])
  compare = models.preference_model(reading, template=TEMPLATE)
  got = jax.jit(compare)(PARAMS, prompts(2), tokens(sums), tokens(others, 3))
  want = preferred(sums[:, :, None], others[:, None, :])
  assert got.shape == (2, 2, 3)
  np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("opponents, pairs", [(None, 6), (2, 8)])
def test_only_the_pairs_that_are_read_are_compared(reading, opponents, pairs):
  """Rows that the network encodes: each pair in both orders."""
  encoded = []

  def encode(params, prompt, key=None):
    jax.debug.callback(lambda ids: encoded.append(len(ids)), prompt.ids)
    return reading.encode(params, prompt, key=key)

  compare = models.preference_model(
    reading._replace(encode=encode), template=TEMPLATE
  )
  compare(
    PARAMS,
    prompts(1),
    tokens([[1, 4, 2, 0]]),
    None if opponents is None else tokens([[3, 5]]),
  )
  jax.effects_barrier()
  assert sum(encoded) == 2 * pairs


def test_a_reward_model_reads_its_head_off_the_last_token(table_world):
  world = table_world
  weight, bias = np.array([0.3, -0.8, 0.5]), 0.2
  head = {"weight": jnp.asarray(weight, jnp.float32), "bias": jnp.float32(bias)}
  score = models.reward_model(world.model, pooling="last")
  got = score(
    {"network": world.policy, "head": head}, world.prompt, world.responses
  )
  table = np.asarray(world.policy["next"])
  lasts = [
    ids[mask][-1]
    for ids, mask in zip(
      np.asarray(world.responses.ids[0]),
      np.asarray(world.responses.mask[0]),
      strict=True,
    )
  ]
  np.testing.assert_allclose(got[0], table[lasts] @ weight + bias, rtol=1e-5)
  mean = models.reward_model(world.model, pooling="mean")(
    {"network": world.policy, "head": head}, world.prompt, world.responses
  )
  assert np.abs(mean - got).max() > 1e-2
