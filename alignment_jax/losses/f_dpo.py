"""DPO under other divergences than the reverse KL."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def reverse_kl_score(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
  """log u, u = policy / reference: the divergence KL(policy || reference)."""
  return ratios.of_response(policy_logprobs, reference_logprobs)


def forward_kl_score(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
  """-1 / u, u = policy / reference: the divergence KL(reference || policy)."""
  return -ratios.exp(-ratios.of_response(policy_logprobs, reference_logprobs))


def jensen_shannon_score(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
  """log(2 u / (1 + u)), u = policy / reference: Jensen-Shannon."""
  log_ratio = ratios.of_response(policy_logprobs, reference_logprobs)
  return jnp.log(2.0) - jax.nn.softplus(-log_ratio)


def alpha_divergence_score(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
  *,
  alpha: float,
) -> Float[Array, "*batch"]:
  """(1 - u^-alpha) / alpha, u = policy / reference.

  Between the reverse KL (alpha to 0) and the forward KL (alpha to 1).

  Raises:
    ValueError: alpha outside (0, 1).
  """
  guards.between(0.0, 1.0, alpha=alpha)
  log_ratio = ratios.of_response(policy_logprobs, reference_logprobs)
  exponent = jnp.minimum(-alpha * log_ratio, ratios.MAX_EXPONENT)
  return -jnp.expm1(exponent) / alpha


def f_dpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
  score: Callable[[Array, Array], Array],
) -> Float[Array, "*batch"]:
  """DPO with f'(policy / reference) where the log-ratio stood.

  Wang et al., 2023 (arXiv:2309.16240):

      -log sigmoid(beta f'(u_chosen) - beta f'(u_rejected))

  Its optimum maximizes reward minus beta times the f-divergence to the
  reference. `reverse_kl_score` gives `dpo_loss`. Ratios below exp(-60) count as
  that, so that the loss stays finite; their gradient is then 0.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the other response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the other response under the reference; held constant.
    beta: strength of the regularization, > 0.
    score: f' as a function of policy's and reference's log-probabilities, such
      as `forward_kl_score` or
      `functools.partial(alpha_divergence_score, alpha=0.5)`.

  Returns:
    One loss per pair, in nats; log 2 where the policy is the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.
  """
  ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  chosen = score(policy_chosen, reference_chosen)
  rejected = score(policy_rejected, reference_rejected)
  return -jax.nn.log_sigmoid(beta * (chosen - rejected))
