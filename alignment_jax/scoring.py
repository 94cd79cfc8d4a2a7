"""The only place where model output meets token ids.

Every loss takes what comes from here: per-token numbers in response
coordinates, `[B, K, T]` for K responses to each of B prompts, 0 where the
response is padded. The prompt is read once for all K. Logits exist for one
chunk of tokens at a time, forwards and backwards, so `[B, T, V]` is never held.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from alignment_jax import errors
from alignment_jax.models import base, heads
from alignment_jax.ops import masking, prompts
from alignment_jax.types import Tokens

POOLINGS = ("last", "mean")

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
  hidden = _states(model, params, prompt, responses, key)
  count = masking.lengths(responses.mask)
  last = _at(hidden, count)
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


class Values(NamedTuple):
  """What the states of a response are worth, as advantages need it.

  Attributes:
    tokens: entry t is of the state before token t is chosen; 0 where padded.
    final: of the state after the last real token. A response that ended is
      worth 0 from there; one that was cut off is worth this.
  """

  tokens: Float[Array, "B K T *N"]
  final: Float[Array, "B K *N"]


def token_values(
  model: base.Model,
  params: dict[str, Any],
  prompt: Tokens,
  responses: Tokens,
  *,
  head: Callable[[heads.Head, Array], Array] = heads.scalar,
  key: Key[Array, ""] | None = None,
) -> Values:
  """The value of every state of each response, from one pass of the model.

  Args:
    model: the network.
    params: its parameters as `network`, and a `head`.
    prompt: [B, T] prompts.
    responses: [B, K, T] responses.
    head: reads a state: `heads.scalar`, or `heads.quantiles` for N numbers,
      which then are a last axis.
    key: turns dropout on.
  """
  hidden = _states(model, params["network"], prompt, responses, key)
  final = _at(hidden, masking.lengths(responses.mask))
  tokens = head(params["head"], hidden[:, :, :-1])
  mask = responses.mask.reshape(
    responses.mask.shape + (1,) * (tokens.ndim - responses.mask.ndim)
  )
  return Values(jnp.where(mask, tokens, 0.0), head(params["head"], final))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
  """Token ids around two answers that a network reads in one prompt.

  What is read is

      prompt, before_first, first, before_second, second, after

  Attributes:
    before_first: ids between the prompt and the first answer.
    before_second: ids between the two answers.
    after: ids behind the second, such as a question or the end of sequence.
  """

  before_first: tuple[int, ...]
  before_second: tuple[int, ...]
  after: tuple[int, ...] = ()


def comparison(
  prompt: Tokens, first: Tokens, second: Tokens, template: Template
) -> Tokens:
  """One left-padded prompt that holds both answers, [B, sum of all lengths].

  Args:
    prompt: [B, T] prompts.
    first: [B, T] answers to them.
    second: [B, T] other answers, of any length T.
    template: ids around the answers.
  """
  return prompts.joined(
    prompt,
    template.before_first,
    first,
    template.before_second,
    second,
    template.after,
  )


def preference_logits(
  model: base.Model,
  params: dict[str, Any],
  prompt: Tokens,
  first: Tokens,
  second: Tokens,
  *,
  template: Template,
  key: Key[Array, ""] | None = None,
) -> Float[Array, "B"]:
  """Log-odds that the first answer is preferred, by a network that reads both.

  Munos et al., 2023 (arXiv:2312.00886): the preference may depend on both
  answers together, so it need not come from a reward. Both stand in one prompt
  that is encoded as any other, by T5's encoder or by a decoder; a scalar head
  reads the state behind it. It is what `losses.preference_model_loss` takes.
  The order of the answers matters; `preferences` averages over it.

  Args:
    model: the network.
    params: its parameters as `network`, and a scalar `head`.
    prompt: [B, T] prompts.
    first: [B, T] answers.
    second: [B, T] other answers.
    template: ids around the answers.
    key: turns dropout on.
  """
  whole = comparison(prompt, first, second, template)
  context = model.encode(params["network"], whole, key=key)
  return heads.scalar(params["head"], context.last)


def swap_averaged(
  logits: Float[Array, "*batch"], swapped: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """(P(a, b) + 1 - P(b, a)) / 2, in [0, 1].

  With it P(a, b) + P(b, a) = 1, and an answer ties with itself.

  Args:
    logits: log-odds that a wins, a read first.
    swapped: log-odds that b wins, b read first.
  """
  return 0.5 * (jax.nn.sigmoid(logits) + jax.nn.sigmoid(-swapped))


def preferences(
  model: base.Model,
  params: dict[str, Any],
  prompt: Tokens,
  first: Tokens,
  second: Tokens,
  *,
  template: Template,
) -> Float[Array, "B"]:
  """P(first is preferred to second), averaged over who is read first.

  Args are those of `preference_logits`.
  """
  logits, swapped = (
    preference_logits(model, params, prompt, *answers, template=template)
    for answers in ((first, second), (second, first))
  )
  return swap_averaged(logits, swapped)


def _states(model, params, prompt, responses, key):
  """[B, K, T + 1, D]: before each token, and after the last."""
  # Entry t of `hidden` has read tokens before t: one more place reads them all.
  widened = jax.tree.map(
    lambda array: jnp.pad(array, [(0, 0), (0, 0), (0, 1)]), responses
  )
  hidden = _hidden(model, params, prompt, widened, key)
  return hidden.reshape(*widened.ids.shape, hidden.shape[-1])


def _at(hidden, place):
  """[B, K, D]: one state per response."""
  return jnp.take_along_axis(hidden, place[..., None, None], axis=2)[:, :, 0]


def _hidden(model, params, prompt, responses, key):
  """States of all responses as rows, [B K, T, D]; the prompt is read once."""
  rows, count, length = responses.ids.shape
  encode_key, hidden_key = (
    (None, None) if key is None else jax.random.split(key)
  )
  context = model.encode(params, prompt, key=encode_key)
  if count > 1:
    context = model.repeat(context, count)
  flat = jax.tree.map(lambda a: a.reshape(rows * count, length), responses)
  return model.hidden(params, context, flat, key=hidden_key)
