"""Attention against a softmax written out, and its masks."""

import jax.numpy as jnp
import numpy as np

from alignment_jax.models import attention


def test_attention_is_a_softmax_over_what_the_mask_allows():
  random = np.random.default_rng(0)
  # Two rows, three queries, four keys; four query heads share two key heads.
  query = random.normal(size=(2, 3, 4, 5))
  key, value = random.normal(size=(2, 2, 4, 2, 5))
  bias = random.normal(size=(1, 4, 3, 4))
  mask = random.uniform(size=(2, 3, 4)) < 0.6
  mask[..., 0] = True

  shared = (np.repeat(x, 2, axis=2) for x in (key, value))
  keys, values = shared
  logits = 0.3 * np.einsum("btnd,bsnd->bnts", query, keys) + bias
  weights = np.exp(logits) * mask[:, None]
  weights /= weights.sum(axis=-1, keepdims=True)
  expected = np.einsum("bnts,bsnd->btnd", weights, values)

  query, key, value, bias = (
    jnp.asarray(x, jnp.float32) for x in (query, key, value, bias)
  )
  actual = attention.attend(
    query, key, value, mask=jnp.asarray(mask), bias=bias, scale=0.3
  )
  np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_new_tokens_see_the_real_prefix_and_real_tokens_up_to_themselves():
  seen = attention.with_prefix(
    jnp.array([[False, True]]), jnp.array([[True, True, False]])
  )
  expected = [[0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0]]
  np.testing.assert_array_equal(seen[0], np.array(expected, bool))
