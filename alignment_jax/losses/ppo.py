"""Proximal policy optimization: policy and value losses."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def ppo_policy_loss(
  policy_logprobs: Float[Array, "*batch"],
  old_logprobs: Float[Array, "*batch"],
  advantages: Float[Array, "*batch"],
  *,
  clip: float,
) -> Float[Array, "*batch"]:
  """-min(r A, clip(r, 1 - c, 1 + c) A), r the probability ratio of a token.

  Schulman et al., 2017 (arXiv:1707.06347), eq. 7, to be minimized.

  Args:
    policy_logprobs: log-probability of each sampled token, in nats.
    old_logprobs: the same under the policy that sampled it; held constant.
    advantages: advantage of each token; held constant.
    clip: c, in (0, 1).

  Returns:
    One loss per token; -A where the policy has not moved.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or clip is out
      of range.

  Example:
    The ratio 2 is clipped to 1.25 where the advantage is positive.

    >>> policy, old = jnp.log(jnp.full(2, 0.5)), jnp.log(jnp.full(2, 0.25))
    >>> loss = losses.ppo_policy_loss(
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


def ppo_value_loss(
  values: Float[Array, "*batch"],
  old_values: Float[Array, "*batch"],
  returns: Float[Array, "*batch"],
  *,
  clip: float,
) -> Float[Array, "*batch"]:
  """Half the larger squared error of the value and of its clipped form.

  Huang et al., 2024 (arXiv:2403.17031): the clipped form stays within `clip`
  of the value at sampling time.

  Args:
    values: value of each token's state, in units of reward.
    old_values: the same when the response was sampled; held constant.
    returns: return from each state; held constant.
    clip: how far the clipped value may move, > 0, in units of reward.

  Returns:
    One loss per token, >= 0.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or clip <= 0.

  Example:
    Clipped, the value is 0.5: max((1 - 3)^2, (0.5 - 3)^2) / 2.

    >>> values, old, returns = jnp.array([1.0, 0.0, 3.0])
    >>> float(losses.ppo_value_loss(values, old, returns, clip=0.5))
    3.125
  """
  values, old_values, returns = guards.same_shape_floats(
    values=values, old_values=old_values, returns=returns
  )
  guards.positive(clip=clip)
  old_values, returns = jax.lax.stop_gradient((old_values, returns))
  clipped = old_values + jnp.clip(values - old_values, -clip, clip)
  return 0.5 * jnp.maximum(
    jnp.square(values - returns), jnp.square(clipped - returns)
  )
