"""Binary classifier optimization."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alignment_jax.ops import guards, ratios


def bco_pair_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
) -> Float[Array, "*batch"]:
  """Classify the chosen response as good and the rejected one as bad.

  Jung et al., 2024 (arXiv:2404.04656), without the reward shift: with
  r = beta * log-ratio,

      -log sigmoid(r_chosen) - log sigmoid(-r_rejected)

  It bounds DPO's loss from above.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per pair, in nats; 2 log 2 where the policy equals the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.

  Example:
    r_chosen = log 3 and r_rejected = -log 3: exp(-loss) = (3/4)^2.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.bco_pair_loss(high, low, low, high, beta=1.0)
    >>> f"{jnp.exp(-loss):.4f}"
    '0.5625'
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  return -jax.nn.log_sigmoid(beta * chosen) - jax.nn.log_sigmoid(
    -beta * rejected
  )


def bco_unpaired_loss(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
  desirable: Bool[Array, "*batch"],
  shift: Float[Array, ""],
  *,
  beta: float,
) -> Float[Array, "*batch"]:
  """Classify single responses as good or bad around a shifted reward.

  Jung et al., 2024 (arXiv:2404.04656): with r = beta * log-ratio,
  -log sigmoid(r - shift) for a desirable response and -log sigmoid(shift - r)
  for an undesirable one. Adding a constant to r and `shift` changes nothing.

  Args:
    policy_logprobs: log-probability of the response, in nats, summed over its
      tokens.
    reference_logprobs: the same under the reference; held constant.
    desirable: whether the response is a good one.
    shift: running mean of r over good and bad responses; held constant.
    beta: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per response, in nats.

  Raises:
    ValueError: shapes differ, an argument has the wrong dtype, or beta <= 0.

  Example:
    r = 1 and the shift is 1 + log 3: sigmoid(-log 3) = 1/4 and
    sigmoid(log 3) = 3/4.

    >>> policy, reference = jnp.array([-1.0, -1.0]), jnp.array([-2.0, -2.0])
    >>> desirable, shift = jnp.array([True, False]), 1 + jnp.log(3.0)
    >>> loss = losses.bco_unpaired_loss(
    ...   policy, reference, desirable, shift, beta=1.0
    ... )
    >>> [f"{x:.4f}" for x in jnp.exp(-loss)]
    ['0.2500', '0.7500']
  """
  log_ratio = ratios.of_response(policy_logprobs, reference_logprobs)
  guards.flags_of_shape(log_ratio.shape, "policy_logprobs", desirable=desirable)
  (shift,) = guards.floats_of_shape((), "a scalar", shift=shift)
  guards.positive(beta=beta)
  logit = beta * log_ratio - jax.lax.stop_gradient(shift)
  return -jax.nn.log_sigmoid(jnp.where(desirable, logit, -logit))
