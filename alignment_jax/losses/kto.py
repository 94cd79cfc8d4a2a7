"""Kahneman-Tversky optimization."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alignment_jax.ops import guards, ratios


def kto_kl(
  policy_mismatched: Float[Array, "*batch"],
  reference_mismatched: Float[Array, "*batch"],
) -> Float[Array, ""]:
  """The batch's reference point: an estimate of KL(policy || reference).

  Ethayarajh et al., 2024 (arXiv:2402.01306): the mean log-ratio over prompts
  paired with the response of the next example, and 0 where that is negative.
  No gradient flows through it.

  Args:
    policy_mismatched: log-probability of the next example's response, in nats,
      summed over its tokens.
    reference_mismatched: the same under the reference.

  Raises:
    ValueError: shapes differ, or an argument is not floating-point.

  Example:
    Log-ratios 2 and 0.

    >>> policy, reference = jnp.array([-1.0, -3.0]), jnp.array([-3.0, -3.0])
    >>> float(losses.kto_kl(policy, reference))
    1.0
  """
  log_ratio = ratios.of_response(policy_mismatched, reference_mismatched)
  return jax.lax.stop_gradient(jnp.maximum(jnp.mean(log_ratio), 0.0))


def kto_loss(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
  desirable: Bool[Array, "*batch"],
  kl: Float[Array, ""],
  *,
  beta: float,
  lambda_desirable: float = 1.0,
  lambda_undesirable: float = 1.0,
) -> Float[Array, "*batch"]:
  """One minus the prospect value of a response.

  Ethayarajh et al., 2024 (arXiv:2402.01306). With rho the log-ratio:

      lambda_desirable (1 - sigmoid(beta (rho - kl)))       if desirable
      lambda_undesirable (1 - sigmoid(beta (kl - rho)))     otherwise

  Args:
    policy_logprobs: log-probability of the response, in nats, summed over its
      tokens.
    reference_logprobs: the same under the reference; held constant.
    desirable: whether the response is a good one.
    kl: `kto_kl` of the batch, in nats; held constant.
    beta: risk aversion, > 0, per nat.
    lambda_desirable: weight of good responses, >= 0.
    lambda_undesirable: weight of bad responses, >= 0. The paper keeps the ratio
      of weight times count, good to bad, in [1, 4/3].

  Returns:
    One loss per response, between 0 and its weight; half its weight where the
    policy equals the reference and kl is 0.

  Raises:
    ValueError: shapes differ, an argument has the wrong dtype, or a
      coefficient is out of range.

  Example:
    rho - kl = log 3 for both responses: 1 - 3/4, and with weight 2 the
    undesirable one has 2 (1 - 1/4).

    >>> policy, reference = jnp.log(jnp.array([[0.6, 0.6], [0.1, 0.1]]))
    >>> loss = losses.kto_loss(
    ...   policy, reference, jnp.array([True, False]), jnp.log(2.0),
    ...   beta=1.0, lambda_undesirable=2.0,
    ... )
    >>> [f"{x:.4f}" for x in loss]
    ['0.2500', '1.5000']
  """
  log_ratio = ratios.of_response(policy_logprobs, reference_logprobs)
  guards.flags_of_shape(log_ratio.shape, "policy_logprobs", desirable=desirable)
  (kl,) = guards.floats_of_shape((), "a scalar", kl=kl)
  guards.positive(beta=beta)
  guards.non_negative(
    lambda_desirable=lambda_desirable, lambda_undesirable=lambda_undesirable
  )
  gain = beta * (log_ratio - jax.lax.stop_gradient(kl))
  return jnp.where(
    desirable,
    lambda_desirable * jax.nn.sigmoid(-gain),
    lambda_undesirable * jax.nn.sigmoid(gain),
  )
