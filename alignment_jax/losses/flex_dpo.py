"""DPO with a separate coefficient for each response."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def flex_dpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta_chosen: float,
  beta_rejected: float,
) -> Float[Array, "*batch"]:
  """Push the rejected response down less than the chosen one up.

  Yan et al., 2024 (arXiv:2406.07327), Flex-DPO: with rho the log-ratio,

      -log sigmoid(beta_chosen rho_chosen - beta_rejected rho_rejected)

  With respect to probabilities, DPO's gradient on the rejected response is
  policy(chosen) / policy(rejected) times that on the chosen one, which in the
  end is hardly pushed up any more; a smaller `beta_rejected` slows that down.
  Equal coefficients give `dpo_loss`.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta_chosen: coefficient of the chosen response, > 0, per nat.
    beta_rejected: coefficient of the rejected response, >= 0, per nat.

  Returns:
    One loss per pair, in nats; log 2 where the policy equals the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    rho = log 3 and -log 3: 0.7 log 3 + 0.3 log 3 = log 3.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.flex_dpo_loss(
    ...   high, low, low, high, beta_chosen=0.7, beta_rejected=0.3
    ... )
    >>> f"{jnp.exp(-loss):.4f}"
    '0.7500'
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta_chosen=beta_chosen)
  guards.non_negative(beta_rejected=beta_rejected)
  return -jax.nn.log_sigmoid(beta_chosen * chosen - beta_rejected * rejected)
