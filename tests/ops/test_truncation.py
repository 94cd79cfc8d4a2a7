"""Which tokens are left of a distribution, row by row, with ties."""

import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax.ops import truncation

# Rows in other orders, so that an axis or a row taken for another shows.
PROBABILITIES = np.array([[0.5, 0.1, 0.3, 0.1], [0.05, 0.6, 0.15, 0.2]])


def assert_kept(actual, logits, kept):
  """Tokens that stay keep their logit; the others get -inf."""
  assert actual.dtype == logits.dtype
  expected = np.where(np.array(kept, bool), logits, -np.inf)
  np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
  ("cut", "level", "kept"),
  [
    (truncation.keep_top_k, 0, [[1, 1, 1, 1], [1, 1, 1, 1]]),
    (truncation.keep_top_k, 1, [[1, 0, 0, 0], [0, 1, 0, 0]]),
    (truncation.keep_top_k, 2, [[1, 0, 1, 0], [0, 1, 0, 1]]),
    # The third and fourth of the first row are equally likely.
    (truncation.keep_top_k, 3, [[1, 1, 1, 1], [0, 1, 1, 1]]),
    (truncation.keep_top_k, 5, [[1, 1, 1, 1], [1, 1, 1, 1]]),
    # 0.5, 0.8, 0.9, 1 and 0.6, 0.8, 0.95, 1.
    (truncation.keep_top_p, 0.4, [[1, 0, 0, 0], [0, 1, 0, 0]]),
    (truncation.keep_top_p, 0.55, [[1, 0, 1, 0], [0, 1, 0, 0]]),
    (truncation.keep_top_p, 0.85, [[1, 1, 1, 1], [0, 1, 1, 1]]),
    (truncation.keep_top_p, 1.0, [[1, 1, 1, 1], [1, 1, 1, 1]]),
    # Over the most likely: 1, 0.2, 0.6, 0.2 and 0.08, 1, 0.25, 0.33.
    (truncation.keep_min_p, 0.0, [[1, 1, 1, 1], [1, 1, 1, 1]]),
    (truncation.keep_min_p, 0.22, [[1, 0, 1, 0], [0, 1, 1, 1]]),
    (truncation.keep_min_p, 0.5, [[1, 0, 1, 0], [0, 1, 0, 0]]),
  ],
)
def test_each_row_keeps_its_most_likely_tokens(cut, level, kept, dtype):
  # Logits are known up to a constant, which may differ between rows.
  logits = jnp.asarray(np.log(PROBABILITIES) + [[3.0], [-7.0]], dtype)
  assert_kept(cut(logits, level), np.asarray(logits), kept)
  # The same without a batch, and with two axes of it.
  assert_kept(cut(logits[1], level), np.asarray(logits[1]), kept[1])
  assert_kept(
    cut(logits[:, None], level),
    np.asarray(logits[:, None]),
    np.array(kept)[:, None],
  )
