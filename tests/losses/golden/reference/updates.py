"""Policy updates from rewards."""

import numpy as np

from reference.arithmetic import (
  clamp,
  held,
  masked_mean,
  maximum,
  minimum,
  ratios,
)


def reinforce_loss(policy_logprobs, advantages):
  return -held(advantages) * policy_logprobs


def rloo_advantages(rewards):
  """Ahmadian et al., 2024: minus the mean of the other samples."""
  K = rewards.shape[-1]
  others = [np.delete(rewards, i, axis=-1).mean(axis=-1) for i in range(K)]
  return rewards - np.stack(others, axis=-1)


def ppo_policy_loss(policy_logprobs, old_logprobs, advantages, *, clip):
  ratio = np.exp(policy_logprobs - held(old_logprobs))
  A = held(advantages)
  return maximum(-A * ratio, -A * clamp(ratio, 1 - clip, 1 + clip))


# The same function of one ratio per sequence (Noukhovitch et al., 2024).
proximal_rloo_loss = ppo_policy_loss


def ppo_value_loss(values, old_values, returns, *, clip):
  old, returns = held(old_values), held(returns)
  clipped = old + clamp(values - old, -clip, clip)
  return maximum((values - returns) ** 2, (clipped - returns) ** 2) / 2


def grpo_advantages(rewards, *, scale="group", epsilon=1e-4):
  """Shao et al., 2024; Liu et al., 2025 (Dr. GRPO) do not scale."""
  centered = rewards - rewards.mean(axis=-1, keepdims=True)
  if scale == "none":
    return centered
  variance = np.sum(centered**2, axis=-1, keepdims=True)
  return centered / (np.sqrt(variance / (rewards.shape[-1] - 1)) + epsilon)


def grpo_loss(
  policy_logprobs,
  old_logprobs,
  reference_logprobs,
  advantages,
  *,
  clip_low,
  clip_high,
  beta,
):
  ratio = np.exp(policy_logprobs - held(old_logprobs))
  A = held(advantages)[..., None]
  surrogate = minimum(ratio * A, clamp(ratio, 1 - clip_low, 1 + clip_high) * A)
  d = held(reference_logprobs) - policy_logprobs
  return -surrogate + beta * (np.exp(d) - d - 1)


def grpo_aggregate(token_losses, mask, *, aggregation, max_length=None):
  """The mean, divided; a response without a token counts as none."""
  total = np.sum(np.where(mask, token_losses, 0))
  real = np.any(mask, axis=-1)
  if aggregation == "grpo":
    return np.sum(masked_mean(token_losses, mask)) / np.sum(real)
  if aggregation == "dr_grpo":
    return total / (np.sum(real) * max_length)
  return total / np.sum(mask)


def gspo_loss(
  policy_logprobs, old_logprobs, advantages, *, clip_low, clip_high
):
  """Zheng et al., 2025 (arXiv:2507.18071); the inputs are token means."""
  ratio = np.exp(policy_logprobs - held(old_logprobs))
  A = held(advantages)
  return -minimum(ratio * A, clamp(ratio, 1 - clip_low, 1 + clip_high) * A)


def copg_loss(
  policy_first,
  policy_second,
  reference_first,
  reference_second,
  rewards_first,
  rewards_second,
  *,
  beta,
):
  """Flet-Berliac et al., 2024 (arXiv:2406.19185), eq. 7, negated."""
  rho_1, rho_2 = ratios(
    policy_first, policy_second, reference_first, reference_second
  )
  first = held(rewards_first) - beta / 2 * rho_1
  second = held(rewards_second) - beta / 2 * rho_2
  return -((first - second) * rho_1 + (second - first) * rho_2)


def copg_group_loss(policy_logprobs, reference_logprobs, rewards, *, beta):
  K = rewards.shape[-1]
  total = 0
  for j in range(K):
    for i in range(j):
      total = total + copg_loss(
        policy_logprobs[..., i],
        policy_logprobs[..., j],
        reference_logprobs[..., i],
        reference_logprobs[..., j],
        rewards[..., i],
        rewards[..., j],
        beta=beta,
      )
  return total / (K - 1)


def jbond_reward(scores, anchor_scores):
  """Sessa et al., 2024 (arXiv:2407.14622)."""
  worse = np.real(scores) < np.real(anchor_scores).min(axis=-1)
  return np.where(worse, -np.log(16), 0.0)


def jbond_loss(
  policy_logprobs,
  anchor_logprobs,
  policy_best_anchor,
  rewards,
  baselines,
  *,
  beta,
  gamma,
):
  """Forward part on the better anchor, backward part, KL to the anchor."""
  rho = policy_logprobs - anchor_logprobs
  backward = -held(rewards - rho - baselines) * policy_logprobs
  kl = held(rho) * policy_logprobs
  return -(1 - beta) * policy_best_anchor + beta * backward + gamma * kl
