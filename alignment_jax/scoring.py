"""The only place where model output meets token ids.

Every loss takes what comes from here: per-token numbers in response
coordinates, `[B, K, T]` for K responses to each of B prompts, 0 where the
response is padded. The prompt is read once for all K. Logits exist for one
chunk of tokens at a time, forwards and backwards, so `[B, T, V]` is never held.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from alignment_jax import errors
from alignment_jax.models import base, heads
from alignment_jax.ops import masking
from alignment_jax.types import Tokens

POOLINGS = ("last", "mean")

# (float32 logits [B, T, V], ids [B, T]) -> [B, T]
Statistic = Callable[[Array, Array], Array]


def logprob(
  logits: Float[Array, "B T V"], ids: Int[Array, "B T"]
) -> Float[Array, "B T"]:
  """log softmax(logits)[id], in nats."""
  chosen = jnp.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]
  return chosen - jax.nn.logsumexp(logits, axis=-1)


def entropy(
  logits: Float[Array, "B T V"], ids: Int[Array, "B T"]
) -> Float[Array, "B T"]:
  """Entropy of the next-token distribution, in nats."""
  del ids
  logprobs = jax.nn.log_softmax(logits, axis=-1)
  return -jnp.sum(jnp.exp(logprobs) * logprobs, axis=-1)


def is_greedy(
  logits: Float[Array, "B T V"], ids: Int[Array, "B T"]
) -> Float[Array, "B T"]:
  """1 where the id is the most likely one."""
  return (jnp.argmax(logits, axis=-1) == ids).astype(jnp.float32)


def token_statistics(
  model: base.Model,
  params: base.Params,
  prompt: Tokens,
  responses: Tokens,
  *statistics: Statistic,
  chunk_size: int = 16,
  temperature: float = 1.0,
  key: Key[Array, ""] | None = None,
) -> tuple[Float[Array, "B K T"], ...]:
  """Numbers about each response token, from one pass of the model.

  Args:
    model: the network.
    params: its parameters.
    prompt: [B, T] prompts.
    responses: [B, K, T] responses.
    *statistics: what to compute from the logits.
    chunk_size: tokens of each response whose logits exist at once.
    temperature: logits are divided by it, as in sampling.
    key: turns dropout on.

  Returns:
    One array per statistic; 0 where the response is padded.
  """
  rows, count, length = responses.ids.shape
  hidden = _hidden(model, params, prompt, responses, key)
  ids = responses.ids.reshape(rows * count, length)

  @jax.checkpoint
  def measure(hidden, ids):
    logits = model.unembed(params, hidden).astype(jnp.float32) / temperature
    return tuple(statistic(logits, ids) for statistic in statistics)

  if length <= chunk_size:
    values = measure(hidden, ids)
  else:
    chunks = -(-length // chunk_size)

    def split(array):
      padding = [(0, 0)] * array.ndim
      padding[1] = (0, chunks * chunk_size - length)
      array = jnp.pad(array, padding)
      array = array.reshape(
        array.shape[0], chunks, chunk_size, *array.shape[2:]
      )
      return jnp.moveaxis(array, 1, 0)

    _, values = jax.lax.scan(
      lambda _, chunk: (None, measure(*chunk)),
      None,
      (split(hidden), split(ids)),
    )
    values = tuple(
      jnp.moveaxis(value, 0, 1).reshape(rows * count, -1)[:, :length]
      for value in values
    )
  return tuple(
    jnp.where(responses.mask, value.reshape(rows, count, length), 0.0)
    for value in values
  )


def token_logprobs(
  model: base.Model,
  params: base.Params,
  prompt: Tokens,
  responses: Tokens,
  **options,
) -> Float[Array, "B K T"]:
  """log pi(token | prompt, tokens before it), in nats; 0 where padded.

  Args and options are those of `token_statistics`.
  """
  (values,) = token_statistics(
    model, params, prompt, responses, logprob, **options
  )
  return values


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
  # Entry t of `hidden` has read tokens before t: one more place reads them all.
  widened = jax.tree.map(
    lambda array: jnp.pad(array, [(0, 0), (0, 0), (0, 1)]), responses
  )
  hidden = _hidden(model, params, prompt, widened, key)
  count = masking.lengths(responses.mask)
  hidden = hidden.reshape(*count.shape, *hidden.shape[1:])
  last = jnp.take_along_axis(hidden, count[..., None, None], axis=2)[:, :, 0]
  if pooling == "last":
    return last
  # Over tokens as the last axis, where `masking` works.
  states = jnp.moveaxis(hidden[:, :, 1:], -1, 2)
  mean = masking.masked_mean(
    states, jnp.broadcast_to(responses.mask[:, :, None], states.shape)
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
  hidden = response_state(
    model, params["network"], prompt, responses, pooling=pooling, key=key
  )
  return heads.scalar(params["head"], hidden)


def _hidden(model, params, prompt, responses, key):
  """States of all responses as rows, [B K, T, D]; the prompt is read once."""
  rows, count, length = responses.ids.shape
  encode_key, hidden_key = (
    (None, None) if key is None else jax.random.split(key)
  )
  context = model.encode(params, prompt, key=encode_key)
  if count > 1:
    context = base.repeat(context, count)
  flat = jax.tree.map(lambda a: a.reshape(rows * count, length), responses)
  return model.hidden(params, context, flat, key=hidden_key)
