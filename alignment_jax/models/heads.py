"""Small outputs on top of a state, as functions on `hidden`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Head = dict[str, Array]


def init_scalar(key: Key[Array, ""], width: int) -> Head:
  """A linear map to one number.

  Weights are N(0, 1 / (width + 1)), bias 0: detail 11 of Huang et al., 2024
  (arXiv:2403.17031).
  """
  weight = jax.random.normal(key, (width,)) * (width + 1) ** -0.5
  return {"weight": weight, "bias": jnp.zeros(())}


def scalar(
  head: Head, hidden: Float[Array, "*batch D"]
) -> Float[Array, "*batch"]:
  """One number per state, in float32: a reward, a value or a logit."""
  return hidden.astype(jnp.float32) @ head["weight"] + head["bias"]


def init_quantiles(key: Key[Array, ""], width: int, count: int) -> Head:
  """A linear map to `count` numbers; each starts as in `init_scalar`."""
  weight = jax.random.normal(key, (width, count)) * (width + 1) ** -0.5
  return {"weight": weight, "bias": jnp.zeros((count,))}


def quantiles(
  head: Head, hidden: Float[Array, "*batch D"]
) -> Float[Array, "*batch N"]:
  """N quantiles of the return per state, in float32.

  Entry i stands for the quantile `quantile_midpoints(N)[i]`; the mean over the
  last axis is the value. Nothing forces the entries to rise.
  """
  values = hidden.astype(jnp.float32) @ head["weight"]
  return values + jnp.broadcast_to(head["bias"], values.shape)


def quantile_midpoints(count: int) -> Float[Array, "N"]:
  """(2 i + 1) / (2 N) for i = 0, ..., N - 1.

  The quantiles whose values are the nearest N equal weights to a distribution
  in Wasserstein-1 distance: Dabney et al., 2017 (arXiv:1710.10044), Lemma 2.

  >>> quantile_midpoints(4).tolist()
  [0.125, 0.375, 0.625, 0.875]
  """
  return (jnp.arange(count, dtype=jnp.float32) + 0.5) / count
