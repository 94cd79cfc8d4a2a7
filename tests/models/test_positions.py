"""Rotary positions and relative biases."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment_jax.models import positions


def _vectors(count, width):
  random = np.random.default_rng(0)
  return jnp.asarray(random.normal(size=(1, count, 1, width)), jnp.float32)


def _rotated(vector, position):
  """One vector [1, 1, 1, D] as it stands at a position."""
  return np.asarray(
    positions.rotate(
      vector,
      jnp.full((1, 1), position),
      positions.frequencies(vector.shape[-1], theta=10_000.0),
    )
  ).ravel()


def test_a_pair_of_features_turns_by_the_position():
  x = jnp.broadcast_to(jnp.array([1.0, 0.0]), (1, 3, 1, 2))
  turned = positions.rotate(
    x, jnp.array([[0, 1, 5]]), positions.frequencies(2, theta=100.0)
  )
  # theta^0 = 1: an angle of 0, 1 and 5 radians
  expected = [[np.cos(a), np.sin(a)] for a in (0, 1, 5)]
  np.testing.assert_allclose(turned[0, :, 0], expected, atol=1e-6)


def test_later_features_turn_more_slowly():
  # D = 4: features 0 and 2 turn by 3, features 1 and 3 by 3 * 100^(-1/2).
  x = jnp.array([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
  turned = positions.rotate(
    x, jnp.array([[3]]), positions.frequencies(4, theta=100.0)
  )
  expected = [np.cos(3), np.cos(0.3), np.sin(3), np.sin(0.3)]
  np.testing.assert_allclose(turned.ravel(), expected, atol=1e-6)


@given(
  query=st.integers(0, 60), key=st.integers(0, 60), shift=st.integers(0, 60)
)
def test_an_inner_product_depends_only_on_the_distance(query, key, shift):
  q, k = jnp.split(_vectors(2, 8), 2, axis=1)
  here = _rotated(q, query) @ _rotated(k, key)
  there = _rotated(q, query + shift) @ _rotated(k, key + shift)
  # Angles up to 120 are known to 1e-5 in float32.
  np.testing.assert_allclose(there, here, atol=2e-4)


def test_an_inner_product_does_depend_on_the_distance():
  q, k = jnp.split(_vectors(2, 8), 2, axis=1)
  here = _rotated(q, 4) @ _rotated(k, 4)
  assert abs(_rotated(q, 5) @ _rotated(k, 4) - here) > 1e-2


def test_rotation_keeps_lengths_and_dtype():
  x = _vectors(5, 8).astype(jnp.bfloat16)
  turned = positions.rotate(
    x, jnp.arange(5)[None], positions.frequencies(8, theta=10_000.0)
  )
  assert turned.dtype == jnp.bfloat16
  np.testing.assert_allclose(
    *(np.linalg.norm(np.asarray(a, np.float32), axis=-1) for a in (turned, x)),
    rtol=2**-7,
  )


@pytest.mark.parametrize(
  "back, bucket",
  [
    # 32 buckets: the first 16 for a distance each ...
    (0, 0),
    (1, 1),
    (7, 7),
    (15, 15),
    # ... then 16 + floor(16 log(d / 16) / log(128 / 16))
    (16, 16),
    (18, 16),  # 0.91
    (19, 17),  # 1.32
    (32, 21),  # 5.33
    (64, 26),  # 10.67
    (127, 31),  # 15.94
    (128, 31),
    (1000, 31),
  ],
)
def test_a_decoder_tells_small_distances_back_apart(back, bucket):
  actual = positions.relative_bucket(
    jnp.array(-back), bidirectional=False, buckets=32, max_distance=128
  )
  assert actual == bucket


def test_a_decoder_puts_all_that_comes_later_in_the_first_bucket():
  actual = positions.relative_bucket(
    jnp.array([1, 5, 200]), bidirectional=False, buckets=32, max_distance=128
  )
  np.testing.assert_array_equal(actual, [0, 0, 0])


@pytest.mark.parametrize(
  "distance, bucket",
  [
    # 16 buckets for each side, 8 of them exact; what comes later is offset.
    (0, 0),
    (1, 1),
    (7, 7),
    (8, 8),
    # 8 + floor(8 log(d / 8) / log(128 / 8))
    (11, 8),  # 0.92
    (12, 9),  # 1.17
    (20, 10),  # 2.64
    (100, 15),  # 7.29
    (500, 15),
  ],
)
def test_an_encoder_keeps_the_two_sides_apart(distance, bucket):
  before, after = positions.relative_bucket(
    jnp.array([-distance, distance]),
    bidirectional=True,
    buckets=32,
    max_distance=128,
  )
  assert (before, after) == (bucket, bucket + (16 if distance else 0))
