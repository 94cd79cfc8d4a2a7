"""Group sequence policy optimization."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def gspo_loss(
  policy_logprobs: Float[Array, "*batch"],
  old_logprobs: Float[Array, "*batch"],
  advantages: Float[Array, "*batch"],
  *,
  clip_low: float,
  clip_high: float,
) -> Float[Array, "*batch"]:
  """The clipped surrogate with the geometric mean of token ratios.

  Zheng et al., 2025 (arXiv:2507.18071), eq. 5 and 7. The paper clips at
  3e-4 below and 4e-4 above, because a mean over tokens moves little.

  Args:
    policy_logprobs: log-probability of the response, in nats per token, the
      mean over its tokens.
    old_logprobs: the same under the policy that sampled it; held constant.
    advantages: advantage of each response; held constant.
    clip_low: how far the ratio may fall below 1, in (0, 1).
    clip_high: how far the ratio may rise above 1, > 0.

  Returns:
    One loss per response.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    The ratio 2 is clipped to 1.25 where the advantage is positive.

    >>> policy, old = jnp.log(jnp.full(2, 0.5)), jnp.log(jnp.full(2, 0.25))
    >>> loss = losses.gspo_loss(
    ...   policy, old, jnp.array([1.0, -1.0]), clip_low=0.25, clip_high=0.25
    ... )
    >>> [f"{x:.4f}" for x in loss]
    ['-1.2500', '2.0000']
  """
  policy_logprobs, old_logprobs, advantages = guards.same_shape_floats(
    policy_logprobs=policy_logprobs,
    old_logprobs=old_logprobs,
    advantages=advantages,
  )
  guards.between(0.0, 1.0, clip_low=clip_low)
  guards.positive(clip_high=clip_high)
  return ratios.clipped_surrogate(
    policy_logprobs - jax.lax.stop_gradient(old_logprobs),
    advantages,
    low=clip_low,
    high=clip_high,
  )
