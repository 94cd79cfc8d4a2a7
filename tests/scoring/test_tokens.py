"""Statistics of response tokens, against the full logits and by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import models, scoring
from alignment_jax.models import base
from alignment_jax.types import Tokens
from tests.scoring_worlds import (
  COUNT,
  MASK,
  PROMPTS,
  QUICK,
  RESPONSE,
  RESPONSES,
  VOCABULARY,
  bigram,
  bigram_world,
  logits_table,
)

STATISTICS = (scoring.logprob, scoring.entropy, scoring.is_greedy)


@pytest.fixture(scope="module")
def log_softmax(network):
  """Of the full logits, by NumPy in float64: [B, K, T, V]."""
  model, params = network

  @jax.jit
  def forward(params, prompt, response):
    context = model.encode(params, prompt)
    return model.unembed(params, model.hidden(params, context, response))

  rows = []
  for k in range(COUNT):
    response = jax.tree.map(lambda array, k=k: array[:, k], RESPONSES)
    rows.append(np.asarray(forward(params, PROMPTS, response), np.float64))
  logits = np.stack(rows, axis=1)
  logits -= logits.max(axis=-1, keepdims=True)
  return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _statistics(model, chunk_size):
  return jax.jit(
    functools.partial(scoring.token_statistics, model, chunk_size=chunk_size),
    static_argnums=range(3, 3 + len(STATISTICS)),
  )


def test_scores_are_those_of_the_full_logits(network, log_softmax):
  model, params = network
  logprob, entropy, is_greedy = _statistics(model, 16)(
    params, PROMPTS, RESPONSES, *STATISTICS
  )
  ids = np.asarray(RESPONSES.ids)
  chosen = np.take_along_axis(log_softmax, ids[..., None], axis=-1)[..., 0]
  np.testing.assert_allclose(logprob[MASK], chosen[MASK], atol=1e-5)
  expected = -np.sum(np.exp(log_softmax) * log_softmax, axis=-1)
  np.testing.assert_allclose(entropy[MASK], expected[MASK], atol=1e-5)
  best = log_softmax.argmax(axis=-1) == ids
  np.testing.assert_array_equal(is_greedy[MASK], best[MASK])


def test_chunks_change_no_value_of_a_network(network):
  model, params = network
  whole = _statistics(model, 16)(params, PROMPTS, RESPONSES, *STATISTICS)
  parts = _statistics(model, 3)(params, PROMPTS, RESPONSES, *STATISTICS)
  np.testing.assert_allclose(parts, whole, atol=1e-6)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 6])
def test_chunks_of_any_size_change_no_value_of_a_table(chunk_size):
  model, params = bigram(VOCABULARY), logits_table(VOCABULARY)
  whole = _statistics(model, 16)(params, PROMPTS, RESPONSES, *STATISTICS)
  parts = _statistics(model, chunk_size)(
    params, PROMPTS, RESPONSES, *STATISTICS
  )
  np.testing.assert_allclose(parts, whole, atol=1e-6)


def _objective(model, weights, chunk_size):
  """A weighted sum of log-probabilities and entropies, by the parameters."""

  def objective(params):
    logprobs, entropy = scoring.token_statistics(
      model,
      params,
      PROMPTS,
      RESPONSES,
      scoring.logprob,
      scoring.entropy,
      chunk_size=chunk_size,
    )
    return jnp.sum(weights * (logprobs + entropy))

  return objective


def _assert_chunks_change_no_gradient(model, params, chunk_size):
  random = np.random.default_rng(2)
  weights = jnp.asarray(random.normal(size=MASK.shape), jnp.float32)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    jax.jit(jax.grad(_objective(model, weights, chunk_size)))(params),
    jax.jit(jax.grad(_objective(model, weights, RESPONSE)))(params),
  )


@pytest.mark.slow
def test_chunks_change_no_gradient_of_a_network():
  model = models.make_model("decoder_tiny", vocabulary_size=VOCABULARY)
  params = jax.jit(model.init, compiler_options=QUICK)(jax.random.key(0))
  _assert_chunks_change_no_gradient(model, params, chunk_size=3)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 6])
def test_chunks_of_any_size_change_no_gradient_of_a_table(chunk_size):
  _assert_chunks_change_no_gradient(
    bigram(VOCABULARY), logits_table(VOCABULARY), chunk_size
  )


def test_padded_positions_score_exactly_zero(network):
  model, params = network
  for values in _statistics(model, 3)(params, PROMPTS, RESPONSES, *STATISTICS):
    assert not np.any(np.asarray(values)[~MASK])


def test_padded_positions_have_exactly_zero_gradient():
  padded, real = (
    jax.jit(jax.grad(_objective(bigram(VOCABULARY), weights, 3)))(
      logits_table(VOCABULARY)
    )
    for weights in (jnp.float32(~MASK), jnp.float32(MASK))
  )
  assert not np.any(padded) and np.any(real)


def test_a_score_is_the_table_entry_of_the_token_before():
  model, params, table = bigram_world()
  prompts = Tokens(ids=jnp.array([[0, 2]]), mask=jnp.ones((1, 2), bool))
  responses = Tokens(
    ids=jnp.array([[[1, 4, 0]]]), mask=jnp.ones((1, 1, 3), bool)
  )
  # After 2 comes 1, after 1 comes 4, after 4 comes 0.
  expected = [
    table[before, after] - np.log(np.exp(table[before]).sum())
    for before, after in [(2, 1), (1, 4), (4, 0)]
  ]
  actual = scoring.token_logprobs(model, params, prompts, responses)
  np.testing.assert_allclose(actual[0, 0], expected, atol=1e-6)


def test_temperature_divides_the_logits():
  model, params, table = bigram_world()
  prompts = Tokens(ids=jnp.array([[3]]), mask=jnp.ones((1, 1), bool))
  responses = Tokens(ids=jnp.array([[[1]]]), mask=jnp.ones((1, 1, 1), bool))
  expected = table[3, 1] / 2 - np.log(np.exp(table[3] / 2).sum())
  actual = scoring.token_logprobs(
    model, params, prompts, responses, temperature=2.0
  )
  np.testing.assert_allclose(actual, [[[expected]]], atol=1e-6)


def test_half_precision_logits_are_scored_in_float32():
  # In bfloat16, log(1000) would be rounded to a multiple of 1/32.
  model = bigram(1000)
  params = jnp.zeros((1000, 1000), jnp.bfloat16)
  model = model._replace(
    unembed=lambda params, x: x.astype(jnp.bfloat16) @ params
  )
  prompts = Tokens(ids=jnp.array([[3]]), mask=jnp.ones((1, 1), bool))
  responses = Tokens(ids=jnp.array([[[1]]]), mask=jnp.ones((1, 1, 1), bool))
  logprob, entropy = scoring.token_statistics(
    model, params, prompts, responses, scoring.logprob, scoring.entropy
  )
  np.testing.assert_allclose(logprob, [[[-np.log(1000)]]], rtol=1e-6)
  np.testing.assert_allclose(entropy, [[[np.log(1000)]]], rtol=1e-5)


def test_chunked_scoring_never_holds_the_logits_of_a_batch():
  vocabulary, width, rows, length = 32_000, 32, 8, 64
  # The last token's vector as state: nothing but the logits takes memory.
  model = bigram(vocabulary)._replace(
    encode=lambda params, prompt, key=None: base.Context(
      last=params[prompt.ids[:, -1]], prefix=None, cross=None, position=None
    ),
    hidden=lambda params, context, response, key=None: jnp.concatenate(
      [context.last[:, None], params[response.ids[:, :-1]]], axis=1
    ),
    unembed=lambda params, x: x @ params.T,
  )

  def tokens(*shape):
    return Tokens(
      ids=jax.ShapeDtypeStruct(shape, jnp.int32),
      mask=jax.ShapeDtypeStruct(shape, jnp.bool),
    )

  def temporary_bytes(chunk_size):
    def loss(params, prompt, responses):
      return -scoring.token_logprobs(
        model, params, prompt, responses, chunk_size=chunk_size
      ).sum()

    table = jax.ShapeDtypeStruct((vocabulary, width), jnp.float32)
    lowered = jax.jit(jax.grad(loss)).lower(
      table, tokens(rows, 4), tokens(rows, 1, length)
    )
    return lowered.compile().memory_analysis().temp_size_in_bytes

  logits = rows * length * vocabulary * 4
  whole, chunked = temporary_bytes(length), temporary_bytes(4)
  assert whole > logits
  assert 0 < chunked < logits / 3
