"""Prompts of few lengths, so that few programs are compiled."""

from collections.abc import Sequence

import numpy as np

from alignment_jax import errors
from alignment_jax.types import Tokens, on_host


def bucket_length(longest: int, buckets: int | Sequence[int]) -> int:
  """The smallest bucket that holds a prompt of this length.

  Args:
    longest: tokens of the longest prompt of a batch.
    buckets: lengths, or the number whose multiples they are.

  Raises:
    UserError: no bucket is that long.
  """
  if isinstance(buckets, int):
    if buckets < 1:
      raise errors.UserError(f"buckets must be >= 1, got {buckets}")
    return max(1, -(-longest // buckets)) * buckets
  fits = [length for length in buckets if length >= longest]
  if not fits:
    raise errors.UserError(
      f"a prompt of {longest} tokens is longer than the buckets"
      f" {sorted(buckets)}; add a longer one or cut the prompt"
    )
  return min(fits)


def trim(prompt: Tokens, buckets: int | Sequence[int]) -> Tokens:
  """A batch on the host without columns of padding, down to a bucket.

  It changes no result: fewer tokens are read, and there are as many programs as
  buckets. A batch that is shorter than its bucket stays as it is.

  Args:
    prompt: [B, T], left-padded.
    buckets: see `bucket_length`.
  """
  mask = np.asarray(prompt.mask)
  real = np.flatnonzero(mask.any(axis=0))
  longest = mask.shape[1] - int(real[0]) if real.size else 0
  first = max(mask.shape[1] - bucket_length(longest, buckets), 0)
  return Tokens(
    ids=on_host(np.asarray(prompt.ids)[:, first:]),
    mask=on_host(mask[:, first:]),
  )
