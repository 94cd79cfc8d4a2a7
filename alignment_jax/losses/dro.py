"""Direct reward optimization from single scored responses: DRO-V and DRO-P."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards


def dro_policy_loss(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
  rewards: Float[Array, "*batch"],
  values: Float[Array, "*batch"],
  *,
  tau: float,
) -> Float[Array, "*batch"]:
  """Squared residual of the optimality equation, for the policy.

  Richemond et al., 2024 (arXiv:2405.19107, v1), eq. 8 after the paper's
  rescaling by 1 / tau:

      (r - V - tau rho)^2 / (2 tau),   rho = log policy - log reference

  At the optimum r - V = tau rho for every response, whatever distribution the
  responses were drawn from. V is more than a variance-reducing baseline:
  off-policy, leaving it out moves the optimum.

  Args:
    policy_logprobs: log-probability of the response, in nats, summed over its
      tokens.
    reference_logprobs: the same under the reference; held constant.
    rewards: reward of the response.
    values: V(prompt), in units of reward; held constant.
    tau: strength of the KL regularization, > 0, reward per nat.

  Returns:
    One loss per response, >= 0.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.

  Example:
    rho = 1: (2 - 0.5 - 0.5 * 1)^2 / (2 * 0.5).

    >>> arrays = jnp.array([-1.0, -2.0, 2.0, 0.5])
    >>> float(losses.dro_policy_loss(*arrays, tau=0.5))
    1.0
  """
  policy_logprobs, reference_logprobs, rewards, values = (
    guards.same_shape_floats(
      policy_logprobs=policy_logprobs,
      reference_logprobs=reference_logprobs,
      rewards=rewards,
      values=values,
    )
  )
  guards.positive(tau=tau)
  target = jax.lax.stop_gradient(rewards - values + tau * reference_logprobs)
  return jnp.square(target - tau * policy_logprobs) / (2 * tau)


def dro_value_loss(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
  rewards: Float[Array, "*batch"],
  values: Float[Array, "*batch"],
  *,
  tau: float,
) -> Float[Array, "*batch"]:
  """Squared residual of the optimality equation, for the value network.

  Richemond et al., 2024 (arXiv:2405.19107, v1), the objective of Theorem 1:

      (r - V - tau rho)^2 / 2,   rho = log policy - log reference

  The minimizer is V(prompt) = E[r - tau rho] over the data; at the common
  optimum with the policy it is tau log E_reference[exp(r / tau)].

  Args:
    policy_logprobs: log-probability of the response, in nats, summed over its
      tokens; held constant.
    reference_logprobs: the same under the reference; held constant.
    rewards: reward of the response; held constant.
    values: V(prompt), in units of reward.
    tau: strength of the KL regularization, > 0, reward per nat.

  Returns:
    One loss per response, >= 0.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.

  Example:
    rho = 1: (2 - 0.5 - 0.5 * 1)^2 / 2.

    >>> arrays = jnp.array([-1.0, -2.0, 2.0, 0.5])
    >>> float(losses.dro_value_loss(*arrays, tau=0.5))
    0.5
  """
  policy_logprobs, reference_logprobs, rewards, values = (
    guards.same_shape_floats(
      policy_logprobs=policy_logprobs,
      reference_logprobs=reference_logprobs,
      rewards=rewards,
      values=values,
    )
  )
  guards.positive(tau=tau)
  target = jax.lax.stop_gradient(
    rewards - tau * (policy_logprobs - reference_logprobs)
  )
  return jnp.square(target - values) / 2


def dro_batch_variance_loss(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
  rewards: Float[Array, "*batch"],
  *,
  tau: float,
) -> Float[Array, "*batch"]:
  """Squared deviation from the mean of the batch: DRO without a value network.

  Richemond et al., 2024 (arXiv:2405.19107, v1), appendix B, DRO-P. With
  d = r - tau rho, rho = log policy - log reference:

      (d - mean(d))^2 / 2

  Over a batch of responses to one prompt this averages to half the variance of
  d, which is least where d is the same for all: at reference * exp(r / tau).
  Over different prompts, as in the paper, it is biased: their rewards differ.

  Args:
    policy_logprobs: log-probability of the response, in nats, summed over its
      tokens.
    reference_logprobs: the same under the reference; held constant.
    rewards: reward of the response; held constant.
    tau: strength of the KL regularization, > 0, reward per nat.

  Returns:
    One loss per response, >= 0; 0 for a batch of one.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.

  Example:
    rho = (2, 0) and r = (3, 0): d = (2, 0), each 1 from its mean.

    >>> policy, reference = jnp.array([-1.0, -3.0]), jnp.array([-3.0, -3.0])
    >>> rewards = jnp.array([3.0, 0.0])
    >>> losses.dro_batch_variance_loss(
    ...   policy, reference, rewards, tau=0.5
    ... ).tolist()
    [0.5, 0.5]
  """
  policy_logprobs, reference_logprobs, rewards = guards.same_shape_floats(
    policy_logprobs=policy_logprobs,
    reference_logprobs=reference_logprobs,
    rewards=rewards,
  )
  guards.positive(tau=tau)
  target = jax.lax.stop_gradient(rewards + tau * reference_logprobs)
  residual = target - tau * policy_logprobs
  return jnp.square(residual - jnp.mean(residual)) / 2
