"""IPO on responses sampled from the policy."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def online_ipo_loss(
  policy_first: Float[Array, "*batch"],
  policy_second: Float[Array, "*batch"],
  reference_first: Float[Array, "*batch"],
  reference_second: Float[Array, "*batch"],
  preferences: Float[Array, "*batch"],
  *,
  tau: float,
) -> Float[Array, "*batch"]:
  """The IPO loss of a pair in expectation over its label.

  Calandriello et al., 2024 (arXiv:2403.08635). With h the margin of the
  log-ratios and P the probability that the first response wins:

      P (h - 1 / (2 tau))^2 + (1 - P) (h + 1 / (2 tau))^2

  With both responses drawn from the policy (and the draw held constant) the
  expected gradient is 4 / tau times that of self-play in the regularized game,
  so the fixed point is its Nash policy. With both drawn from the geometric
  mixture policy^(1 - beta) reference^beta the same loss is called IPO-MD.

  Args:
    policy_first: log-probability of the first response, in nats, summed over
      its tokens. Likewise the next three.
    policy_second: the second response under the policy.
    reference_first: the first response under the reference; held constant.
    reference_second: the second response under the reference; held constant.
    preferences: P(first response beats second), in [0, 1]; held constant.
    tau: strength of the KL regularization, > 0.

  Returns:
    One loss per pair, >= 0, in squared nats; symmetric in the two responses.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.

  Example:
    h = 2 and 1 / (2 tau) = 1: 3/4 (2 - 1)^2 + 1/4 (2 + 1)^2.

    >>> arrays = jnp.array([-1.0, -3.0, -2.0, -2.0, 0.75])
    >>> float(losses.online_ipo_loss(*arrays, tau=0.5))
    3.0
  """
  (
    policy_first,
    policy_second,
    reference_first,
    reference_second,
    preferences,
  ) = guards.same_shape_floats(
    policy_first=policy_first,
    policy_second=policy_second,
    reference_first=reference_first,
    reference_second=reference_second,
    preferences=preferences,
  )
  guards.positive(tau=tau)
  first = ratios.of_response(policy_first, reference_first)
  second = ratios.of_response(policy_second, reference_second)
  margin, target = first - second, 1 / (2 * tau)
  preferences = jax.lax.stop_gradient(preferences)
  return preferences * jnp.square(margin - target) + (
    1 - preferences
  ) * jnp.square(margin + target)


# The method differs in who samples the two responses, not in the loss.
ipo_md_loss = online_ipo_loss
