"""Sequence likelihood calibration, and the hinge loss against a reference."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def slic_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  policy_target: Float[Array, "*batch"],
  *,
  delta: float,
  lam: float,
) -> Float[Array, "*batch"]:
  """A margin between two responses, and likelihood of a target.

  Zhao et al., 2023 (arXiv:2305.10425), SLiC-HF:

      max(0, delta - log policy(chosen) + log policy(rejected))
      - lam log policy(target)

  There is no reference model: the second term keeps the policy in place.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next two.
    policy_rejected: the other response.
    policy_target: the SFT target or the best-ranked sample; HALOs takes the
      chosen response.
    delta: margin, > 0, in nats.
    lam: weight of the likelihood, >= 0.

  Returns:
    One loss per pair, in nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.
  """
  policy_chosen, policy_rejected, policy_target = guards.same_shape_floats(
    policy_chosen=policy_chosen,
    policy_rejected=policy_rejected,
    policy_target=policy_target,
  )
  guards.positive(delta=delta)
  guards.non_negative(lam=lam)
  margin = policy_chosen - policy_rejected
  return jnp.maximum(0.0, delta - margin) - lam * policy_target


def hinge_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
) -> Float[Array, "*batch"]:
  """max(0, 1 - beta h), with h the margin of the log-ratios.

  The SLiC member of the family f(beta h) in Tang et al., 2024
  (arXiv:2402.05749); DPO is its logistic and IPO its squared member.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the other response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the other response under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per pair, >= 0; 1 where the policy is the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  return jnp.maximum(0.0, 1 - beta * (chosen - rejected))
