"""One number per response or per state: rewards and values, by a scalar head.

Here parameters are a dict of the `network` and a `head`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from alignment_jax import errors
from alignment_jax.models import base, heads
from alignment_jax.ops import masking
from alignment_jax.scoring import tokens
from alignment_jax.types import Tokens

POOLINGS = ("last", "mean")


def response_state(
  model: base.Model,
  params: base.Params,
  prompt: Tokens,
  responses: Tokens,
  *,
  pooling: str = "last",
  key: Key[Array, ""] | None = None,
) -> Float[Array, "B K D"]:
  """One state per response, as rewards need it.

  An empty response is read off the prompt's last state.

  Args:
    model: the network.
    params: its parameters.
    prompt: [B, T] prompts.
    responses: [B, K, T] responses.
    pooling: `last`, the state after the last real token, or `mean`, the mean
      of the states after each real token.
    key: turns dropout on.

  Raises:
    UserError: no such pooling.
  """
  if pooling not in POOLINGS:
    raise errors.unknown("pooling", pooling, POOLINGS)
  states = _states(model, params, prompt, responses, key)
  count = masking.lengths(responses.mask)
  last = _at(states, count)
  if pooling == "last":
    return last
  # [B, K, D, T]: `masking` works over the last axis.
  after_tokens = jnp.moveaxis(states[:, :, 1:], -1, 2)
  mean = masking.masked_mean(
    after_tokens,
    jnp.broadcast_to(responses.mask[:, :, None], after_tokens.shape),
  )
  return jnp.where(count[..., None] > 0, mean, last)


def rewards(
  model: base.Model,
  params: dict[str, Any],
  prompt: Tokens,
  responses: Tokens,
  *,
  pooling: str = "last",
  key: Key[Array, ""] | None = None,
) -> Float[Array, "B K"]:
  """The reward of each response: a scalar head on its state.

  Args:
    model: the network.
    params: its parameters as `network`, and a scalar `head`.
    prompt: [B, T] prompts.
    responses: [B, K, T] responses.
    pooling: how a response's state is read; see `response_state`.
    key: turns dropout on.
  """
  state = response_state(
    model, params["network"], prompt, responses, pooling=pooling, key=key
  )
  return heads.scalar(params["head"], state)


class Values(NamedTuple):
  """What the states of a response are worth, as advantages need it.

  Attributes:
    tokens: entry t is of the state before token t is chosen; 0 where padded.
    final: of the state after the last real token. A response that ended is
      worth 0 from there; one that was cut off is worth this.
  """

  tokens: Float[Array, "B K T"]
  final: Float[Array, "B K"]


def token_values(
  model: base.Model,
  params: dict[str, Any],
  prompt: Tokens,
  responses: Tokens,
  *,
  key: Key[Array, ""] | None = None,
) -> Values:
  """The value of every state of each response, from one pass of the model.

  Args:
    model: the network.
    params: its parameters as `network`, and a scalar `head`.
    prompt: [B, T] prompts.
    responses: [B, K, T] responses.
    key: turns dropout on.
  """
  states = _states(model, params["network"], prompt, responses, key)
  before_tokens = heads.scalar(params["head"], states[:, :, :-1])
  final = _at(states, masking.lengths(responses.mask))
  return Values(
    jnp.where(responses.mask, before_tokens, 0.0),
    heads.scalar(params["head"], final),
  )


def _states(
  model: base.Model,
  params: base.Params,
  prompt: Tokens,
  responses: Tokens,
  key: Key[Array, ""] | None,
) -> Float[Array, "B K S D"]:
  """Before each token, and after the last: S = T + 1."""
  # Entry t of `hidden` has read the tokens before t: one more reads them all.
  widened = jax.tree.map(
    lambda array: jnp.pad(array, [(0, 0), (0, 0), (0, 1)]), responses
  )
  hidden = tokens.response_hidden(model, params, prompt, widened, key)
  return hidden.reshape(*widened.ids.shape, hidden.shape[-1])


def _at(
  states: Float[Array, "B K T D"], index: Int[Array, "B K"]
) -> Float[Array, "B K D"]:
  """One state per response."""
  return jnp.take_along_axis(states, index[..., None, None], axis=2)[:, :, 0]
