"""The loop that draws responses token by token.

`generate` is `start`, `advance` and `finish`, for those who want the tokens as
they come.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from alignment_jax import errors
from alignment_jax.models import base
from alignment_jax.ops import truncation
from alignment_jax.sampling import distributions
from alignment_jax.sampling.distributions import Logits, NextToken
from alignment_jax.types import Tokens


class Samples(NamedTuple):
  """K sampled responses to each prompt.

  Attributes:
    responses: [B, K, T]; the mask ends with the end-of-sequence token, or with
      the last position when none was sampled.
    logprobs: log-probability of each token in nats, under the tempered
      distribution before anything is cut from it (top-k, top-p, min-p,
      min_tokens); the plain one where the temperature is 0. 0 where padded.
      These are `scoring.token_logprobs(..., temperature=)`.
    component_logprobs: the same under each component of a mixture.
    ended: whether the end-of-sequence token was sampled; its mean is the share
      of responses that were not cut.
  """

  responses: Tokens
  logprobs: Float[Array, "B K T"]
  component_logprobs: tuple[Float[Array, "B K T"], ...]
  ended: Bool[Array, "B K"]


class Settings(NamedTuple):
  """What `generate` does with the logits; its arguments say what they mean."""

  eos_id: int | None
  temperature: float
  top_k: int
  top_p: float
  min_p: float
  min_tokens: int


@flax.struct.dataclass
class State:
  """Responses under way, N = B K rows.

  Attributes:
    inner: state of the `NextToken`; it has not read the newest token.
    key: for the tokens to come.
    length: tokens that were sampled; `ids` and the rest are filled so far.
    done: rows that have ended.
    ids: [N, T].
    mask: [N, T].
    logprobs: [N, T] for what is sampled from and each component.
    samples: K.
    settings: of the sampling.
  """

  inner: PyTree
  key: Key[Array, ""]
  length: Int[Array, ""]
  done: Bool[Array, "N"]
  ids: Int[Array, "N T"]
  mask: Bool[Array, "N T"]
  logprobs: tuple[Float[Array, "N T"], ...]
  samples: int = flax.struct.field(pytree_node=False)
  settings: Settings = flax.struct.field(pytree_node=False)


def generate(
  model: base.Model | NextToken,
  params: PyTree,
  prompt: Tokens,
  key: Key[Array, ""],
  *,
  eos_id: int | None,
  max_tokens: int,
  samples: int = 1,
  **settings: Any,
) -> Samples:
  """Samples responses token by token; the prompt is read once.

  Stops early when every response has ended.

  Args:
    model: the network, or a distribution such as `geometric_mixture`.
    params: its parameters.
    prompt: [B, T], left-padded.
    key: consumed.
    eos_id: the token that ends a response; None for one that fills the room.
    max_tokens: length of the output; a response that is cut there has no eos.
    samples: K, responses per prompt.
    **settings: see `start`.

  Raises:
    UserError: a setting is outside its range.
  """
  state = start(
    model,
    params,
    prompt,
    key,
    eos_id=eos_id,
    max_tokens=max_tokens,
    samples=samples,
    **settings,
  )
  return finish(advance(model, params, state, max_tokens))


def start(
  model: base.Model | NextToken,
  params: PyTree,
  prompt: Tokens,
  key: Key[Array, ""],
  *,
  eos_id: int | None,
  max_tokens: int,
  samples: int = 1,
  temperature: float = 1.0,
  top_k: int = 0,
  top_p: float = 1.0,
  min_p: float = 0.0,
  min_tokens: int = 0,
) -> State:
  """Reads the prompts and samples the first token of each response.

  Args:
    model, params, prompt, key, eos_id, max_tokens, samples: as in `generate`.
    temperature: logits are divided by it; 0 takes the most likely token.
    top_k: keep only that many most likely tokens; 0 keeps all.
    top_p: keep the most likely tokens that together reach this probability.
    min_p: keep the tokens that are at least this share as likely as the most
      likely one (Nguyen et al., 2024, arXiv:2407.01082).
    min_tokens: a response ends no earlier.

  Raises:
    UserError: a setting is outside its range.
  """
  _check(max_tokens >= 1, "max_tokens", max_tokens, ">= 1")
  _check(samples >= 1, "samples", samples, ">= 1")
  _check(0 <= temperature < math.inf, "temperature", temperature, ">= 0")
  _check(top_k >= 0, "top_k", top_k, ">= 0 (0 keeps all)")
  _check(0 < top_p <= 1, "top_p", top_p, "in (0, 1]")
  _check(0 <= min_p <= 1, "min_p", min_p, "in [0, 1]")
  _check(min_tokens >= 0, "min_tokens", min_tokens, ">= 0")
  distribution = distributions.as_distribution(model)
  inner = distribution.start(params, prompt, samples, max_tokens)
  logits = distribution.logits(params, inner)
  rows, size = logits[0].shape
  _check(
    eos_id is None or 0 <= eos_id < size,
    "eos_id",
    eos_id,
    f"a token of the vocabulary, 0 to {size - 1}, or None",
  )
  state = State(
    inner=inner,
    key=key,
    length=jnp.zeros((), jnp.int32),
    done=jnp.zeros((rows,), bool),
    ids=jnp.zeros((rows, max_tokens), jnp.int32),
    mask=jnp.zeros((rows, max_tokens), bool),
    logprobs=(jnp.zeros((rows, max_tokens), jnp.float32),) * len(logits),
    samples=samples,
    settings=Settings(eos_id, temperature, top_k, top_p, min_p, min_tokens),
  )
  return _draw(logits, state)


def advance(
  model: base.Model | NextToken,
  params: PyTree,
  state: State,
  tokens: int | Int[Array, ""],
) -> State:
  """Samples up to so many further tokens of each response.

  Ends early when every response has ended or the room is full.

  Args:
    model: what `start` was given.
    params: the same, or what `for_decoding` makes of them; who calls this
      repeatedly does that once.
    state: from `start` or from here.
    tokens: may be traced: one program serves any number.
  """
  distribution = distributions.as_distribution(model)
  # Outside of the loop, which would do it for each token.
  params = distribution.for_decoding(params)
  stop = jnp.minimum(state.length + tokens, state.ids.shape[1])

  def body(state: State) -> State:
    newest = jax.lax.dynamic_index_in_dim(
      state.ids, state.length - 1, axis=1, keepdims=False
    )
    inner = distribution.feed(params, state.inner, newest)
    logits = distribution.logits(params, inner)
    return _draw(logits, dataclasses.replace(state, inner=inner))

  def is_unfinished(state: State) -> Bool[Array, ""]:
    # One long response keeps all rows going: shapes are static.
    return (state.length < stop) & ~jnp.all(state.done)

  return jax.lax.while_loop(is_unfinished, body, state)


def finish(state: State) -> Samples:
  """What was sampled so far."""

  def by_prompt(array: Array) -> Array:
    return array.reshape(-1, state.samples, *array.shape[1:])

  logprobs, *components = (by_prompt(array) for array in state.logprobs)
  return Samples(
    responses=Tokens(ids=by_prompt(state.ids), mask=by_prompt(state.mask)),
    logprobs=logprobs,
    component_logprobs=tuple(components),
    ended=by_prompt(state.done),
  )


def _draw(logits: Logits, state: State) -> State:
  """The state with one more token, from the logits of all components."""
  s = state.settings
  # First the temperature, then the cuts: top-p is of the distribution that is
  # sampled from, as in transformers.
  if s.temperature > 0:
    logits = tuple(array / s.temperature for array in logits)
  # What is sampled from comes first, then its components, for their log-probs.
  allowed = _allowed(logits[0], state.length, s)
  key, draw_key = jax.random.split(state.key)
  if s.temperature > 0:
    ids = jax.random.categorical(draw_key, allowed, axis=-1).astype(jnp.int32)
  else:
    ids = jnp.argmax(allowed, axis=-1).astype(jnp.int32)
  alive = ~state.done

  def write(buffer: Array, column: Array) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(
      buffer, column[:, None], state.length, axis=1
    )

  def logprob(logits: Float[Array, "N V"]) -> Float[Array, "N"]:
    # Of the logits before anything was cut: those that scoring sees.
    logit = jnp.take_along_axis(logits, ids[:, None], axis=-1)[:, 0]
    return jnp.where(alive, logit - jax.nn.logsumexp(logits, axis=-1), 0.0)

  return dataclasses.replace(
    state,
    key=key,
    length=state.length + 1,
    done=state.done if s.eos_id is None else state.done | (ids == s.eos_id),
    ids=write(state.ids, ids),
    # Of those alive before this token: the one that ends a response is real.
    mask=write(state.mask, alive),
    logprobs=tuple(
      write(buffer, logprob(array))
      for buffer, array in zip(state.logprobs, logits, strict=True)
    ),
  )


def _allowed(
  logits: Float[Array, "N V"], length: Int[Array, ""], s: Settings
) -> Float[Array, "N V"]:
  """Logits with -inf where a token may not be sampled."""
  if s.eos_id is not None and s.min_tokens > 0:
    # The token that comes is number length + 1.
    early = (length + 1 < s.min_tokens) & (
      jnp.arange(logits.shape[-1]) == s.eos_id
    )
    logits = jnp.where(early[None], -jnp.inf, logits)
  logits = truncation.keep_top_k(logits, s.top_k)
  logits = truncation.keep_top_p(logits, s.top_p)
  return truncation.keep_min_p(logits, s.min_p)


def _check(allowed: bool, name: str, value: Any, what: str) -> None:
  if not allowed:
    raise errors.UserError(f"{name} must be {what}, got {value}")
