"""The negative log-likelihood of tokens."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment_jax.losses import cross_entropy_loss

LOGPROBS = hnp.arrays(np.float32, (2, 5), elements=st.floats(-50, 0, width=32))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@given(logprobs=LOGPROBS)
def test_the_loss_is_the_negative_log_probability(dtype, logprobs):
  logprobs = jnp.asarray(logprobs, dtype)
  np.testing.assert_array_equal(
    cross_entropy_loss(logprobs), -np.asarray(logprobs).astype(np.float64)
  )


@given(logprobs=LOGPROBS)
def test_every_token_counts_the_same_in_the_gradient(logprobs):
  gradient = jax.grad(lambda x: cross_entropy_loss(x).sum())(
    jnp.asarray(logprobs)
  )
  np.testing.assert_array_equal(gradient, -np.ones((2, 5)))


def test_the_mean_is_the_entropy_when_the_policy_is_the_data():
  # Four demonstrations a, a, b, c under P = (1/2, 1/4, 1/4): 1.5 bits.
  logprobs = jnp.log(jnp.array([0.5, 0.5, 0.25, 0.25]))
  np.testing.assert_allclose(
    cross_entropy_loss(logprobs).mean(), 1.5 * np.log(2), rtol=1e-6
  )


def test_a_policy_away_from_the_data_pays_the_divergence():
  # The same data under a uniform policy: entropy + KL(data, uniform) = log 3.
  logprobs = jnp.full(4, -jnp.log(3.0))
  np.testing.assert_allclose(
    cross_entropy_loss(logprobs).mean(), np.log(3), rtol=1e-6
  )


def test_an_entropy_weight_takes_its_share_of_the_entropies_off():
  loss = cross_entropy_loss(
    jnp.asarray([-1.0, -2.0]), jnp.asarray([0.5, 0.0]), entropy_weight=0.5
  )
  np.testing.assert_allclose(loss, [0.75, 2.0])


def test_a_weight_without_entropies_is_refused():
  with pytest.raises(ValueError, match="needs token_entropies"):
    cross_entropy_loss(jnp.zeros(3), entropy_weight=0.5)


def test_a_traced_weight_needs_entropies_whatever_its_value():
  call = inspect.unwrap(cross_entropy_loss)
  with pytest.raises(ValueError, match="needs token_entropies"):
    jax.jit(lambda w: call(jnp.zeros(3), entropy_weight=w))(0.0)


def test_a_negative_entropy_weight_is_refused_by_name():
  with pytest.raises(ValueError, match="^entropy_weight must be >= 0"):
    cross_entropy_loss(jnp.zeros(3), jnp.zeros(3), entropy_weight=-0.1)
