"""What every network promises at the border, for each family."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from alignment_jax import errors, models
from alignment_jax.models import base
from alignment_jax.types import Tokens

# What runs once should rather compile fast.
QUICK = {"xla_backend_optimization_level": 0}
VOCABULARY = 17
PROMPT, RESPONSE = 6, 5
PROMPT_LENGTHS = np.array([6, 3, 1])
RESPONSE_LENGTHS = np.array([5, 3, 1])
ROWS = len(PROMPT_LENGTHS)

_random = np.random.default_rng(0)
PROMPTS = Tokens(
  ids=jnp.asarray(_random.integers(VOCABULARY, size=(ROWS, PROMPT)), jnp.int32),
  mask=jnp.asarray(np.arange(PROMPT) >= PROMPT - PROMPT_LENGTHS[:, None]),
)
RESPONSES = Tokens(
  ids=jnp.asarray(
    _random.integers(VOCABULARY, size=(ROWS, RESPONSE)), jnp.int32
  ),
  mask=jnp.asarray(np.arange(RESPONSE) < RESPONSE_LENGTHS[:, None]),
)
# Entry t has read the tokens before t: a fact of the data up to t = length.
READ = np.arange(RESPONSE) <= RESPONSE_LENGTHS[:, None]


class World(NamedTuple):
  """A model with its functions compiled and its parameters given.

  Attributes:
    encode: (prompts, key=None) -> Context.
    hidden: (context, responses, key=None) -> [B, T, D].
    states: (prompts, responses) -> [B, T, D], both at once.
    step: (cache, ids) -> ([B, D], cache).
  """

  name: str
  model: base.Model
  params: Any
  encode: Callable
  hidden: Callable
  states: Callable
  step: Callable

  def variant(self, **settings):
    """The same parameters in a model that differs in some settings."""
    return _world(self.name, self.params, **settings)

  def logprobs(self, prompts, responses):
    logits = self.model.unembed(self.params, self.states(prompts, responses))
    return np.asarray(jax.nn.log_softmax(logits.astype(jnp.float32)))


def _world(name, params=None, **settings):
  model = models.make_model(name, vocabulary_size=VOCABULARY, **settings)
  if params is None:
    params = jax.jit(model.init, compiler_options=QUICK)(jax.random.key(0))

  def states(params, prompts, responses):
    return model.hidden(params, model.encode(params, prompts), responses)

  compiled = (
    functools.partial(jax.jit(function), params)
    for function in (model.encode, model.hidden, states, model.step)
  )
  return World(name, model, params, *compiled)


@pytest.fixture(scope="module", params=["decoder_tiny", "t5_tiny"])
def world(request):
  return _world(request.param)


@pytest.fixture(scope="module")
def expected(world):
  """The states that most tests arrive at on another way."""
  return np.asarray(world.states(PROMPTS, RESPONSES))


@pytest.fixture(scope="module")
def dropping(world):
  return world.variant(dropout=0.5)


def _pad(tokens, left=0, right=0, token=0):
  width = [(0, 0), (left, right)]
  return Tokens(
    ids=jnp.pad(tokens.ids, width, constant_values=token),
    mask=jnp.pad(tokens.mask, width),
  )


def test_step_by_step_gives_the_states_of_all_at_once(world, expected):
  context = world.encode(PROMPTS)
  np.testing.assert_allclose(context.last, expected[:, 0], atol=1e-4)
  # More room than tokens: free slots must not be seen.
  cache = world.model.init_cache(context, RESPONSE + 2)
  for t in range(RESPONSE - 1):
    state, cache = world.step(cache, RESPONSES.ids[:, t])
    read = READ[:, t + 1]
    np.testing.assert_allclose(
      np.asarray(state)[read], expected[:, t + 1][read], atol=1e-4
    )


def test_more_padding_on_the_left_of_a_prompt_changes_nothing(world, expected):
  padded = _pad(PROMPTS, left=3, token=5)
  actual = np.asarray(world.states(padded, RESPONSES))
  np.testing.assert_allclose(actual[READ], expected[READ], atol=1e-5)


def test_more_padding_on_the_right_of_a_response_changes_nothing(
  world, expected
):
  padded = _pad(RESPONSES, right=2, token=5)
  actual = np.asarray(world.states(PROMPTS, padded))[:, :RESPONSE]
  np.testing.assert_allclose(actual[READ], expected[READ], atol=1e-5)


def test_what_stands_under_a_false_mask_changes_nothing(world, expected):
  def garbled(tokens):
    other = (tokens.ids + 7) % VOCABULARY
    return tokens.replace(ids=jnp.where(tokens.mask, tokens.ids, other))

  actual = np.asarray(world.states(garbled(PROMPTS), garbled(RESPONSES)))
  np.testing.assert_array_equal(actual[READ], expected[READ])


def test_every_real_prompt_token_is_read(world, expected):
  first = PROMPT - PROMPT_LENGTHS
  ids = PROMPTS.ids.at[np.arange(ROWS), first].add(1) % VOCABULARY
  actual = np.asarray(world.states(PROMPTS.replace(ids=ids), RESPONSES))
  assert np.all(np.abs(actual - expected).max(axis=-1)[READ] > 1e-4)


def test_a_later_token_changes_no_earlier_state(world, expected):
  ids = RESPONSES.ids.at[0, 3].add(1) % VOCABULARY
  actual = np.asarray(world.states(PROMPTS, RESPONSES.replace(ids=ids)))
  np.testing.assert_array_equal(actual[0, :4], expected[0, :4])
  assert np.abs(actual[0, 4] - expected[0, 4]).max() > 1e-3


def test_the_order_of_response_tokens_matters(world):
  # A bag of tokens would leave the same state behind.
  ids = jnp.array([[1, 2, 3, 4, 5], [2, 1, 3, 4, 5], [1, 2, 3, 4, 5]])
  same_prompt = jax.tree.map(lambda a: jnp.stack([a[1]] * ROWS), PROMPTS)
  states = world.states(same_prompt, Tokens(ids, jnp.ones(ids.shape, bool)))
  np.testing.assert_array_equal(states[0, 4], states[2, 4])
  assert np.abs(states[0, 4] - states[1, 4]).max() > 1e-4


def test_a_repeated_context_is_the_context_of_repeated_prompts(world):
  def twice(tokens):
    return jax.tree.map(lambda array: jnp.repeat(array, 2, axis=0), tokens)

  # Two responses to each prompt: its own and that of the row before.
  responses = jax.tree.map(
    lambda array: jnp.stack(
      [array, jnp.roll(array, 1, axis=0)], axis=1
    ).reshape(2 * ROWS, RESPONSE),
    RESPONSES,
  )
  once = world.hidden(base.repeat(world.encode(PROMPTS), 2), responses)
  separate = world.hidden(world.encode(twice(PROMPTS)), responses)
  np.testing.assert_allclose(once, separate, atol=1e-5)


def test_an_empty_response_and_an_empty_prompt_give_no_nan(world):
  def emptied(tokens):
    return tokens.replace(mask=tokens.mask.at[0].set(False))

  def total(params):
    context = world.model.encode(params, emptied(PROMPTS))
    return world.model.hidden(params, context, emptied(RESPONSES)).sum()

  value, gradients = jax.jit(jax.value_and_grad(total))(world.params)
  assert np.isfinite(value)
  assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradients))


def test_the_only_state_of_a_single_token_comes_from_the_prompt(world):
  context = world.encode(PROMPTS)
  single = jax.tree.map(lambda array: array[:, :1], RESPONSES)
  states = world.hidden(context, single)
  np.testing.assert_array_equal(states, context.last[:, None])


def test_axes_name_every_dimension_of_every_parameter(world):
  def is_spec(node):
    return isinstance(node, PartitionSpec)

  # Fails where the two trees differ.
  ranks = jax.tree.map(
    lambda spec, array: (len(spec), array.ndim),
    world.model.axes,
    world.params,
    is_leaf=is_spec,
  )
  for named, actual in jax.tree.leaves(
    ranks, is_leaf=lambda node: isinstance(node, tuple)
  ):
    assert named == actual


def test_an_axis_name_means_one_size(world):
  sizes = {}
  for spec, array in zip(
    jax.tree.leaves(
      world.model.axes, is_leaf=lambda node: isinstance(node, PartitionSpec)
    ),
    jax.tree.leaves(world.params),
    strict=True,
  ):
    for name, size in zip(spec, array.shape, strict=True):
      sizes.setdefault(name, set()).add(size)
  assert all(len(of_name) == 1 for of_name in sizes.values()), sizes
  assert sizes["vocabulary"] == {VOCABULARY} and sizes["layers"] == {2}


def test_parameters_are_a_plain_dict_of_float32_arrays(world):
  def check(node):
    if isinstance(node, dict):
      for child in node.values():
        check(child)
    else:
      assert isinstance(node, jax.Array) and node.dtype == jnp.float32

  assert type(world.params) is dict
  check(world.params)


def test_there_is_no_dropout_without_a_key(dropping, expected):
  actual = dropping.states(PROMPTS, RESPONSES)
  np.testing.assert_array_equal(actual, expected)


def test_a_key_drops_features_where_a_prompt_is_read(dropping):
  plain = dropping.encode(PROMPTS).last
  one = dropping.encode(PROMPTS, key=jax.random.key(1)).last
  again = dropping.encode(PROMPTS, key=jax.random.key(1)).last
  other = dropping.encode(PROMPTS, key=jax.random.key(2)).last
  np.testing.assert_array_equal(one, again)
  assert np.abs(one - plain).max() > 0.1 and np.abs(one - other).max() > 0.1


def test_a_key_drops_features_where_a_response_is_read(dropping, expected):
  context = dropping.encode(PROMPTS)
  actual = dropping.hidden(context, RESPONSES, key=jax.random.key(1))
  assert np.abs(actual[:, 1:] - expected[:, 1:]).max() > 0.1


def test_bfloat16_stays_near_float32(world):
  half = world.variant(dtype="bfloat16")
  assert half.states(PROMPTS, RESPONSES).dtype == jnp.bfloat16
  logprobs = world.logprobs(PROMPTS, RESPONSES)[READ]
  difference = half.logprobs(PROMPTS, RESPONSES)[READ] - logprobs
  # A number is rounded by up to 2^-9 of itself, some twenty times on its way
  # through two layers: about one per cent of how far the logits spread.
  assert np.sqrt(np.mean(difference**2)) < 2e-2 * np.std(logprobs)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_float32_even_from_bfloat16_states(world, tied):
  half = models.make_model(
    world.name, vocabulary_size=VOCABULARY, dtype="bfloat16", tied=tied
  )
  logits = jax.eval_shape(
    lambda key, state: half.unembed(half.init(key), state),
    jax.random.key(0),
    jax.ShapeDtypeStruct((2, half.settings.width), jnp.bfloat16),
  )
  assert logits.shape == (2, VOCABULARY) and logits.dtype == jnp.float32


def test_reading_the_prompt_once_equals_reading_prompt_and_response_anew():
  # In a decoder, state t is what a prompt that ends with the first t response
  # tokens leaves behind.
  world = _world("decoder_tiny")
  expected = np.asarray(world.states(PROMPTS, RESPONSES))
  rows = []
  for row in range(ROWS):
    real = np.asarray(PROMPTS.ids[row])[np.asarray(PROMPTS.mask[row])]
    for t in range(RESPONSE):
      grown = [*real, *np.asarray(RESPONSES.ids[row, :t])]
      rows.append(np.pad(grown, (PROMPT + RESPONSE - len(grown), 0)))
  lengths = (PROMPT_LENGTHS[:, None] + np.arange(RESPONSE)).reshape(-1, 1)
  width = PROMPT + RESPONSE
  grown_prompts = Tokens(
    ids=jnp.asarray(np.stack(rows), jnp.int32),
    mask=jnp.asarray(np.arange(width) >= width - lengths),
  )
  anew = np.asarray(world.encode(grown_prompts).last)
  anew = anew.reshape(ROWS, RESPONSE, -1)
  np.testing.assert_allclose(expected[READ], anew[READ], atol=1e-5)


def test_a_wrong_model_name_lists_the_models():
  with pytest.raises(errors.UserError, match="decoder_tinny") as raised:
    models.make_model("decoder_tinny", vocabulary_size=5)
  assert all(name in str(raised.value) for name in models.MODELS)


@pytest.mark.parametrize(
  "name, setting, existing",
  [
    ("decoder_tiny", "rope", "rope_theta"),
    ("t5_tiny", "rope_theta", "max_distance"),
  ],
)
def test_a_wrong_setting_lists_the_settings_of_the_family(
  name, setting, existing
):
  with pytest.raises(errors.UserError, match=f"'{setting}'.* {existing}"):
    models.make_model(name, vocabulary_size=5, **{setting: 1})


@pytest.mark.parametrize("name", ["decoder_tiny", "t5_tiny"])
@pytest.mark.parametrize(
  "setting, value, listed",
  [
    ("activation", "mish", "gelu, gelu_tanh, relu, silu"),
    ("remat", "all", "none, dots, full"),
    ("attention", "flash", "auto, xla, cudnn, splash"),
  ],
)
def test_a_value_that_a_setting_cannot_take_lists_those_it_can(
  name, setting, value, listed
):
  message = f"{setting} must be one of {listed}, got '{value}'"
  with pytest.raises(errors.UserError, match=message):
    models.make_model(name, vocabulary_size=5, **{setting: value})


def test_a_decoder_has_one_of_two_norms_and_whole_groups_of_heads():
  with pytest.raises(errors.UserError, match="norm must be one of rms, layer"):
    models.make_model("decoder_tiny", vocabulary_size=5, norm="batch")
  with pytest.raises(errors.UserError, match="must divide heads, got 3 and 4"):
    models.make_model("decoder_tiny", vocabulary_size=5, heads=4, kv_heads=3)
