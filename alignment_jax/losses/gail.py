"""Generative adversarial imitation learning."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alignment_jax.ops import guards


def gail_discriminator_loss(
  logits: Float[Array, "*batch"], is_expert: Bool[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """Logistic regression that tells demonstrations from the policy's samples.

  Ho and Ermon, 2016 (arXiv:1606.03476), with D = sigmoid(logit) the
  probability of a demonstration. The minimum is
  logit = log(expert density / policy density).

  Args:
    logits: output of the discriminator.
    is_expert: whether the response is a demonstration.

  Returns:
    One loss per response, in nats.

  Raises:
    ValueError: shapes differ, or an argument has the wrong dtype.

  Example:
    D = sigmoid(log 3) = 3/4.

    >>> logits, is_expert = jnp.log(jnp.full(2, 3.0)), jnp.array([True, False])
    >>> loss = losses.gail_discriminator_loss(logits, is_expert)
    >>> [f"{x:.4f}" for x in jnp.exp(-loss)]
    ['0.7500', '0.2500']
  """
  (logits,) = guards.same_shape_floats(logits=logits)
  guards.flags_of_shape(logits.shape, "logits", is_expert=is_expert)
  return -jax.nn.log_sigmoid(jnp.where(is_expert, logits, -logits))


def gail_reward(logits: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
  """-log(1 - D), > 0: the reward for being taken for a demonstration.

  Ho and Ermon, 2016 (arXiv:1606.03476), with D = sigmoid(logit).

  Args:
    logits: output of the discriminator.

  Raises:
    ValueError: logits are not floating-point.

  Example:
    D = sigmoid(log 3) = 3/4: the reward is log 4.

    >>> f"{jnp.exp(losses.gail_reward(jnp.log(3.0))):.4f}"
    '4.0000'
  """
  (logits,) = guards.same_shape_floats(logits=logits)
  return jax.nn.softplus(logits)
