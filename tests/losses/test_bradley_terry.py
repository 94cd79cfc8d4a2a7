"""The likelihood of a preference under rewards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment_jax.losses import bradley_terry_loss

# Differences of numbers up to 10 are right to 1e-6 in float32, and the loss
# changes no faster than they do.
TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}
REWARDS = hnp.arrays(np.float32, (2, 6), elements=st.floats(-10, 10, width=32))
DTYPES = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])


@DTYPES
@given(rewards=REWARDS)
def test_the_loss_is_the_negative_log_likelihood_of_the_winner(dtype, rewards):
  chosen, rejected = (jnp.asarray(row, dtype) for row in rewards)
  difference = np.asarray(chosen).astype(np.float64) - np.asarray(
    rejected
  ).astype(np.float64)
  np.testing.assert_allclose(
    bradley_terry_loss(chosen, rejected),
    np.log(1 + np.exp(-difference)),
    **TOLERANCE,
  )


def test_odds_of_three_to_one_cost_log_four_thirds():
  loss = bradley_terry_loss(jnp.array([np.log(3)], jnp.float32), jnp.zeros(1))
  np.testing.assert_allclose(loss, [np.log(4 / 3)], rtol=1e-6)


@given(rewards=REWARDS)
def test_equal_rewards_cost_log_two(rewards):
  chosen = jnp.asarray(rewards[0])
  np.testing.assert_allclose(
    bradley_terry_loss(chosen, chosen), np.log(2), rtol=1e-6
  )


@given(rewards=REWARDS)
def test_the_gradient_is_the_probability_of_the_loser(rewards):
  difference = rewards[0].astype(np.float64) - rewards[1]
  chosen, rejected = jax.grad(
    lambda *a: bradley_terry_loss(*a).sum(), argnums=(0, 1)
  )(*map(jnp.asarray, rewards))
  np.testing.assert_allclose(chosen, -1 / (1 + np.exp(difference)), **TOLERANCE)
  np.testing.assert_array_equal(rejected, -chosen)


@given(rewards=REWARDS)
def test_swapping_the_pair_adds_the_difference(rewards):
  chosen, rejected = map(jnp.asarray, rewards)
  # log(1 + exp(d)) - log(1 + exp(-d)) = d
  np.testing.assert_allclose(
    bradley_terry_loss(rejected, chosen) - bradley_terry_loss(chosen, rejected),
    rewards[0].astype(np.float64) - rewards[1],
    rtol=1e-5,
    atol=1e-5,
  )


@given(
  numbers=hnp.arrays(np.int32, (2, 6), elements=st.integers(-80, 80)),
  shift=st.integers(-40, 40),
)
def test_only_differences_of_rewards_count(numbers, shift):
  # Eighths are added and subtracted without rounding.
  np.testing.assert_array_equal(
    bradley_terry_loss(*jnp.asarray((numbers + shift) / 8, jnp.float32)),
    bradley_terry_loss(*jnp.asarray(numbers / 8, jnp.float32)),
  )
