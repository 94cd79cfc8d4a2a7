"""Imitation, reward models and preference models."""

import numpy as np

from reference.arithmetic import held, log_sigmoid, sigmoid


def cross_entropy_loss(
  token_logprobs, token_entropies=None, *, entropy_weight=0.0
):
  if token_entropies is None:
    return -token_logprobs
  return -token_logprobs - entropy_weight * token_entropies


def soft_q_rewards(chosen_q, values, mask, terminal, *, gamma=1.0):
  """Wulfmeier et al., 2024 (arXiv:2409.01369): inverse Bellman, per row."""
  shape = np.shape(chosen_q)
  T = shape[-1]
  rows = [np.reshape(x, (-1, T)) for x in (chosen_q, values, mask)]
  ends = np.ravel(terminal)
  result = np.zeros((len(ends), T), np.result_type(chosen_q, values))
  for b, (q, v, real, end) in enumerate(zip(*rows, ends, strict=True)):
    length = int(np.sum(real))
    for t in range(length):
      if t + 1 < length:
        result[b, t] = q[t] - gamma * v[t + 1]
      elif end:
        result[b, t] = q[t]
  return result.reshape(shape)


def soft_q_loss(chosen_q, values, mask, terminal, *, lam, gamma=1.0):
  """Eq. 14 there: the squared TD error and the likelihood."""
  td = soft_q_rewards(chosen_q, values, mask, terminal, gamma=gamma)
  return np.where(mask, lam * td**2 - (chosen_q - values), 0)


def soft_q_mixed_loss(
  chosen_q, values, mask, terminal, is_expert, *, lam, mix, gamma=1.0
):
  """The TD term is a mixture of both sources, the likelihood the expert's."""
  td = soft_q_rewards(chosen_q, values, mask, terminal, gamma=gamma)
  expert = lam * (1 - mix) * td**2 - (chosen_q - values)
  sampled = lam * mix * td**2
  return np.where(mask, np.where(is_expert[..., None], expert, sampled), 0)


def gail_discriminator_loss(logits, is_expert):
  return -log_sigmoid(np.where(is_expert, logits, -logits))


def gail_reward(logits):
  return -np.log(1 - sigmoid(logits))


def bradley_terry_loss(chosen_rewards, rejected_rewards):
  return -log_sigmoid(chosen_rewards - rejected_rewards)


def preference_model_loss(logits, preferences):
  p = held(preferences)
  return -p * log_sigmoid(logits) - (1 - p) * log_sigmoid(-logits)


def rcfd_reward(rewards, demonstration_rewards):
  """Rita et al., 2024 (arXiv:2404.19409)."""
  return -((rewards - demonstration_rewards) ** 2)


def rcfd_composite_reward(rewards, demonstration_rewards, *, epsilon=1e-8):
  calibrated = rcfd_reward(rewards, demonstration_rewards)
  centered = calibrated - calibrated.mean(axis=0)
  variance = np.mean(centered**2, axis=0)
  return np.sum(sigmoid(centered / np.sqrt(variance + epsilon)), axis=-1)
