"""Sampled tokens, their log-probabilities, and where a response ends."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, models, sampling, scoring
from alignment_jax.data import buckets
from alignment_jax.models import base
from alignment_jax.types import Tokens

# What runs once should rather compile fast.
QUICK = {"xla_backend_optimization_level": 0}
EOS, VOCABULARY, LENGTH = 1, 17, 6
PROMPTS = Tokens(
  ids=jnp.array([[5, 5, 3, 2], [2, 4, 6, 0]]),
  mask=jnp.array([[False, False, True, True], [True] * 4]),
)


class Network(NamedTuple):
  model: base.Model
  params: Any

  def generate(self, key=0, **settings):
    settings = {"eos_id": EOS, "max_tokens": LENGTH} | settings
    return jax.jit(
      functools.partial(sampling.generate, self.model, **settings)
    )(self.params, PROMPTS, jax.random.key(key))


@pytest.fixture(scope="module", params=["decoder_tiny", "t5_tiny"])
def network(request):
  model = models.make_model(request.param, vocabulary_size=VOCABULARY)
  return Network(
    model, jax.jit(model.init, compiler_options=QUICK)(jax.random.key(0))
  )


@pytest.fixture(scope="module")
def greedy(network):
  return network.generate(temperature=0.0)


@functools.cache
def _coin(*probabilities):
  """A network that draws every token from the same distribution."""

  def states(rows):
    return jnp.ones((rows, 1))

  def encode(params, prompt, key=None):
    rows = prompt.ids.shape[0]
    nothing = jnp.zeros((1, rows, 0, 1, 1))
    return base.Context(
      last=states(rows),
      prefix=base.Memory(
        keys=nothing,
        values=nothing,
        mask=jnp.zeros((rows, 0), bool),
        positions=jnp.zeros((rows, 0), jnp.int32),
      ),
      cross=None,
      position=jnp.zeros(rows, jnp.int32),
    )

  model = base.Model(
    init=None,
    axes=None,
    encode=encode,
    hidden=None,
    unembed=lambda params, x: x @ params,
    init_cache=base.init_cache,
    step=lambda params, cache, ids: (states(ids.shape[0]), cache),
    settings=None,
  )
  return Network(model, jnp.log(jnp.array([probabilities])))


def _assert_frequency(hits, probability):
  """A share of independent draws, within four standard errors."""
  error = np.sqrt(probability * (1 - probability) / hits.size)
  np.testing.assert_allclose(np.mean(hits), probability, atol=4 * error)


def test_sampled_logprobs_are_those_of_scoring(network):
  samples = network.generate(samples=3, temperature=0.7)
  scored = jax.jit(
    functools.partial(scoring.token_logprobs, network.model, temperature=0.7)
  )(network.params, PROMPTS, samples.responses)
  assert scored.shape == (2, 3, LENGTH)
  np.testing.assert_allclose(samples.logprobs, scored, atol=1e-4)


def test_greedy_takes_the_argmax_of_a_full_forward_at_each_step(
  network, greedy
):
  model, params = network

  @jax.jit
  def logits(ids):
    response = Tokens(ids, jnp.ones(ids.shape, bool))
    states = model.hidden(params, model.encode(params, PROMPTS), response)
    return model.unembed(params, states)

  ids = jnp.zeros((2, LENGTH), jnp.int32)
  for t in range(LENGTH):
    ids = ids.at[:, t].set(logits(ids)[:, t].argmax(axis=-1).astype(jnp.int32))
  real = np.asarray(greedy.responses.mask[:, 0])
  assert real.sum() >= LENGTH
  np.testing.assert_array_equal(
    np.asarray(greedy.responses.ids[:, 0])[real], np.asarray(ids)[real]
  )


def test_one_best_token_is_greedy(network, greedy):
  best = network.generate(top_k=1)
  np.testing.assert_array_equal(best.responses.mask, greedy.responses.mask)
  np.testing.assert_array_equal(
    np.asarray(best.responses.ids)[best.responses.mask],
    np.asarray(greedy.responses.ids)[greedy.responses.mask],
  )


def test_a_response_ends_with_eos_or_fills_the_room():
  samples = _coin(0.4, 0.3, 0.3).generate(samples=100, max_tokens=4)
  ids = np.asarray(samples.responses.ids).reshape(-1, 4)
  mask = np.asarray(samples.responses.mask).reshape(-1, 4)
  lengths = mask.sum(axis=-1)
  assert set(lengths) == {1, 2, 3, 4}
  for row, real, length in zip(ids, mask, lengths, strict=True):
    # Real tokens come first, and eos is only ever the last of them.
    assert real.tolist() == [True] * length + [False] * (4 - length)
    assert EOS not in row[: length - 1]
    assert row[length - 1] == EOS or length == 4
  # Some that fill the room were cut, and have no eos.
  assert set(ids[lengths == 4, 3]) == {0, 1, 2}


def test_logprobs_are_zero_after_the_end():
  samples = _coin(0.5, 0.5).generate(samples=50, max_tokens=4)
  mask = np.asarray(samples.responses.mask)
  logprobs = np.asarray(samples.logprobs)
  np.testing.assert_allclose(logprobs[mask], np.log(0.5), rtol=1e-6)
  assert not mask.all() and not np.any(logprobs[~mask])


def test_tokens_come_as_often_as_they_are_likely():
  # No eos: token 1 is an ordinary one here.
  samples = _coin(0.7, 0.3).generate(samples=1000, max_tokens=2, eos_id=None)
  ids = np.asarray(samples.responses.ids)
  _assert_frequency(ids == 0, 0.7)
  # One step tells nothing of the next.
  _assert_frequency(ids.sum(axis=-1) == 0, 0.49)


def test_temperature_sharpens_the_frequencies():
  samples = _coin(0.7, 0.3).generate(
    samples=1000, max_tokens=1, eos_id=None, temperature=0.5
  )
  # p^2 / (p^2 + q^2)
  _assert_frequency(np.asarray(samples.responses.ids) == 0, 0.49 / 0.58)


@pytest.mark.parametrize(
  "top_p, kept",
  [
    (0.01, {2}),
    (0.49, {2}),
    (0.51, {2, 0}),
    (0.79, {2, 0}),
    (0.81, {2, 0, 3}),
    (0.97, {2, 0, 3, 1}),
    (1.0, {2, 0, 3, 1}),
  ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, kept):
  # In order: 0.5 for token 2, then 0.8 with 0, 0.95 with 3, and 1.
  samples = _coin(0.3, 0.05, 0.5, 0.15).generate(
    samples=500, max_tokens=1, eos_id=None, top_p=top_p
  )
  assert set(np.asarray(samples.responses.ids).ravel().tolist()) == kept


@pytest.mark.parametrize(
  "top_k, kept", [(1, {2}), (2, {2, 0}), (4, {0, 1, 2, 3}), (9, {0, 1, 2, 3})]
)
def test_top_k_keeps_that_many_of_the_most_likely(top_k, kept):
  samples = _coin(0.3, 0.05, 0.5, 0.15).generate(
    samples=500, max_tokens=1, eos_id=None, top_k=top_k
  )
  assert set(np.asarray(samples.responses.ids).ravel().tolist()) == kept


def test_what_is_kept_keeps_its_odds():
  samples = _coin(0.3, 0.05, 0.5, 0.15).generate(
    samples=1000, max_tokens=1, eos_id=None, top_k=2
  )
  _assert_frequency(np.asarray(samples.responses.ids) == 2, 0.5 / 0.8)


def test_logprobs_are_those_before_anything_is_cut():
  samples = _coin(0.3, 0.05, 0.5, 0.15).generate(
    max_tokens=1, eos_id=None, top_k=1
  )
  np.testing.assert_allclose(samples.logprobs, np.log(0.5), rtol=1e-6)


def test_the_key_decides_what_is_sampled():
  one, again, other = (
    _coin(0.5, 0.5).generate(key, samples=50, max_tokens=2, eos_id=None)
    for key in (0, 0, 1)
  )
  np.testing.assert_array_equal(one.responses.ids, again.responses.ids)
  assert np.any(one.responses.ids != other.responses.ids)


def test_samples_of_one_prompt_differ():
  samples = _coin(0.5, 0.5).generate(samples=20, max_tokens=4, eos_id=None)
  rows = np.asarray(samples.responses.ids).reshape(-1, 4)
  assert len(np.unique(rows, axis=0)) > 5


def test_in_parts_the_samples_are_those_of_one_go(network):
  model, params = network
  settings = {"eos_id": EOS, "max_tokens": LENGTH, "samples": 2}
  start = jax.jit(functools.partial(sampling.start, model, **settings))
  advance = jax.jit(functools.partial(sampling.advance, model))
  state = start(params, PROMPTS, jax.random.key(0))
  seen = []
  laid_out = model.for_decoding(params)
  for number, tokens in enumerate((2, 0, 1, LENGTH)):
    # In either layout, and from one to the other.
    state = advance(laid_out if number % 2 else params, state, tokens)
    seen.append(int(state.length))
  # One by `start`, and no more than there is room for.
  assert seen == [3, 3, 4, LENGTH]
  whole = network.generate(samples=2)
  for one, other in zip(
    jax.tree.leaves(sampling.finish(state)), jax.tree.leaves(whole), strict=True
  ):
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_has_ended_is_told_from_what_was_cut():
  samples = _coin(0.5, 0.5).generate(samples=50, max_tokens=2)
  ids = np.asarray(samples.responses.ids)
  mask = np.asarray(samples.responses.mask)
  ended = np.any(mask & (ids == EOS), axis=-1)
  assert 0 < ended.sum() < ended.size
  np.testing.assert_array_equal(samples.ended, ended)


def test_without_an_eos_every_response_fills_the_room():
  samples = _coin(0.5, 0.5).generate(samples=50, max_tokens=2, eos_id=None)
  assert np.all(samples.responses.mask) and not np.any(samples.ended)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_response_ends_no_earlier_than_min_tokens(temperature):
  samples = _coin(0.1, 0.9).generate(
    samples=50, max_tokens=5, min_tokens=3, temperature=temperature
  )
  lengths = np.asarray(samples.responses.mask).sum(axis=-1)
  assert lengths.min() == 3 and np.all(samples.ended[lengths == 3])


@pytest.mark.parametrize(
  "min_p, kept",
  [(0.0, {2, 0, 3, 1}), (0.2, {2, 0, 3}), (0.5, {2, 0}), (1.0, {2})],
)
def test_min_p_keeps_what_is_near_the_most_likely(min_p, kept):
  # Over the most likely: 0.6, 0.1, 1 and 0.3.
  samples = _coin(0.3, 0.05, 0.5, 0.15).generate(
    samples=500, max_tokens=1, eos_id=None, min_p=min_p
  )
  assert set(np.asarray(samples.responses.ids).ravel().tolist()) == kept


@pytest.mark.parametrize(
  "setting",
  [
    {"max_tokens": 0},
    {"samples": 0},
    {"temperature": -0.1},
    {"top_k": -1},
    {"top_p": 0.0},
    {"top_p": 1.01},
    {"min_p": -0.1},
    {"min_p": 1.1},
    {"min_tokens": -1},
    {"eos_id": -1},
    {"eos_id": 2},
  ],
  ids=str,
)
def test_a_setting_out_of_range_is_refused_by_name(setting):
  ((name, value),) = setting.items()
  with pytest.raises(errors.UserError, match=f"{name}.*{value}"):
    _coin(0.5, 0.5).generate(**setting)


def test_trimmed_prompts_give_the_same_samples(network):
  model, params = network
  wide = jax.tree.map(
    lambda array: np.pad(np.asarray(array), [(0, 0), (7, 0)]), PROMPTS
  )
  trimmed = buckets.trim(wide, 6)
  # Four real columns: the next bucket is 6.
  assert trimmed.ids.shape == (2, 6)
  assert np.sum(trimmed.mask) == np.sum(PROMPTS.mask)
  generate = jax.jit(
    functools.partial(sampling.generate, model, eos_id=EOS, max_tokens=LENGTH)
  )
  one, other = (
    generate(params, prompt, jax.random.key(5)) for prompt in (wide, trimmed)
  )
  np.testing.assert_array_equal(one.responses.ids, other.responses.ids)
  np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)
