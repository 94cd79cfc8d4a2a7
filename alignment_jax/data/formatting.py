"""Texts to token ids of bounded length.

A prompt is its tokens, with bos or eos where the tokenizer puts them; a
response is its tokens and eos.
"""

from typing import NamedTuple

from alignment_jax.data.tokenizers import Tokenizer


class Encoded(NamedTuple):
  """Token ids of one text, and whether some were cut off."""

  ids: list[int]
  cut: bool


def encode_prompt(tokenizer: Tokenizer, text: str, *, length: int) -> Encoded:
  """The prompt as its tokenizer dresses it, such as with bos before it.

  A long prompt keeps its tail, beside the response.
  """
  return dressed_prompt(tokenizer, tokenizer.encode(text), length=length)


def dressed_prompt(
  tokenizer: Tokenizer, ids: list[int], *, length: int
) -> Encoded:
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


def encode_response(tokenizer: Tokenizer, text: str, *, length: int) -> Encoded:
  """The response and eos; a long one is cut, and then has no eos.

  An eos says that a person stopped there, so a cut text must not have one.
  """
  return ended_response(tokenizer, tokenizer.encode(text), length=length)


def ended_response(
  tokenizer: Tokenizer, ids: list[int], *, length: int
) -> Encoded:
  """The same from token ids; an eos that ends them is not doubled."""
  end = len(ids)
  while end and ids[end - 1] == tokenizer.eos_id:
    end -= 1
  ids = [*ids[:end], tokenizer.eos_id]
  return Encoded(ids[:length], len(ids) > length)
