"""Contrastive preference optimization."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards


def cpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  *,
  beta: float,
  alpha: float,
) -> Float[Array, "*batch"]:
  """DPO with a uniform reference, and likelihood of the chosen response.

  Xu et al., 2024 (arXiv:2401.08417):

      -log sigmoid(beta (log policy(chosen) - log policy(rejected)))
      - alpha log policy(chosen)

  Without the second term (alpha = 0) the loss has no finite minimum if one
  response always wins. TRL's second term is the mean over tokens, not the sum.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens.
    policy_rejected: the same for the rejected response.
    beta: scale of the first term, > 0, per nat.
    alpha: weight of the likelihood, >= 0; 1 in the paper.

  Returns:
    One loss per pair, in nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    sigmoid(log 3) = 3/4, and the chosen response has probability 3/4:
    exp(-loss) = (3/4)^2.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.cpo_loss(high, low, beta=1.0, alpha=1.0)
    >>> f"{jnp.exp(-loss):.4f}"
    '0.5625'
  """
  policy_chosen, policy_rejected = guards.same_shape_floats(
    policy_chosen=policy_chosen, policy_rejected=policy_rejected
  )
  guards.positive(beta=beta)
  guards.non_negative(alpha=alpha)
  return (
    -jax.nn.log_sigmoid(beta * (policy_chosen - policy_rejected))
    - alpha * policy_chosen
  )
