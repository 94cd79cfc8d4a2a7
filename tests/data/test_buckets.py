"""Batches are padded to a few lengths, and cut down to the one they need."""

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.data import buckets
from alignment_jax.types import Tokens


@pytest.mark.parametrize(
  "longest, allowed, length",
  [
    (0, 8, 8),
    (1, 8, 8),
    (8, 8, 8),
    (9, 8, 16),
    (5, [4, 16, 8], 8),
    (16, (4, 8, 16), 16),
  ],
)
def test_a_bucket_is_the_next_length(longest, allowed, length):
  assert buckets.bucket_length(longest, allowed) == length


@pytest.mark.parametrize("allowed", [[4, 8], 0])
def test_a_prompt_without_a_bucket_is_refused(allowed):
  with pytest.raises(errors.UserError, match="buckets"):
    buckets.bucket_length(9, allowed)


def test_a_batch_below_its_bucket_stays_as_it_is():
  prompt = Tokens(ids=np.ones((1, 2), np.int32), mask=np.ones((1, 2), bool))
  assert buckets.trim(prompt, 16).ids.shape == (1, 2)


def test_columns_that_are_padding_in_every_row_are_cut_down_to_a_bucket():
  lengths = np.array([3, 5])
  mask = np.arange(16) >= 16 - lengths[:, None]
  ids = np.arange(32, dtype=np.int32).reshape(2, 16)
  trimmed = buckets.trim(Tokens(ids=ids, mask=mask), [4, 6, 12])
  np.testing.assert_array_equal(trimmed.ids, ids[:, -6:])
  np.testing.assert_array_equal(trimmed.mask, mask[:, -6:])


def test_a_batch_of_empty_prompts_keeps_one_bucket():
  prompt = Tokens(ids=np.zeros((2, 8), np.int32), mask=np.zeros((2, 8), bool))
  assert buckets.trim(prompt, 4).ids.shape == (2, 4)
