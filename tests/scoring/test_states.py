"""Pooled states, rewards and values of responses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, scoring
from alignment_jax.types import Tokens
from tests.scoring_worlds import (
  PROMPTS,
  QUICK,
  RESPONSE,
  RESPONSES,
  bigram_world,
  padded,
  with_head,
)


def test_the_final_state_has_read_exactly_the_last_real_token():
  model, params, _ = bigram_world()
  prompts = Tokens(ids=jnp.array([[0, 2]]), mask=jnp.ones((1, 2), bool))
  # Full length, padded, a single token, and empty: then the prompt's last.
  responses = Tokens(
    ids=jnp.array([[[1, 4, 3], [1, 3, 4], [4, 1, 1], [1, 1, 1]]]),
    mask=jnp.array(
      [
        [
          [True, True, True],
          [True, True, False],
          [True, False, False],
          [False, False, False],
        ]
      ]
    ),
  )
  states = scoring.response_state(model, params, prompts, responses)
  np.testing.assert_array_equal(states.argmax(axis=-1), [[3, 3, 4, 2]])


def test_the_mean_state_weighs_every_real_token_alike():
  model, table, _ = bigram_world()
  prompts = Tokens(ids=jnp.array([[0, 2]]), mask=jnp.ones((1, 2), bool))
  responses = Tokens(
    ids=jnp.array([[[1, 4, 3], [1, 3, 4], [1, 1, 1]]]),
    mask=jnp.array(
      [[[True, True, True], [True, True, False], [False, False, False]]]
    ),
  )
  states = scoring.response_state(
    model, table, prompts, responses, pooling="mean"
  )
  # One-hot states; the empty response has the prompt's last.
  np.testing.assert_allclose(
    states,
    [[[0, 1 / 3, 0, 1 / 3, 1 / 3], [0, 0.5, 0, 0.5, 0], [0, 0, 1, 0, 0]]],
    rtol=1e-6,
  )


def test_an_unknown_pooling_lists_those_there_are(network):
  model, params = network
  with pytest.raises(errors.UserError, match="no pooling 'max'.*last, mean"):
    scoring.response_state(model, params, PROMPTS, RESPONSES, pooling="max")


def test_a_reward_is_the_head_on_the_final_state():
  model, table, _ = bigram_world()
  head = {"weight": jnp.arange(5.0), "bias": jnp.float32(0.5)}
  prompts = Tokens(ids=jnp.array([[0]]), mask=jnp.ones((1, 1), bool))
  responses = Tokens(
    ids=jnp.array([[[3, 4], [2, 1]]]),
    mask=jnp.array([[[True, True], [True, False]]]),
  )
  rewards = scoring.rewards(
    model, {"network": table, "head": head}, prompts, responses
  )
  # The head weighs token i with i.
  np.testing.assert_array_equal(rewards, [[4.5, 2.5]])


@pytest.mark.parametrize("pooling", scoring.POOLINGS)
def test_the_state_of_a_response_is_blind_to_padding(network, pooling):
  model, params = network
  final = jax.jit(
    functools.partial(scoring.response_state, model, pooling=pooling)
  )
  garbled = RESPONSES.replace(
    ids=jnp.where(RESPONSES.mask, RESPONSES.ids, RESPONSES.ids + 1)
  )
  one, other = (final(params, PROMPTS, r) for r in (RESPONSES, garbled))
  np.testing.assert_array_equal(one, other)
  assert np.all(np.isfinite(one))


def test_a_value_is_of_the_state_before_its_token():
  model, table, _ = bigram_world()
  head = {"weight": jnp.arange(5.0), "bias": jnp.float32(0.5)}
  prompts = Tokens(ids=jnp.array([[0, 2]]), mask=jnp.ones((1, 2), bool))
  responses = Tokens(
    ids=jnp.array([[[3, 4, 1], [4, 1, 1], [1, 1, 1]]]),
    mask=jnp.array(
      [[[True, True, True], [True, False, False], [False, False, False]]]
    ),
  )
  values = scoring.token_values(
    model, {"network": table, "head": head}, prompts, responses
  )
  # The head weighs the token that was read last with itself: 2 in the prompt,
  # then 3, then 4; after the end stand 1, 4, and for nothing the prompt's 2.
  np.testing.assert_array_equal(
    values.tokens, [[[2.5, 3.5, 4.5], [2.5, 0, 0], [0, 0, 0]]]
  )
  np.testing.assert_array_equal(values.final, [[1.5, 4.5, 2.5]])


def test_values_are_blind_to_padding_and_reach_every_real_state(network):
  model, params = with_head(network)
  read = jax.jit(
    functools.partial(scoring.token_values, model), compiler_options=QUICK
  )
  one = read(params, PROMPTS, RESPONSES)
  other = read(params, padded(PROMPTS, left=2), padded(RESPONSES, right=3))
  np.testing.assert_allclose(
    one.tokens, other.tokens[..., :RESPONSE], atol=1e-5
  )
  np.testing.assert_allclose(one.final, other.final, atol=1e-5)
  assert not np.any(other.tokens[..., RESPONSE:])
  # The first value and an empty response's final one read the prompt alone.
  np.testing.assert_allclose(one.tokens[0, 0, 0], one.tokens[0, 1, 0])
  np.testing.assert_allclose(one.final[1, 1], one.tokens[1, 0, 0], atol=1e-6)
