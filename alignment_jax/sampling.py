"""Generation with a key-value cache."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from alignment_jax.models import base
from alignment_jax.types import Tokens


class Samples(NamedTuple):
  """K sampled responses to each prompt.

  Attributes:
    responses: [B, K, T]; the mask ends with the end-of-sequence token, or with
      the last position when none was sampled.
    logprobs: log-probability of each token in nats, under the tempered
      distribution before top-k and top-p cut it; 0 where padded.
  """

  responses: Tokens
  logprobs: Float[Array, "B K T"]


def generate(
  model: base.Model,
  params: base.Params,
  prompt: Tokens,
  key: Key[Array, ""],
  *,
  eos_id: int,
  max_tokens: int,
  samples: int = 1,
  temperature: float = 1.0,
  top_k: int = 0,
  top_p: float = 1.0,
) -> Samples:
  """Samples responses token by token; the prompt is read once.

  Stops early when every response has ended.

  Args:
    model: the network.
    params: its parameters.
    prompt: [B, T], left-padded.
    key: consumed.
    eos_id: the token that ends a response.
    max_tokens: length of the output; a response that is cut there has no eos.
    samples: K, responses per prompt.
    temperature: logits are divided by it; 0 takes the most likely token.
    top_k: keep only that many most likely tokens; 0 keeps all.
    top_p: keep the most likely tokens that together reach this probability.

  Raises:
    ValueError: a setting is outside its range.
  """
  if max_tokens < 1 or samples < 1:
    raise ValueError(
      f"max_tokens and samples must be >= 1, got {max_tokens} and {samples}"
    )
  if not (temperature >= 0 and top_k >= 0 and 0 < top_p <= 1):
    raise ValueError(
      "temperature and top_k must be >= 0 and top_p in (0, 1], got"
      f" {temperature}, {top_k} and {top_p}"
    )
  context = model.encode(params, prompt)
  if samples > 1:
    context = base.repeat(context, samples)
  rows = context.last.shape[0]
  state = _State(
    t=jnp.zeros((), jnp.int32),
    key=key,
    hidden=context.last,
    cache=model.init_cache(context, max_tokens),
    done=jnp.zeros((rows,), bool),
    ids=jnp.zeros((rows, max_tokens), jnp.int32),
    mask=jnp.zeros((rows, max_tokens), bool),
    logprobs=jnp.zeros((rows, max_tokens), jnp.float32),
  )

  def write(buffer, column, t):
    return jax.lax.dynamic_update_slice_in_dim(buffer, column[:, None], t, 1)

  def body(state):
    key, draw = jax.random.split(state.key)
    logits = model.unembed(params, state.hidden).astype(jnp.float32)
    if temperature == 0:
      ids = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    else:
      logits = logits / temperature
      kept = _keep_top_p(_keep_top_k(logits, top_k), top_p)
      ids = jax.random.categorical(draw, kept, axis=-1).astype(jnp.int32)
    logprobs = jnp.take_along_axis(
      jax.nn.log_softmax(logits, axis=-1), ids[:, None], axis=-1
    )[:, 0]
    alive = ~state.done
    hidden, cache = model.step(params, state.cache, ids)
    return _State(
      t=state.t + 1,
      key=key,
      hidden=hidden,
      cache=cache,
      done=state.done | (ids == eos_id),
      ids=write(state.ids, ids, state.t),
      mask=write(state.mask, alive, state.t),
      logprobs=write(state.logprobs, jnp.where(alive, logprobs, 0.0), state.t),
    )

  state = jax.lax.while_loop(
    lambda state: (state.t < max_tokens) & ~jnp.all(state.done), body, state
  )

  def by_prompt(array):
    return array.reshape(rows // samples, samples, max_tokens)

  return Samples(
    responses=Tokens(ids=by_prompt(state.ids), mask=by_prompt(state.mask)),
    logprobs=by_prompt(state.logprobs),
  )


class _State(NamedTuple):
  t: Array
  key: Array
  hidden: Array
  cache: base.Cache
  done: Array
  ids: Array
  mask: Array
  logprobs: Array


def _keep_top_k(logits, top_k):
  if top_k == 0 or top_k >= logits.shape[-1]:
    return logits
  least = jax.lax.top_k(logits, top_k)[0][:, -1:]
  return jnp.where(logits >= least, logits, -jnp.inf)


def _keep_top_p(logits, top_p):
  if top_p == 1:
    return logits
  ordered = jnp.sort(logits, axis=-1, descending=True)
  probabilities = jax.nn.softmax(ordered, axis=-1)
  # A token stays while those before it have not reached top_p: the first stays.
  stays = jnp.cumsum(probabilities, axis=-1) - probabilities < top_p
  least = jnp.min(jnp.where(stays, ordered, jnp.inf), axis=-1, keepdims=True)
  return jnp.where(logits >= least, logits, -jnp.inf)
