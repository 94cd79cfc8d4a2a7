"""Direct preference optimization."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def dpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
  label_smoothing: float = 0.0,
) -> Float[Array, "*batch"]:
  """Fit a Bradley-Terry model whose reward is beta times the log-ratio.

  Rafailov et al., 2023 (arXiv:2305.18290), eq. 7, and its conservative form
  for labels that are wrong with probability e:

      -(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h)

  with h the margin: log-ratio to the reference of the chosen response minus
  that of the rejected one. Where P(chosen wins) is p, the minimum is at
  h = logit(p) / beta, so at p = 1 and e = 0 there is none: h grows without
  bound, whatever beta is. This is what IPO repairs.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.
    label_smoothing: e, the probability of a wrong label, in [0, 0.5).

  Returns:
    One loss per pair, in nats; log 2 where the policy equals the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    The policy has (3/4, 1/4) where the reference has (1/4, 3/4): h = 2 log 3,
    and sigmoid(h / 2) = 3/4.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.dpo_loss(high, low, low, high, beta=0.5)
    >>> f"{jnp.exp(-loss):.4f}"
    '0.7500'
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  guards.within(0.0, 0.5, label_smoothing=label_smoothing)
  logit = beta * (chosen - rejected)
  loss = -jax.nn.log_sigmoid(logit)
  if isinstance(label_smoothing, (int, float)) and label_smoothing == 0:
    return loss
  return (1 - label_smoothing) * loss - label_smoothing * jax.nn.log_sigmoid(
    -logit
  )
