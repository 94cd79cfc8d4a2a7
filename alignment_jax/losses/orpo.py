"""Odds ratio preference optimization."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards

# The odds of a response with probability 1 would be infinite.
_MAX_MEAN_LOGPROB = -1e-6


def orpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  *,
  lam: float,
) -> Float[Array, "*batch"]:
  """Likelihood of the chosen response, and the odds ratio of the two.

  Hong et al., 2024 (arXiv:2403.07691), eq. 6 and 7, with a the mean
  log-probability per token and log odds(a) = a - log(1 - e^a):

      -a_chosen - lam log sigmoid(log odds(a_chosen) - log odds(a_rejected))

  Args:
    policy_chosen: log-probability of the preferred response, in nats per token,
      the mean over its tokens, <= 0. Inside the odds it is at most -1e-6.
    policy_rejected: the same for the rejected response.
    lam: weight of the odds ratio, >= 0; 0 gives SFT. TRL calls it `beta`.

  Returns:
    One loss per pair, in nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or lam < 0.

  Example:
    Odds 3 and 1 have the ratio 3, and the chosen response has probability 3/4:
    exp(-loss) = (3/4)^2.

    >>> chosen, rejected = jnp.log(jnp.array([0.75, 0.5]))
    >>> loss = losses.orpo_loss(chosen, rejected, lam=1.0)
    >>> f"{jnp.exp(-loss):.4f}"
    '0.5625'
  """
  policy_chosen, policy_rejected = guards.same_shape_floats(
    policy_chosen=policy_chosen, policy_rejected=policy_rejected
  )
  guards.non_negative(lam=lam)
  log_odds_ratio = _log_odds(policy_chosen) - _log_odds(policy_rejected)
  return -policy_chosen - lam * jax.nn.log_sigmoid(log_odds_ratio)


def _log_odds(mean_logprobs: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
  mean_logprobs = jnp.minimum(mean_logprobs, _MAX_MEAN_LOGPROB)
  return mean_logprobs - jax.nn.log1mexp(-mean_logprobs)
