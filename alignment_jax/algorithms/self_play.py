"""Self-play in a preference game (Munos et al., 2023, arXiv:2312.00886)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax import rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import games
from alignment_jax.models.base import Model


def self_play(
  model: Model, *, sampling: rollouts.Sampling, tau: float
) -> Algorithm:
  """Nash-MD with beta = 0: the policy plays against itself.

  Its fixed point is the Nash policy of the game regularized by tau.

  Args:
    model: the network.
    sampling: at least two responses of the policy; each meets all others.
    tau: strength of the KL regularization, > 0, win rate per nat.
  """
  sampling.at_least(2, "self_play")

  def win_rates(preferences: Float[Array, "B K K"]) -> Float[Array, "B K"]:
    others = 1 - jnp.eye(sampling.samples, dtype=preferences.dtype)
    return jnp.sum(preferences * others[None], axis=-1) / (sampling.samples - 1)

  return games.game(
    model,
    sampling,
    tau=tau,
    sample=rollouts.sample_policy(model, sampling),
    win_rates=win_rates,
  )
