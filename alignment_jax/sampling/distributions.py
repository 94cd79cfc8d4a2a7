"""What the next token is drawn from: a policy, or a mixture of two."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from alignment_jax import errors
from alignment_jax.models import base
from alignment_jax.types import Tokens

Logits = tuple[Float[Array, "N V"], ...]


class NextToken(NamedTuple):
  """A distribution of the next token that can be fed what was sampled.

  Attributes:
    start: (params, prompt Tokens [B, T], samples K, room for so many tokens) ->
      state of B K rows, [a, a, b, b] for prompts [a, b].
    logits: (params, state) -> float32 [B K, V], what is sampled from, and
      the same of each component of a mixture.
    feed: (params, state, ids [B K]) -> state.
    for_decoding: (params) -> params in the layout that `logits` and `feed` are
      quickest with; they take either. See `Model.for_decoding`.
  """

  start: Callable[[PyTree, Tokens, int, int], PyTree]
  logits: Callable[[PyTree, PyTree], Logits]
  feed: Callable[[PyTree, PyTree, Int[Array, "N"]], PyTree]
  for_decoding: Callable[[PyTree], PyTree]


class _Read(NamedTuple):
  """A policy's state: what predicts the next token, and the cache."""

  hidden: Float[Array, "N D"]
  cache: base.Cache


def policy(model: base.Model) -> NextToken:
  """The distribution of a network; its parameters are the network's."""

  def start(
    params: base.Params, prompt: Tokens, samples: int, room: int
  ) -> _Read:
    context = model.encode(params, prompt)
    if samples > 1:
      context = model.repeat(context, samples)
    return _Read(context.last, model.init_cache(context, room))

  def logits(params: base.Params, state: _Read) -> Logits:
    return (model.unembed(params, state.hidden).astype(jnp.float32),)

  def feed(params: base.Params, state: _Read, ids: Int[Array, "N"]) -> _Read:
    return _Read(*model.step(params, state.cache, ids))

  return NextToken(start, logits, feed, model.for_decoding)


def geometric_mixture(
  policy: base.Model | NextToken,
  reference: base.Model | NextToken,
  *,
  beta: float,
) -> NextToken:
  """Each token from policy^(1 - beta) reference^beta, normalized.

  Munos et al., 2023 (arXiv:2312.00886), the one-step-at-a-time mixture of their
  experiments: after each prefix softmax((1 - beta) z + beta z') of the logits z
  of the policy and z' of the reference, both divided by the temperature. Its
  sequences are not those of the mixture of sequences, which has one normalizer
  and not one per prefix.

  Its parameters are a pair, the policy's and the reference's; each reads with a
  cache of its own. `component_logprobs` are under the two, in this order.

  Args:
    policy: the network or distribution that is mixed; beta 0 is this one.
    reference: the same vocabulary; beta 1 is this one.
    beta: weight of the reference, 0 to 1.

  Raises:
    UserError: beta is outside its range, or, in `start`, the vocabularies
      differ.
  """
  if not 0 <= beta <= 1:
    raise errors.UserError(f"beta must be in [0, 1], got {beta}")
  parts = (as_distribution(policy), as_distribution(reference))

  def start(params: PyTree, prompt: Tokens, samples: int, room: int) -> PyTree:
    return tuple(
      part.start(part_params, prompt, samples, room)
      for part, part_params in zip(parts, params, strict=True)
    )

  def logits(params: PyTree, states: PyTree) -> Logits:
    of_policy, of_reference = (
      part.logits(part_params, state)[0]
      for part, part_params, state in zip(parts, params, states, strict=True)
    )
    if of_policy.shape != of_reference.shape:
      raise errors.UserError(
        f"policy and reference have {of_policy.shape[-1]} and"
        f" {of_reference.shape[-1]} tokens in their vocabularies; a mixture"
        " needs the same ones"
      )
    mixed = (1 - beta) * of_policy + beta * of_reference
    return mixed, of_policy, of_reference

  def feed(params: PyTree, states: PyTree, ids: Int[Array, "N"]) -> PyTree:
    return tuple(
      part.feed(part_params, state, ids)
      for part, part_params, state in zip(parts, params, states, strict=True)
    )

  def for_decoding(params: PyTree) -> PyTree:
    return tuple(
      part.for_decoding(part_params)
      for part, part_params in zip(parts, params, strict=True)
    )

  return NextToken(start, logits, feed, for_decoding)


def as_distribution(model: base.Model | NextToken) -> NextToken:
  """The distribution of a network; what is one already is returned as it is."""
  return model if isinstance(model, NextToken) else policy(model)
