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
  return dressed_prompt(tokenizer, tokenizer.encode(text), length=length)


def dressed_prompt(tokenizer, ids: list[int], *, length: int) -> Encoded:
  """The same from token ids.

  What they begin or end with already, such as a chat template's bos, is not
  put there again.
  """
  before, after = tokenizer.prompt_prefix, tokenizer.prompt_suffix
  if ids[: len(before)] == before:
    ids = ids[len(before) :]
  if after and ids[-len(after) :] == after:
    ids = ids[: -len(after)]
  room = max(length - len(before) - len(after), 0)
  tail = ids[len(ids) - room :] if len(ids) > room else ids
  return Encoded([*before, *tail, *after][:length], len(ids) > room)


def encode_response(tokenizer, text: str, *, length: int) -> Encoded:
  """The response and eos; a long one is cut, and then has no eos.

  An eos says that a person stopped there, so a cut text must not have one.
  """
  return ended_response(tokenizer, tokenizer.encode(text), length=length)


def ended_response(tokenizer, ids: list[int], *, length: int) -> Encoded:
  """The same from token ids; an eos that ends them is not doubled."""
  end = len(ids)
  while end and ids[end - 1] == tokenizer.eos_id:
    end -= 1
  ids = [*ids[:end], tokenizer.eos_id]
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


def prompt_tokens(
  tokenizer, prompts: Sequence[str], *, length: int
) -> tuple[Tokens, int]:
  """Prompts as a user types them, ready for a model, and how many were cut.

  As wide as the longest of them, and at most `length`.
  """
  rows = [encode_prompt(tokenizer, text, length=length) for text in prompts]
  width = max(len(row.ids) for row in rows)
  tokens = left_padded([row.ids for row in rows], width, tokenizer.pad_id)
  return tokens, sum(row.cut for row in rows)
