"""The best response in a preference game (Munos et al., 2023)."""

from jaxtyping import Array, Key, PyTree

from alignment_jax import rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import games
from alignment_jax.models.base import Model
from alignment_jax.types import Tokens


def best_response(
  model: Model, *, sampling: rollouts.Sampling, tau: float
) -> Algorithm:
  """Nash-MD with beta = 1 (arXiv:2312.00886): beat the reference alone.

  Its fixed point is reference exp(P(y beats reference) / tau) / Z. A policy
  that beats the reference may lose to others: the paper's baseline.

  Args:
    model: the network.
    sampling: `samples` responses of the policy, and as many of the reference;
      each of the policy's meets all of the reference's.
    tau: strength of the KL regularization, > 0, win rate per nat.
  """

  def opponent(
    trainable: PyTree, slow: PyTree, prompt: Tokens, key: Key[Array, ""]
  ) -> Tokens:
    del trainable
    return rollouts.respond(
      model, slow["reference"], prompt, key, sampling, sampling.samples
    )

  return games.against(model, sampling, tau=tau, opponent=opponent)
