import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, models, scoring
from alignment_jax.models import base, heads
from alignment_jax.types import Tokens

# What runs once should rather compile fast.
QUICK = {"xla_backend_optimization_level": 0}
VOCABULARY, ROWS, COUNT, RESPONSE = 17, 2, 2, 7
PROMPTS = Tokens(
  ids=jnp.array([[9, 9, 3, 1], [2, 4, 6, 8]]),
  mask=jnp.array([[False, False, True, True], [True] * 4]),
)
LENGTHS = np.array([[7, 3], [1, 0]])
MASK = np.arange(RESPONSE) < LENGTHS[..., None]
RESPONSES = Tokens(
  ids=jnp.asarray(
    np.random.default_rng(0).integers(VOCABULARY, size=(ROWS, COUNT, RESPONSE)),
    jnp.int32,
  ),
  mask=jnp.asarray(MASK),
)
STATISTICS = (scoring.logprob, scoring.entropy, scoring.is_greedy)


def _bigram(vocabulary):
  """A network whose state is the one-hot vector of the last token it read."""

  def state(ids):
    return jax.nn.one_hot(ids, vocabulary)

  def encode(params, prompt, key=None):
    rows = prompt.ids.shape[0]
    nothing = jnp.zeros((1, rows, 0, 1, 1))
    return base.Context(
      last=state(prompt.ids[:, -1]),
      prefix=base.Memory(
        keys=nothing,
        values=nothing,
        mask=jnp.zeros((rows, 0), bool),
        positions=jnp.zeros((rows, 0), jnp.int32),
      ),
      cross=None,
      position=jnp.zeros(rows, jnp.int32),
    )

  def hidden(params, context, response, key=None):
    return jnp.concatenate(
      [context.last[:, None], state(response.ids[:, :-1])], axis=1
    )

  return base.Model(
    init=None,
    axes=None,
    encode=encode,
    hidden=hidden,
    unembed=lambda params, x: x @ params,
    init_cache=base.init_cache,
    step=None,
    settings=None,
  )


@pytest.fixture(scope="module", params=["decoder_tiny", "t5_tiny"])
def network(request):
  model = models.make_model(request.param, vocabulary_size=VOCABULARY)
  return model, jax.jit(model.init, compiler_options=QUICK)(jax.random.key(0))


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


def _table(vocabulary):
  """Row i holds the logits after token i."""
  table = np.random.default_rng(1).normal(size=(vocabulary, vocabulary))
  return jnp.asarray(table, jnp.float32)


def _bigram_world():
  table = _table(5)
  return _bigram(5), table, np.asarray(table, np.float64)


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
  model, params = _bigram(VOCABULARY), _table(VOCABULARY)
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
    _bigram(VOCABULARY), _table(VOCABULARY), chunk_size
  )


def test_padded_positions_score_exactly_zero(network):
  model, params = network
  for values in _statistics(model, 3)(params, PROMPTS, RESPONSES, *STATISTICS):
    assert not np.any(np.asarray(values)[~MASK])


def test_padded_positions_have_exactly_zero_gradient():
  padded, real = (
    jax.jit(jax.grad(_objective(_bigram(VOCABULARY), weights, 3)))(
      _table(VOCABULARY)
    )
    for weights in (jnp.float32(~MASK), jnp.float32(MASK))
  )
  assert not np.any(padded) and np.any(real)


def test_a_score_is_the_table_entry_of_the_token_before():
  model, params, table = _bigram_world()
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
  model, params, table = _bigram_world()
  prompts = Tokens(ids=jnp.array([[3]]), mask=jnp.ones((1, 1), bool))
  responses = Tokens(ids=jnp.array([[[1]]]), mask=jnp.ones((1, 1, 1), bool))
  expected = table[3, 1] / 2 - np.log(np.exp(table[3] / 2).sum())
  actual = scoring.token_logprobs(
    model, params, prompts, responses, temperature=2.0
  )
  np.testing.assert_allclose(actual, [[[expected]]], atol=1e-6)


def test_half_precision_logits_are_scored_in_float32():
  # In bfloat16, log(1000) would be rounded to a multiple of 1/32.
  model = _bigram(1000)
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


