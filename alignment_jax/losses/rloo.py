"""REINFORCE leave-one-out, plain and proximal."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def rloo_advantages(
  rewards: Float[Array, "*batch K"],
) -> Float[Array, "*batch K"]:
  """Each reward minus the mean of the others for the same prompt.

  Ahmadian et al., 2024 (arXiv:2402.14740): an unbiased baseline.
  Put them into `reinforce_loss`; for K = 2 its gradient is `copg_loss`'s.

  Args:
    rewards: of K >= 2 responses to each prompt, with beta times the log-ratio
      to the reference taken off where the KL is regularized; held constant.

  Returns:
    Advantages that sum to 0 over K.

  Raises:
    ValueError: K < 2, or rewards are not floating-point.
  """
  (rewards,) = guards.same_shape_floats(rewards=rewards)
  guards.groups(rewards=rewards)
  count = rewards.shape[-1]
  rewards = jax.lax.stop_gradient(rewards)
  mean = jnp.mean(rewards, axis=-1, keepdims=True)
  return count / (count - 1) * (rewards - mean)


def proximal_rloo_loss(
  policy_logprobs: Float[Array, "*batch"],
  old_logprobs: Float[Array, "*batch"],
  advantages: Float[Array, "*batch"],
  *,
  clip: float,
) -> Float[Array, "*batch"]:
  """PPO's clipped surrogate with one ratio for the whole response.

  Noukhovitch et al., 2024 (arXiv:2410.18252), Proximal RLOO. Where the
  policy has not moved its gradient is that of RLOO.

  Args:
    policy_logprobs: log-probability of the response, in nats, summed over its
      tokens.
    old_logprobs: the same under the policy that sampled it; held constant.
    advantages: `rloo_advantages`; held constant.
    clip: the ratio may move by this much before its gradient stops, in (0, 1).

  Returns:
    One loss per response.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or clip is out
      of range.
  """
  policy_logprobs, old_logprobs, advantages = guards.same_shape_floats(
    policy_logprobs=policy_logprobs,
    old_logprobs=old_logprobs,
    advantages=advantages,
  )
  guards.between(0.0, 1.0, clip=clip)
  log_ratios = policy_logprobs - jax.lax.stop_gradient(old_logprobs)
  return ratios.clipped_surrogate(log_ratios, advantages, low=clip, high=clip)
