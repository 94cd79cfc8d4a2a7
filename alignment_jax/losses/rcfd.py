"""Reward calibration from demonstrations."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards


def rcfd_reward(
  rewards: Float[Array, "*batch"],
  demonstration_rewards: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
  """-(r - r_demonstration)^2: be as good as the demonstration, not better.

  Rita et al., 2024 (arXiv:2404.19409). The difference is taken prompt by
  prompt, so an offset that a prompt adds to all rewards drops out.

  Args:
    rewards: reward model's score of the policy's response.
    demonstration_rewards: its score of a demonstration for the same prompt.

  Returns:
    One reward per response, <= 0.

  Raises:
    ValueError: shapes differ, or an argument is not floating-point.

  Example:
    Overshooting the demonstration by 1.5 costs 1.5^2.

    >>> float(losses.rcfd_reward(jnp.array(2.0), jnp.array(0.5)))
    -2.25
  """
  rewards, demonstration_rewards = guards.same_shape_floats(
    rewards=rewards, demonstration_rewards=demonstration_rewards
  )
  return -jnp.square(rewards - demonstration_rewards)


def rcfd_composite_reward(
  rewards: Float[Array, "B n"],
  demonstration_rewards: Float[Array, "B n"],
  *,
  epsilon: float = 1e-8,
) -> Float[Array, "B"]:
  """Several calibrated rewards added without weights.

  Rita et al., 2024 (arXiv:2404.19409): each calibrated reward is whitened over
  the batch and passed through a sigmoid, and the results are summed.

  Args:
    rewards: n reward models' scores of the policy's responses.
    demonstration_rewards: their scores of the demonstrations.
    epsilon: added to the variance, > 0.

  Returns:
    One reward per response, in (0, n).

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or
      epsilon <= 0.

  Example:
    Calibrated rewards -1 and 0 are whitened to -1 and 1: sigmoid(-1) and
    sigmoid(1).

    >>> rewards = jnp.array([[1.0], [3.0]])
    >>> demonstrations = jnp.array([[0.0], [3.0]])
    >>> reward = losses.rcfd_composite_reward(rewards, demonstrations)
    >>> [f"{x:.4f}" for x in reward]
    ['0.2689', '0.7311']
  """
  guards.positive(epsilon=epsilon)
  rewards, demonstration_rewards = guards.same_shape_floats(
    rewards=rewards, demonstration_rewards=demonstration_rewards
  )
  calibrated = -jnp.square(rewards - demonstration_rewards)
  centered = calibrated - jnp.mean(calibrated, axis=0, keepdims=True)
  variance = jnp.mean(jnp.square(centered), axis=0, keepdims=True)
  return jnp.sum(
    jax.nn.sigmoid(centered * jax.lax.rsqrt(variance + epsilon)), axis=-1
  )
