"""Left-padded prompts that are joined from padded parts."""

import jax
import jax.numpy as jnp

from alignment_jax.types import Tokens


def join(prompt: Tokens, *parts: Tokens | tuple[int, ...]) -> Tokens:
  """One left-padded prompt of several parts, [B, sum of all lengths].

  Real tokens stand without gaps, so padding on either side of any part changes
  nothing. An end of sequence stays in its response: it tells a finished one
  from one that was cut.

  Args:
    prompt: [B, T] prompts.
    *parts: what follows: responses [B, T], each of any length T, or ids that
      are the same in every row.
  """

  def tokens(part: Tokens | tuple[int, ...]) -> Tokens:
    if isinstance(part, Tokens):
      return part
    ids = jnp.asarray(part, jnp.int32).reshape(1, -1)
    ids = jnp.broadcast_to(ids, (len(prompt.ids), ids.shape[1]))
    return Tokens(ids=ids, mask=jnp.ones(ids.shape, bool))

  whole = jax.tree.map(
    lambda *arrays: jnp.concatenate(arrays, axis=1),
    prompt,
    *(tokens(part) for part in parts),
  )
  # Stable: padding moves to the left, and real tokens keep their order.
  order = jnp.argsort(whole.mask, axis=1, stable=True)
  return jax.tree.map(
    lambda array: jnp.take_along_axis(array, order, axis=1), whole
  )
