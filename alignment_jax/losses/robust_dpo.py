"""DPO that is unbiased under a known share of flipped labels."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def robust_dpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
  label_smoothing: float,
) -> Float[Array, "*batch"]:
  """Equal in expectation, over label flips, to DPO's loss on clean labels.

  Chowdhury et al., 2024 (arXiv:2403.00409). With h the margin of the log-ratios
  and e the probability that a label was flipped:

      (-(1 - e) log sigmoid(beta h) + e log sigmoid(-beta h)) / (1 - 2 e)

  Unlike conservative DPO it is not bounded below on single pairs: only the
  mean over labels flipped with probability e has DPO's optimum,
  reference * exp(reward / beta).

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.
    label_smoothing: e, the share of flipped labels, in [0, 0.5).

  Returns:
    One loss per pair, in nats; log 2 where the policy equals the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    beta h = log 3 and e = 1/4: exp(-2 loss) = (3/4)^3 / (1/4) = 27/16.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.robust_dpo_loss(
    ...   high, low, low, high, beta=0.5, label_smoothing=0.25
    ... )
    >>> f"{jnp.exp(-2 * loss):.4f}"
    '1.6875'
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  guards.within(0.0, 0.5, label_smoothing=label_smoothing)
  logit = beta * (chosen - rejected)
  clean = -(1 - label_smoothing) * jax.nn.log_sigmoid(logit)
  flipped = label_smoothing * jax.nn.log_sigmoid(-logit)
  return (clean + flipped) / (1 - 2 * label_smoothing)
