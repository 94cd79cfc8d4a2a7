"""Sampling from the mixture of two networks, against its enumeration."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, models, sampling
from alignment_jax.types import Tokens

# What runs once should rather compile fast.
QUICK = {"xla_backend_optimization_level": 0}
# Every response of two tokens out of four.
TREE = np.array([(a, b) for a in range(4) for b in range(4)], np.int32)


@pytest.fixture(scope="module")
def pair():
  """Two decoders over four tokens, one with two layers and one with three."""

  def make(layers, key):
    model = models.make_model(
      "decoder_tiny", vocabulary_size=4, layers=layers, tied=False
    )
    return model, jax.jit(model.init, compiler_options=QUICK)(key)

  return make(2, jax.random.key(0)), make(3, jax.random.key(1))


def _mixed(pair, beta, key=0, **settings):
  (policy, policy_params), (reference, reference_params) = pair
  settings = {"eos_id": None, "max_tokens": 2} | settings
  mixture = sampling.geometric_mixture(policy, reference, beta=beta)
  return jax.jit(functools.partial(sampling.generate, mixture, **settings))(
    (policy_params, reference_params), _short(1), jax.random.key(key)
  )


def _short(rows):
  return Tokens(
    ids=jnp.array([[1, 3, 2]] * rows), mask=jnp.ones((rows, 3), bool)
  )


def _logits(network):
  """[16, 2, 4] logits of both tokens of every response of two tokens."""
  model, params = network
  response = Tokens(jnp.asarray(TREE), jnp.ones(TREE.shape, bool))
  context = model.encode(params, _short(len(TREE)))
  return np.asarray(
    model.unembed(params, model.hidden(params, context, response)), np.float64
  )


def _log_softmax(logits):
  return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_a_mixture_draws_as_the_enumerated_one(pair):
  beta, temperature, count = 0.3, 0.7, 4000
  samples = _mixed(pair, beta, samples=count, temperature=temperature)
  policy, reference = (
    _log_softmax(_logits(network) / temperature) for network in pair
  )
  # Token by token: a normaliser for each prefix.
  mixture = _log_softmax((1 - beta) * policy + beta * reference)

  def of_tokens(logprobs):
    return np.take_along_axis(logprobs, TREE[..., None], axis=-1)[..., 0]

  drawn = np.asarray(samples.responses.ids)[0] @ np.array([4, 1])
  observed = np.bincount(drawn, minlength=16)
  expected = count * np.exp(of_tokens(mixture).sum(axis=-1))
  np.testing.assert_allclose(expected.sum(), count)
  # 15 degrees of freedom: above 37.7 once in a thousand keys.
  assert expected.min() > 5
  assert np.sum((observed - expected) ** 2 / expected) < 37.7
  for found, logprobs in zip(
    (samples.logprobs, *samples.component_logprobs),
    (mixture, policy, reference),
    strict=True,
  ):
    np.testing.assert_allclose(found[0], of_tokens(logprobs)[drawn], atol=1e-4)


@pytest.mark.parametrize("beta, which", [(0.0, 0), (1.0, 1)])
def test_at_its_ends_a_mixture_is_one_of_the_two(pair, beta, which):
  model, params = pair[which]
  alone = jax.jit(
    functools.partial(
      sampling.generate, model, eos_id=1, max_tokens=4, samples=20
    )
  )(params, _short(1), jax.random.key(3))
  mixed = _mixed(pair, beta, key=3, eos_id=1, max_tokens=4, samples=20)
  np.testing.assert_array_equal(mixed.responses.mask, alone.responses.mask)
  np.testing.assert_array_equal(mixed.responses.ids, alone.responses.ids)
  np.testing.assert_allclose(mixed.logprobs, alone.logprobs, atol=1e-6)


@pytest.mark.parametrize("beta", [-0.1, 1.1, float("nan")])
def test_a_beta_out_of_range_is_refused(pair, beta):
  with pytest.raises(errors.UserError, match=f"beta.*{beta}"):
    _mixed(pair, beta)


def test_two_vocabularies_do_not_mix(pair):
  other = models.make_model("decoder_tiny", vocabulary_size=5)
  params = jax.eval_shape(other.init, jax.random.key(0))
  with pytest.raises(errors.UserError, match="4 and 5 tokens"):
    jax.eval_shape(
      functools.partial(
        sampling.generate,
        sampling.geometric_mixture(pair[0][0], other, beta=0.5),
        eos_id=1,
        max_tokens=2,
      ),
      (pair[0][1], params),
      _short(1),
      jax.random.key(0),
    )
