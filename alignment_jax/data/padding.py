"""Token ids of several texts as one array.

Prompts are left-padded, responses right-padded. Masks come from lengths, never
from the value of an id.
"""

from collections.abc import Sequence

import numpy as np

from alignment_jax.data import formatting
from alignment_jax.data.tokenizers import Tokenizer
from alignment_jax.types import Tokens, on_host


def left_padded(rows: Sequence[Sequence[int]], length: int, pad: int) -> Tokens:
  """Prompts as one array; each must fit."""
  ids = np.full((len(rows), length), pad, np.int32)
  for row, target in zip(rows, ids, strict=True):
    target[length - len(row) :] = row
  counts = np.array([len(row) for row in rows])
  mask = np.arange(length) >= length - counts[:, None]
  return Tokens(ids=on_host(ids), mask=on_host(mask))


def right_padded(
  rows: Sequence[Sequence[int]], length: int, pad: int
) -> Tokens:
  """Responses as one array; each must fit."""
  ids = np.full((len(rows), length), pad, np.int32)
  for row, target in zip(rows, ids, strict=True):
    target[: len(row)] = row
  counts = np.array([len(row) for row in rows])
  mask = np.arange(length) < counts[:, None]
  return Tokens(ids=on_host(ids), mask=on_host(mask))


def prompt_tokens(
  tokenizer: Tokenizer, prompts: Sequence[str], *, length: int
) -> tuple[Tokens, int]:
  """Prompts as a user types them, ready for a model, and how many were cut.

  As wide as the longest of them, and at most `length`.
  """
  rows = [
    formatting.encode_prompt(tokenizer, text, length=length) for text in prompts
  ]
  width = max(len(row.ids) for row in rows)
  tokens = left_padded([row.ids for row in rows], width, tokenizer.pad_id)
  return tokens, sum(row.cut for row in rows)
