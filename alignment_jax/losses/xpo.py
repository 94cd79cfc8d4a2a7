"""Exploratory preference optimization."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def xpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  policy_reference_sample: Float[Array, "*batch"],
  *,
  beta: float,
  alpha: float,
) -> Float[Array, "*batch"]:
  """DPO, plus a bonus for moving away from the reference's response.

  Xie et al., 2024 (arXiv:2405.21046), Algorithm 1, line 6:

      -log sigmoid(beta h) + alpha log policy(y_ref)

  Each pair holds one response of the policy and one of the reference, y_ref.
  Lowering the likelihood of y_ref is the optimizm that explores.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    policy_reference_sample: log-probability, under the policy, of whichever of
      the two responses the reference sampled.
    beta: strength of the KL regularization, > 0, per nat.
    alpha: strength of the optimizm, >= 0; 0 gives `dpo_loss`.

  Returns:
    One loss per pair, in nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    beta h = log 3, and 0.5 * (-2) for the reference's response:
    exp(-loss) = (3/4) exp(1).

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.xpo_loss(
    ...   high, low, low, high, jnp.array(-2.0), beta=0.5, alpha=0.5
    ... )
    >>> f"{jnp.exp(-loss - 1):.4f}"
    '0.7500'
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  guards.non_negative(alpha=alpha)
  (policy_reference_sample,) = guards.floats_of_shape(
    chosen.shape,
    "policy_chosen",
    policy_reference_sample=policy_reference_sample,
  )
  return alpha * policy_reference_sample - jax.nn.log_sigmoid(
    beta * (chosen - rejected)
  )
