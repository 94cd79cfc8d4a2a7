"""DPO under f-divergences other than the reverse KL."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios

# (policy_logprobs, reference_logprobs) -> f'(policy / reference).
Score = Callable[[Array, Array], Array]


def reverse_kl_score(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
  """log u, u = policy / reference: the divergence KL(policy || reference).

  Wang et al., 2023 (arXiv:2309.16240); so are the others below.

  Example:
    u = 3.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> f"{jnp.exp(losses.reverse_kl_score(high, low)):.4f}"
    '3.0000'
  """
  return ratios.of_response(policy_logprobs, reference_logprobs)


def forward_kl_score(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
  """-1 / u, u = policy / reference: the divergence KL(reference || policy).

  Example:
    u = 3: -1/3.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> f"{losses.forward_kl_score(high, low):.4f}"
    '-0.3333'
  """
  return -ratios.exp(-ratios.of_response(policy_logprobs, reference_logprobs))


def jensen_shannon_score(
  policy_logprobs: Float[Array, "*batch"],
  reference_logprobs: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
  """log(2 u / (1 + u)), u = policy / reference: Jensen-Shannon.

  Example:
    u = 3: log(6/4).

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> f"{jnp.exp(losses.jensen_shannon_score(high, low)):.4f}"
    '1.5000'
  """
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

  Example:
    u = 4: (1 - 1/2) / 0.5.

    >>> policy, reference = jnp.log(jnp.array([0.8, 0.2]))
    >>> score = losses.alpha_divergence_score(policy, reference, alpha=0.5)
    >>> f"{score:.4f}"
    '1.0000'
  """
  guards.between(0.0, 1.0, alpha=alpha)
  log_ratio = ratios.of_response(policy_logprobs, reference_logprobs)
  # As in `ratios.exp`: beyond this many nats the score would be infinite.
  exponent = jnp.minimum(-alpha * log_ratio, ratios.MAX_EXPONENT)
  return -jnp.expm1(exponent) / alpha


def f_dpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
  score: Score,
) -> Float[Array, "*batch"]:
  """DPO with f'(policy / reference) in place of the log-ratio.

  Wang et al., 2023 (arXiv:2309.16240):

      -log sigmoid(beta f'(u_chosen) - beta f'(u_rejected))

  Its optimum maximizes reward minus beta times the f-divergence to the
  reference. `reverse_kl_score` gives `dpo_loss`. Ratios below exp(-60) are
  raised to it, so that the loss stays finite; their gradient is then 0.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the regularization, > 0.
    score: f' as a function of the log-probabilities under policy and reference,
      such as `forward_kl_score` or
      `functools.partial(alpha_divergence_score, alpha=0.5)`.

  Returns:
    One loss per pair, in nats; log 2 where the policy equals the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.

  Example:
    u = 3 and 1/3, and the forward KL has f' = -1/u: beta (-1/3 + 3) = log 3.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.f_dpo_loss(
    ...   high, low, low, high,
    ...   beta=3 / 8 * float(jnp.log(3.0)), score=losses.forward_kl_score,
    ... )
    >>> f"{jnp.exp(-loss):.4f}"
    '0.7500'
  """
  ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  chosen = score(policy_chosen, reference_chosen)
  rejected = score(policy_rejected, reference_rejected)
  return -jax.nn.log_sigmoid(beta * (chosen - rejected))
