"""A scalar on top of a state: a reward, a value or a logit."""

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
