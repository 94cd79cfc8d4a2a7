"""Odds ratio preference optimization."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards

# Odds of a response that is certain would be infinite.
_MAX_MEAN_LOGPROB = -1e-6


def orpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  *,
  lam: float,
) -> Float[Array, "*batch"]:
  """Likelihood of the chosen response, and odds above the rejected one's.

  Hong et al., 2024 (arXiv:2403.07691), eq. 6 and 7, with a the mean
  log-probability per token and log odds(a) = a - log(1 - e^a):

      -a_chosen - lam log sigmoid(log odds(a_chosen) - log odds(a_rejected))

  Args:
    policy_chosen: log-probability of the preferred response, in nats per token,
      the mean over its tokens, <= 0. Inside the odds it is cut to -1e-6.
    policy_rejected: the same of the other response.
    lam: weight of the odds ratio, >= 0; 0 leaves SFT. TRL calls it `beta`.

  Returns:
    One loss per pair, in nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or lam < 0.
  """
  policy_chosen, policy_rejected = guards.same_shape_floats(
    policy_chosen=policy_chosen, policy_rejected=policy_rejected
  )
  guards.non_negative(lam=lam)
  log_odds_ratio = _log_odds(policy_chosen) - _log_odds(policy_rejected)
  return -policy_chosen - lam * jax.nn.log_sigmoid(log_odds_ratio)


def _log_odds(mean_logprobs):
  mean_logprobs = jnp.minimum(mean_logprobs, _MAX_MEAN_LOGPROB)
  return mean_logprobs - jax.nn.log1mexp(-mean_logprobs)
