"""Statistics of response tokens: log-probabilities, entropies and others.

Logits exist for one chunk of tokens at a time, forwards and backwards, so
`[B, T, V]` is never held.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from alignment_jax.models import base
from alignment_jax.types import Tokens

# (float32 logits [B, T, V], ids [B, T]) -> [B, T]
Statistic = Callable[[Array, Array], Array]


def logprob(
  logits: Float[Array, "B T V"], ids: Int[Array, "B T"]
) -> Float[Array, "B T"]:
  """log softmax(logits)[id], in nats."""
  return logit(logits, ids) - jax.nn.logsumexp(logits, axis=-1)


def logit(
  logits: Float[Array, "B T V"], ids: Int[Array, "B T"]
) -> Float[Array, "B T"]:
  """The logit of the id."""
  return jnp.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]


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
  hidden = response_hidden(model, params, prompt, responses, key)
  ids = responses.ids.reshape(rows * count, length)

  # The backward pass computes a chunk's logits again instead of keeping them.
  @jax.checkpoint
  def measure(
    hidden: Float[Array, "N C D"], ids: Int[Array, "N C"]
  ) -> tuple[Float[Array, "N C"], ...]:
    # float32 before the log-sum-exp: in bfloat16 it would lose the tail.
    logits = model.unembed(params, hidden).astype(jnp.float32) / temperature
    return tuple(statistic(logits, ids) for statistic in statistics)

  if length <= chunk_size:
    values = measure(hidden, ids)
  else:
    chunks = -(-length // chunk_size)

    def split(array: Array) -> Array:
      """[N, T, ...] to [chunks, N, chunk_size, ...], the last chunk padded."""
      padding = [(0, 0)] * array.ndim
      padding[1] = (0, chunks * chunk_size - length)
      array = jnp.pad(array, padding)
      array = array.reshape(
        array.shape[0], chunks, chunk_size, *array.shape[2:]
      )
      return jnp.moveaxis(array, 1, 0)

    # A scan, so that one program serves any number of chunks.
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
  *,
  chunk_size: int = 16,
  temperature: float = 1.0,
  key: Key[Array, ""] | None = None,
) -> Float[Array, "B K T"]:
  """log pi(token | prompt, tokens before it), in nats; 0 where padded.

  Args are those of `token_statistics`.
  """
  (values,) = token_statistics(
    model,
    params,
    prompt,
    responses,
    logprob,
    chunk_size=chunk_size,
    temperature=temperature,
    key=key,
  )
  return values


def response_hidden(
  model: base.Model,
  params: base.Params,
  prompt: Tokens,
  responses: Tokens,
  key: Key[Array, ""] | None,
) -> Float[Array, "N T D"]:
  """States of all responses as N = B K rows; the prompt is read once.

  Args:
    model: the network.
    params: its parameters.
    prompt: [B, T] prompts.
    responses: [B, K, T] responses.
    key: turns dropout on.
  """
  rows, count, length = responses.ids.shape
  encode_key, hidden_key = (
    (None, None) if key is None else jax.random.split(key)
  )
  context = model.encode(params, prompt, key=encode_key)
  # Copies of what was read, not the prompt again.
  if count > 1:
    context = model.repeat(context, count)
  flat = jax.tree.map(
    lambda array: array.reshape(rows * count, length), responses
  )
  return model.hidden(params, context, flat, key=hidden_key)
