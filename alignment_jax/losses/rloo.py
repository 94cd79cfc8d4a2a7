"""REINFORCE leave-one-out, plain and proximal."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def rloo_advantages(
  rewards: Float[Array, "*batch K"],
) -> Float[Array, "*batch K"]:
  """Each reward minus the mean of the others for the same prompt.

  Ahmadian et al., 2024 (arXiv:2402.14740): an unbiased baseline. Pass them to
  `reinforce_loss`; for K = 2 its gradient is `copg_loss`'s.

  Args:
    rewards: rewards of K >= 2 responses to each prompt, less beta times the
      log-ratio to the reference if the KL is regularized; held constant.

  Returns:
    Advantages that sum to 0 over K.

  Raises:
    ValueError: K < 2, or rewards are not floating-point.

  Example:
    3 - 0, and twice 0 - (3 + 0) / 2.

    >>> losses.rloo_advantages(jnp.array([3.0, 0.0, 0.0])).tolist()
    [3.0, -1.5, -1.5]
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

  Noukhovitch et al., 2024 (arXiv:2410.18252), Proximal RLOO. Before the policy
  has moved, its gradient is that of RLOO.

  Args:
    policy_logprobs: log-probability of the response, in nats, summed over its
      tokens.
    old_logprobs: the same under the policy that sampled it; held constant.
    advantages: `rloo_advantages`; held constant.
    clip: how far the ratio may be from 1 before the gradient stops, in (0, 1).

  Returns:
    One loss per response.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or clip is out
      of range.

  Example:
    The ratio 2 is clipped to 1.25 where the advantage is positive.

    >>> policy, old = jnp.log(jnp.full(2, 0.5)), jnp.log(jnp.full(2, 0.25))
    >>> loss = losses.proximal_rloo_loss(
    ...   policy, old, jnp.array([1.0, -1.0]), clip=0.25
    ... )
    >>> [f"{x:.4f}" for x in loss]
    ['-1.2500', '2.0000']
  """
  policy_logprobs, old_logprobs, advantages = guards.same_shape_floats(
    policy_logprobs=policy_logprobs,
    old_logprobs=old_logprobs,
    advantages=advantages,
  )
  guards.between(0.0, 1.0, clip=clip)
  log_ratios = policy_logprobs - jax.lax.stop_gradient(old_logprobs)
  return ratios.clipped_surrogate(log_ratios, advantages, low=clip, high=clip)
