"""Estimators of KL(policy || reference) from samples of the policy.

With rho = log policy - log reference of one sampled response, each of the three
has mean KL(policy || reference) over the policy's responses. What they differ
in is the gradient when they are differentiated as a loss, the samples held
fixed: only k2's is the gradient of that KL. (The names are John Schulman's,
2020.) All take the log-ratio of a whole response: per token they leave out what
a token does to the KL of the tokens after it.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import ratios


def k1(log_ratio: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
  """rho: unbiased. Its gradient as a loss has mean 0, so use it in a reward."""
  return log_ratio


def k2(log_ratio: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
  """rho^2 / 2: biased in value, but its gradient is that of the reverse KL,
  KL(policy || reference)."""
  return 0.5 * jnp.square(log_ratio)


def k3(log_ratio: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
  """exp(-rho) - 1 + rho: unbiased, >= 0, of low variance near 0; its gradient
  is that of the forward KL, KL(reference || policy)."""
  return ratios.exp(-log_ratio) - 1 + log_ratio


# The divergence whose gradient a KL loss follows -> its estimator.
KL_LOSSES = {"reverse": k2, "forward": k3}


def effective_sample_size(
  log_weights: Float[Array, "N"],
) -> Float[Array, ""]:
  """(sum w)^2 / (N sum w^2) of importance weights w, in (0, 1]; 1 if equal."""
  weights = jnp.exp(log_weights - jnp.max(log_weights))
  total, squares = jnp.sum(weights), jnp.sum(jnp.square(weights))
  return jax.lax.stop_gradient(
    jnp.square(total) / (squares * jnp.float32(log_weights.shape[0]))
  )
