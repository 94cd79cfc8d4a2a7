"""Nash-MD: the policy gradient of a regularized preference game."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards


def nash_md_pg_loss(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
  preferences: Float[Array, "*batch"],
  *,
  tau: float,
) -> Float[Array, "*batch"]:
  """Policy gradient of the win rate against an opponent, less tau times the KL.

  Munos et al., 2023 (arXiv:2312.00886, v4): for a response of the policy and
  another of the opponent,

      -(P - 1/2 - tau rho) log policy,   rho = log policy - log reference

  with the bracket held constant. Its expected gradient is minus that of
  P(policy beats opponent) - tau KL(policy || reference), the KL of whole
  sequences. The opponent is the policy itself (self-play), the reference (best
  response), or their geometric mixture (Nash-MD).

  Args:
    policy_logprobs: log-probability of a response of the policy, in nats,
      summed over its tokens.
    reference_logprobs: the same under the reference; held constant.
    preferences: P(the response beats the opponent's); held constant.
    tau: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per response. Only its gradient is meaningful.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.

  Example:
    rho = 1: -(1 - 1/2 - 1/4)(-2).

    >>> policy, reference, wins = jnp.array([-2.0, -3.0, 1.0])
    >>> float(losses.nash_md_pg_loss(policy, reference, wins, tau=0.25))
    0.5
  """
  policy_logprobs, reference_logprobs, preferences = guards.same_shape_floats(
    policy_logprobs=policy_logprobs,
    reference_logprobs=reference_logprobs,
    preferences=preferences,
  )
  guards.positive(tau=tau)
  advantage = preferences - 0.5 - tau * (policy_logprobs - reference_logprobs)
  return -jax.lax.stop_gradient(advantage) * policy_logprobs


def nash_md_pg_one_token_loss(
  policy_logprobs: Float[Array, "*batch T"],
  reference_logprobs: Float[Array, "*batch T"],
  preferences: Float[Array, "*batch"],
  *,
  tau: float,
) -> Float[Array, "*batch T"]:
  """`nash_md_pg_loss` with each token charged for its own log-ratio only.

  TRL's form of Nash-MD (Munos et al., 2023, arXiv:2312.00886): for token t

      -(P - 1/2) log policy_t + tau rho_t log policy_t

  with P - 1/2 and rho_t held constant. It ignores the effect of a token on the
  KL of the tokens after it, so for responses of more than one token it is not
  the gradient of the paper.

  Args:
    policy_logprobs: log-probability of each token, in nats; 0 where padded.
    reference_logprobs: the same under the reference; held constant.
    preferences: P(the response beats the opponent's); held constant.
    tau: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per token, to be summed over the response.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.

  Example:
    rho = 1 and 0: -(1 - 1/2 - 1/4)(-2) and -(1 - 1/2)(-2).

    >>> policy, reference = jnp.array([[[-2.0, -2.0]], [[-3.0, -2.0]]])
    >>> loss = losses.nash_md_pg_one_token_loss(
    ...   policy, reference, jnp.array([1.0]), tau=0.25
    ... )
    >>> loss.tolist()
    [[0.5, 1.0]]
  """
  policy_logprobs, reference_logprobs = guards.same_shape_floats(
    policy_logprobs=policy_logprobs, reference_logprobs=reference_logprobs
  )
  (preferences,) = guards.floats_of_shape(
    policy_logprobs.shape[:-1],
    "a token of each response",
    preferences=preferences,
  )
  guards.positive(tau=tau)
  advantage = jnp.broadcast_to(
    preferences[..., None] - 0.5, policy_logprobs.shape
  ) - tau * (policy_logprobs - reference_logprobs)
  return -jax.lax.stop_gradient(advantage) * policy_logprobs