def test_the_final_state_has_read_exactly_the_last_real_token():
  model, params, _ = _bigram_world()
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
  model, table, _ = _bigram_world()
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
  model, table, _ = _bigram_world()
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
  model, table, _ = _bigram_world()
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


def test_a_value_may_be_several_quantiles():
  model, table, _ = _bigram_world()
  weight = jnp.stack([jnp.arange(5.0), -jnp.arange(5.0)], axis=1)
  head = {"weight": weight, "bias": jnp.array([0.0, 1.0])}
  prompts = Tokens(ids=jnp.array([[2]]), mask=jnp.ones((1, 1), bool))
  responses = Tokens(
    ids=jnp.array([[[3, 4]]]), mask=jnp.array([[[True, False]]])
  )
  values = scoring.token_values(
    model,
    {"network": table, "head": head},
    prompts,
    responses,
    head=heads.quantiles,
  )
  np.testing.assert_array_equal(values.tokens, [[[[2, -1], [0, 0]]]])
  np.testing.assert_array_equal(values.final, [[[3, -2]]])


def _padded(tokens, left=0, right=0):
  """More of what the mask hides, with ids that would tell."""
  width = [(0, 0)] * (tokens.ids.ndim - 1) + [(left, right)]
  return Tokens(
    ids=jnp.pad(
      jnp.where(tokens.mask, tokens.ids, 5), width, constant_values=7
    ),
    mask=jnp.pad(tokens.mask, width),
  )


def _with_head(network):
  model, params = network
  head = heads.init_scalar(jax.random.key(1), model.settings.width)
  return model, {"network": params, "head": head}


def test_values_are_blind_to_padding_and_reach_every_real_state(network):
  model, params = _with_head(network)
  read = jax.jit(
    functools.partial(scoring.token_values, model), compiler_options=QUICK
  )
  one = read(params, PROMPTS, RESPONSES)
  other = read(params, _padded(PROMPTS, left=2), _padded(RESPONSES, right=3))
  np.testing.assert_allclose(
    one.tokens, other.tokens[..., :RESPONSE], atol=1e-5
  )
  np.testing.assert_allclose(one.final, other.final, atol=1e-5)
  assert not np.any(other.tokens[..., RESPONSE:])
  # The first value and an empty response's final one read the prompt alone.
  np.testing.assert_allclose(one.tokens[0, 0, 0], one.tokens[0, 1, 0])
  np.testing.assert_allclose(one.final[1, 1], one.tokens[1, 0, 0], atol=1e-6)


TEMPLATE = scoring.Template(
  before_first=(10,), before_second=(11, 12), after=(13,)
)
FIRST = Tokens(
  ids=jnp.array([[1, 2, 3], [4, 9, 9]]),
  mask=jnp.array([[True, True, True], [True, False, False]]),
)
SECOND = Tokens(
  ids=jnp.array([[5, 9], [6, 7]]), mask=jnp.array([[True, False], [True, True]])
)


def test_a_comparison_holds_both_answers_without_gaps():
  whole = scoring.comparison(PROMPTS, FIRST, SECOND, TEMPLATE)
  real = [np.asarray(whole.ids[i])[np.asarray(whole.mask[i])] for i in (0, 1)]
  np.testing.assert_array_equal(real[0], [3, 1, 10, 1, 2, 3, 11, 12, 5, 13])
  np.testing.assert_array_equal(real[1], [2, 4, 6, 8, 10, 4, 11, 12, 6, 7, 13])
  # Left-padded: what is real stands at the right end.
  places = np.arange(whole.ids.shape[1])
  for mask, tokens in zip(whole.mask, real, strict=True):
    np.testing.assert_array_equal(mask, places >= len(places) - len(tokens))


def test_a_comparison_without_separators_joins_the_parts():
  bare = scoring.Template(before_first=(), before_second=())
  whole = scoring.comparison(PROMPTS, FIRST, SECOND, bare)
  np.testing.assert_array_equal(whole.ids[0, -6:], [3, 1, 1, 2, 3, 5])


