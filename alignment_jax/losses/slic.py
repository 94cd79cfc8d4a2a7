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
  """Hinge loss on the margin of two responses, plus likelihood of a target.

  Zhao et al., 2023 (arXiv:2305.10425), SLiC-HF:

      max(0, delta - log policy(chosen) + log policy(rejected))
      - lam log policy(target)

  There is no reference model: the second term keeps the policy in place.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next two.
    policy_rejected: the rejected response.
    policy_target: the SFT target or the best-ranked sample; HALOs takes the
      chosen response.
    delta: target margin, > 0, in nats.
    lam: weight of the likelihood, >= 0.

  Returns:
    One loss per pair, in nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    max(0, 3 + 1 - 2) + 0.5 * 1.

    >>> chosen, rejected, target = jnp.array([-1.0, -2.0, -1.0])
    >>> float(losses.slic_loss(chosen, rejected, target, delta=3.0, lam=0.5))
    2.5
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
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per pair, >= 0; 1 where the policy equals the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.

  Example:
    h = 3: 1 - 0.25 * 3.

    >>> arrays = jnp.array([-1.0, -4.0, -2.0, -2.0])
    >>> float(losses.hinge_loss(*arrays, beta=0.25))
    0.25
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  return jnp.maximum(0.0, 1 - beta * (chosen - rejected))
