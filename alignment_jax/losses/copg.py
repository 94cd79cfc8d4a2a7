"""Contrastive policy gradient: off-policy, with any reward."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def copg_loss(
  policy_first: Float[Array, "*batch"],
  policy_second: Float[Array, "*batch"],
  reference_first: Float[Array, "*batch"],
  reference_second: Float[Array, "*batch"],
  rewards_first: Float[Array, "*batch"],
  rewards_second: Float[Array, "*batch"],
  *,
  beta: float,
) -> Float[Array, "*batch"]:
  """Each response's regularized reward is the other's baseline.

  Flet-Berliac et al., 2024 (arXiv:2406.19185), minus the objective of eq.
  7. With h the margin of the log-ratios and dR that of the rewards:

      beta / 2 h^2 - dR h

  The minimum over pairs of any two distributions with the reference's support
  is reference * exp(R / beta): no importance weights, no value network. On
  responses of the policy the gradient is RLOO's for K = 2.

  Args:
    policy_first: log-probability of the first response, in nats, summed over
      its tokens. Likewise the next three.
    policy_second: the second response under the policy.
    reference_first: the first response under the reference; held constant.
    reference_second: the second one under the reference; held constant.
    rewards_first: reward of the first response; held constant.
    rewards_second: reward of the second; held constant.
    beta: strength of the KL regularization, > 0, reward per nat.

  Returns:
    One loss per pair; the same when the two responses change places.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.
  """
  (
    policy_first,
    policy_second,
    reference_first,
    reference_second,
    rewards_first,
    rewards_second,
  ) = guards.same_shape_floats(
    policy_first=policy_first,
    policy_second=policy_second,
    reference_first=reference_first,
    reference_second=reference_second,
    rewards_first=rewards_first,
    rewards_second=rewards_second,
  )
  guards.positive(beta=beta)
  return _contrast(
    ratios.of_response(policy_first, reference_first)
    - ratios.of_response(policy_second, reference_second),
    rewards_first - rewards_second,
    beta,
  )


def copg_group_loss(
  policy_logprobs: Float[Array, "*batch K"],
  reference_logprobs: Float[Array, "*batch K"],
  rewards: Float[Array, "*batch K"],
  *,
  beta: float,
) -> Float[Array, "*batch"]:
  """The sum of `copg_loss` over all pairs of K responses, over K - 1.

  Flet-Berliac et al., 2024 (arXiv:2406.19185), in the form for K responses
  of Cohere, 2025 (arXiv:2504.00698), whose squares are this loss times 2 beta
  plus a constant. On responses of the policy the gradient is RLOO's.

  Args:
    policy_logprobs: log-probabilities of K >= 2 responses to each prompt, in
      nats, summed over tokens.
    reference_logprobs: the same under the reference; held constant.
    rewards: of the responses; held constant.
    beta: strength of the KL regularization, > 0, reward per nat.

  Returns:
    One loss per prompt.

  Raises:
    ValueError: K < 2, shapes differ, an argument is not floating-point, or
      beta <= 0.
  """
  policy_logprobs, reference_logprobs, rewards = guards.same_shape_floats(
    policy_logprobs=policy_logprobs,
    reference_logprobs=reference_logprobs,
    rewards=rewards,
  )
  guards.positive(beta=beta)
  guards.groups(rewards=rewards)
  log_ratios = ratios.of_response(policy_logprobs, reference_logprobs)

  def differences(x):
    return jnp.expand_dims(x, -1) - jnp.expand_dims(x, -2)

  both_ways = _contrast(differences(log_ratios), differences(rewards), beta)
  return jnp.sum(both_ways, axis=(-1, -2)) / (2 * (rewards.shape[-1] - 1))


def _contrast(margin, reward_margin, beta):
  reward_margin = jax.lax.stop_gradient(reward_margin)
  return beta / 2 * jnp.square(margin) - reward_margin * margin
