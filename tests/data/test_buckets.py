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