def test_a_preference_is_the_head_on_the_state_behind_both_answers():
  model, table, _ = _bigram_world()
  head = {"weight": jnp.arange(5.0), "bias": jnp.float32(-1.0)}
  prompts = Tokens(ids=jnp.array([[0]]), mask=jnp.ones((1, 1), bool))
  answer = Tokens(ids=jnp.array([[2, 4]]), mask=jnp.array([[True, False]]))
  logits = scoring.preference_logits(
    model,
    {"network": table, "head": head},
    prompts,
    Tokens(ids=jnp.array([[3]]), mask=jnp.ones((1, 1), bool)),
    answer,
    template=scoring.Template(before_first=(1,), before_second=(1,)),
  )
  # The bigram's state is the last real token, 2.
  np.testing.assert_array_equal(logits, [1.0])


@pytest.fixture(scope="module")
def rater(network):
  model, params = _with_head(network)
  read = jax.jit(
    functools.partial(scoring.preference_logits, model, template=TEMPLATE),
    compiler_options=QUICK,
  )
  return functools.partial(read, params), model, params


def test_preference_logits_are_blind_to_padding(rater):
  read, *_ = rater
  padded = read(
    _padded(PROMPTS, left=3), _padded(FIRST, right=2), _padded(SECOND, right=1)
  )
  np.testing.assert_allclose(read(PROMPTS, FIRST, SECOND), padded, atol=1e-5)


def test_a_preference_reads_every_part_and_their_order(rater):
  read, *_ = rater
  logits = read(PROMPTS, FIRST, SECOND)

  def changed(tokens, place):
    return tokens.replace(ids=tokens.ids.at[0, place].add(1))

  for other in (
    (changed(PROMPTS, 2), FIRST, SECOND),
    (PROMPTS, changed(FIRST, 0), SECOND),
    (PROMPTS, FIRST, changed(SECOND, 0)),
    (PROMPTS, SECOND, FIRST),
  ):
    difference = np.abs(read(*other) - logits)
    assert difference[0] > 1e-5


def test_the_gradient_of_a_preference_reaches_network_and_head(rater):
  _, model, params = rater

  def total(params):
    return scoring.preference_logits(
      model, params, PROMPTS, FIRST, SECOND, template=TEMPLATE
    ).sum()

  gradients = jax.jit(jax.grad(total), compiler_options=QUICK)(params)
  # d logit / d bias = 1 in each of two rows.
  np.testing.assert_allclose(gradients["head"]["bias"], 2.0)
  table = np.asarray(gradients["network"]["embedding"]["table"])
  norms = np.abs(table).max(axis=1)
  # Ids of the prompts, the answers and the template.
  assert np.all(norms[[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]] > 0)
  if not model.settings.tied:
    assert not np.any(norms[[9, 14, 15, 16]])


def test_swapping_averages_what_both_orders_say():
  # P(a, b) = 1/2 and P(b, a) = 3/4: (1/2 + 1 - 3/4) / 2.
  actual = scoring.swap_averaged(jnp.zeros(1), jnp.log(jnp.full(1, 3.0)))
  np.testing.assert_allclose(actual, [0.375], rtol=1e-6)


def test_averaged_preferences_of_both_sides_sum_to_one():
  model, table, _ = _bigram_world()
  head = {"weight": jnp.arange(5.0) / 4, "bias": jnp.float32(0.0)}
  prompt, first, second = (
    Tokens(ids=jnp.array([[i]]), mask=jnp.ones((1, 1), bool)) for i in (0, 3, 2)
  )

  def prefer(*answers):
    return scoring.preferences(
      model,
      {"network": table, "head": head},
      prompt,
      *answers,
      template=scoring.Template(before_first=(1,), before_second=(1,)),
    )

  # The bigram reads who stands second: logits 2 / 4, and 3 / 4 swapped.
  expected = (1 / (1 + np.exp(-0.5)) + 1 - 1 / (1 + np.exp(-0.75))) / 2
  np.testing.assert_allclose(prefer(first, second), [expected], rtol=1e-6)
  np.testing.assert_allclose(prefer(second, first), [1 - expected], rtol=1e-6)
  np.testing.assert_allclose(prefer(first, first), [0.5], rtol=1e-6)


def test_chunked_scoring_never_holds_the_logits_of_a_batch():
  vocabulary, width, rows, length = 32_000, 32, 8, 64
  # The last token's vector as state: nothing but the logits takes memory.
  model = _bigram(vocabulary)._replace(
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
