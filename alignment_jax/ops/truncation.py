"""Cuts of a next-token distribution: -inf where nothing is to be drawn."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def keep_top_k(
  logits: Float[Array, "*batch V"], top_k: int
) -> Float[Array, "*batch V"]:
  """The `top_k` most likely tokens and what ties with the last; 0 for all."""
  if top_k == 0 or top_k >= logits.shape[-1]:
    return logits
  least = jax.lax.top_k(logits, top_k)[0][..., -1:]
  return jnp.where(logits >= least, logits, -jnp.inf)


def keep_top_p(
  logits: Float[Array, "*batch V"], top_p: float
) -> Float[Array, "*batch V"]:
  """The most likely tokens that together reach this probability."""
  if top_p == 1:
    return logits
  ordered = jnp.sort(logits, axis=-1, descending=True)
  probabilities = jax.nn.softmax(ordered, axis=-1)
  # A token stays while those before it have not reached top_p: the first stays.
  stays = jnp.cumsum(probabilities, axis=-1) - probabilities < top_p
  least = jnp.min(jnp.where(stays, ordered, jnp.inf), axis=-1, keepdims=True)
  return jnp.where(logits >= least, logits, -jnp.inf)


def keep_min_p(
  logits: Float[Array, "*batch V"], min_p: float
) -> Float[Array, "*batch V"]:
  """The tokens at least this share as likely as the most likely one.

  Nguyen et al., 2024 (arXiv:2407.01082).
  """
  if min_p == 0:
    return logits
  least = jnp.max(logits, axis=-1, keepdims=True) + math.log(min_p)
  return jnp.where(logits >= least, logits, -jnp.inf)
