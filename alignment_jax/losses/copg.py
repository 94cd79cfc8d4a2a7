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

  Whichever two distributions with the reference's support the responses are
  drawn from, the minimum is reference * exp(R / beta): no importance weights,
  no value network. For responses of the policy the gradient is RLOO's, K = 2.

  Args:
    policy_first: log-probability of the first response, in nats, summed over
      its tokens. Likewise the next three.
    policy_second: the second response under the policy.
    reference_first: the first response under the reference; held constant.
    reference_second: the second response under the reference; held constant.
    rewards_first: reward of the first response; held constant.
    rewards_second: reward of the second response; held constant.
    beta: strength of the KL regularization, > 0, reward per nat.

  Returns:
    One loss per pair, symmetric in the two responses.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.

  Example:
    h = 1 - (-1) = 2 and dR = 1: 0.5 / 2 * 2^2 - 1 * 2.

    >>> arrays = jnp.array([-1.0, -3.0, -2.0, -2.0, 1.0, 0.0])
    >>> float(losses.copg_loss(*arrays, beta=0.5))
    -1.0
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
  of Cohere, 2025 (arXiv:2504.00698), whose sum of squares equals 2 beta times
  this loss plus a constant. For responses of the policy the gradient is RLOO's.

  Args:
    policy_logprobs: log-probabilities of K >= 2 responses to each prompt, in
      nats, summed over tokens.
    reference_logprobs: the same under the reference; held constant.
    rewards: reward of each response; held constant.
    beta: strength of the KL regularization, > 0, reward per nat.

  Returns:
    One loss per prompt.

  Raises:
    ValueError: K < 2, shapes differ, an argument is not floating-point, or
      beta <= 0.

  Example:
    Log-ratios 1, -1, 0 and rewards 2, 0, 0 give pairs with h = 2, 1, -1 and
    dR = 2, 2, 0: (2 - 4) + (1/2 - 2) + 1/2 = -3, over K - 1 = 2.

    >>> policy = jnp.array([-1.0, -3.0, -2.0])
    >>> reference, rewards = jnp.full(3, -2.0), jnp.array([2.0, 0.0, 0.0])
    >>> float(losses.copg_group_loss(policy, reference, rewards, beta=1.0))
    -1.5
  """
  policy_logprobs, reference_logprobs, rewards = guards.same_shape_floats(
    policy_logprobs=policy_logprobs,
    reference_logprobs=reference_logprobs,
    rewards=rewards,
  )
  guards.positive(beta=beta)
  guards.groups(rewards=rewards)
  log_ratios = ratios.of_response(policy_logprobs, reference_logprobs)

  def differences(x: Float[Array, "*batch K"]) -> Float[Array, "*batch K K"]:
    return jnp.expand_dims(x, -1) - jnp.expand_dims(x, -2)

  # [*batch, K, K]: every pair twice, in both orders, and 0 on the diagonal.
  both_ways = _contrast(differences(log_ratios), differences(rewards), beta)
  return jnp.sum(both_ways, axis=(-1, -2)) / (2 * (rewards.shape[-1] - 1))


def _contrast(
  margin: Float[Array, "*batch"],
  reward_margin: Float[Array, "*batch"],
  beta: float,
) -> Float[Array, "*batch"]:
  reward_margin = jax.lax.stop_gradient(reward_margin)
  return beta / 2 * jnp.square(margin) - reward_margin * margin
