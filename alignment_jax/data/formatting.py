"""Texts to padded token arrays.

A prompt is its tokens, with bos or eos where the tokenizer wants them,
left-padded; a response is its tokens and eos, right-padded. Masks come from
lengths, never from the value of an id.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alignment_jax.types import Tokens


class Encoded(NamedTuple):
  """Token ids of one text, and whether some were cut off."""

  ids: list[int]
  cut: bool


def encode_prompt(tokenizer, text: str, *, length: int) -> Encoded:
  """The prompt as its tokenizer dresses it, such as with bos before it.

  A long prompt keeps its tail, beside the response.
  """
  ids = tokenizer.encode(text)
  before, after = tokenizer.prompt_prefix, tokenizer.prompt_suffix
  room = max(length - len(before) - len(after), 0)
  tail = ids[len(ids) - room :] if len(ids) > room else ids
  return Encoded([*before, *tail, *after][:length], len(ids) > room)


def encode_response(tokenizer, text: str, *, length: int) -> Encoded:
  """The response and eos; a long one is cut, and then has no eos.

  An eos says that a person stopped there, so a cut text must not have one.
  """
  ids = [*tokenizer.encode(text), tokenizer.eos_id]
  return Encoded(ids[:length], len(ids) > length)


def left_padded(rows: Sequence[Sequence[int]], length: int, pad: int) -> Tokens:
  """Prompts as one array; each must fit."""
  ids = np.full((len(rows), length), pad, np.int32)
  for row, target in zip(rows, ids, strict=True):
    target[length - len(row) :] = row
  counts = np.array([len(row) for row in rows])
  return Tokens(ids=ids, mask=np.arange(length) >= length - counts[:, None])


def right_padded(
  rows: Sequence[Sequence[int]], length: int, pad: int
) -> Tokens:
  """Responses as one array; each must fit."""
  ids = np.full((len(rows), length), pad, np.int32)
  for row, target in zip(rows, ids, strict=True):
    target[: len(row)] = row
  counts = np.array([len(row) for row in rows])
  return Tokens(ids=ids, mask=np.arange(length) < counts[:, None])


def prompt_tokens(tokenizer, prompts: Sequence[str], *, length: int) -> Tokens:
  """Prompts as a user types them, ready for a model.

  As wide as the longest of them, and at most `length`.
  """
  rows = [encode_prompt(tokenizer, text, length=length).ids for text in prompts]
  return left_padded(rows, max(map(len, rows)), tokenizer.pad_id)
