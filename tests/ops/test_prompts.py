"""Joined prompts have no gaps, whichever side their parts are padded on."""

import jax.numpy as jnp
import numpy as np

from alignment_jax.ops import prompts
from alignment_jax.types import Tokens

PROMPT = Tokens(
  ids=jnp.array([[9, 1, 2], [3, 4, 5]]),
  mask=jnp.array([[False, True, True], [True, True, True]]),
)
RESPONSE = Tokens(
  ids=jnp.array([[6, 9, 9], [7, 8, 9]]),
  mask=jnp.array([[True, False, False], [True, True, False]]),
)
EMPTY = Tokens(ids=jnp.full((2, 2), 9), mask=jnp.zeros((2, 2), bool))


def real(tokens):
  """The real tokens of each row, after a check that they stand at the end."""
  columns = np.arange(tokens.ids.shape[1])
  rows = []
  for ids, mask in zip(tokens.ids, tokens.mask, strict=True):
    np.testing.assert_array_equal(mask, columns >= len(columns) - mask.sum())
    rows.append(ids[mask].tolist())
  return rows


def test_parts_follow_each_other_without_gaps():
  whole = prompts.join(PROMPT, (10, 11), RESPONSE, (12,))
  assert whole.ids.shape == (2, 3 + 2 + 3 + 1)
  assert whole.ids.dtype == jnp.int32
  assert real(whole) == [[1, 2, 10, 11, 6, 12], [3, 4, 5, 10, 11, 7, 8, 12]]


def test_an_empty_part_adds_nothing():
  assert real(prompts.join(PROMPT, (), EMPTY)) == [[1, 2], [3, 4, 5]]


def test_any_number_of_responses_may_follow():
  whole = prompts.join(PROMPT, RESPONSE, EMPTY, RESPONSE)
  assert real(whole) == [[1, 2, 6, 6], [3, 4, 5, 7, 8, 7, 8]]
