"""Single responses, and scores of them."""

import numpy as np

from reference.arithmetic import (
  held,
  log_sigmoid,
  masked_mean,
  maximum,
  minimum,
  sigmoid,
)


def ld_dpo_scores(token_logprobs, mask, common_lengths, *, alpha):
  """Liu et al., 2024: what exceeds the shorter response counts by alpha."""
  ordinal = np.cumsum(mask, axis=-1) - 1
  weights = np.where(ordinal < common_lengths[..., None], 1.0, alpha)
  return np.sum(np.where(mask, weights * token_logprobs, 0), axis=-1)


def wpo_weights(
  chosen_logprobs,
  chosen_log_collisions,
  chosen_mask,
  rejected_logprobs,
  rejected_log_collisions,
  rejected_mask,
):
  """Zhou et al., 2024: token probabilities over their expectation."""
  chosen = masked_mean(chosen_logprobs - chosen_log_collisions, chosen_mask)
  rejected = masked_mean(
    rejected_logprobs - rejected_log_collisions, rejected_mask
  )
  return held(minimum(np.exp(chosen + rejected), 1.0))


def _dro_residual(policy_logprobs, reference_logprobs, rewards, values, tau):
  return rewards - values - tau * (policy_logprobs - reference_logprobs)


def dro_policy_loss(
  policy_logprobs, reference_logprobs, rewards, values, *, tau
):
  """Richemond et al., 2024 (arXiv:2405.19107): 1/2 delta^2, over tau."""
  delta = _dro_residual(
    policy_logprobs,
    held(reference_logprobs),
    held(rewards),
    held(values),
    tau,
  )
  return delta**2 / (2 * tau)


def dro_value_loss(
  policy_logprobs, reference_logprobs, rewards, values, *, tau
):
  delta = _dro_residual(
    held(policy_logprobs),
    held(reference_logprobs),
    held(rewards),
    values,
    tau,
  )
  return delta**2 / 2


def dro_batch_variance_loss(
  policy_logprobs, reference_logprobs, rewards, *, tau
):
  """Appendix B there: 1/2 Var(r - tau rho), over the batch."""
  d = held(rewards) - tau * (policy_logprobs - held(reference_logprobs))
  return (d - np.mean(d)) ** 2 / 2


def kto_loss(
  policy_logprobs,
  reference_logprobs,
  desirable,
  kl,
  *,
  beta,
  lambda_desirable=1.0,
  lambda_undesirable=1.0,
):
  """Ethayarajh et al., 2024: lambda - v; the reference point is held."""
  rho, kl = policy_logprobs - held(reference_logprobs), held(kl)
  return np.where(
    desirable,
    lambda_desirable - lambda_desirable * sigmoid(beta * (rho - kl)),
    lambda_undesirable - lambda_undesirable * sigmoid(beta * (kl - rho)),
  )


def kto_kl(policy_mismatched, reference_mismatched):
  return held(maximum(np.mean(policy_mismatched - reference_mismatched), 0.0))


def bco_unpaired_loss(
  policy_logprobs, reference_logprobs, desirable, shift, *, beta
):
  """Jung et al., 2024 (arXiv:2404.04656)."""
  reward = beta * (policy_logprobs - held(reference_logprobs))
  return np.where(
    desirable,
    -log_sigmoid(reward - held(shift)),
    -log_sigmoid(-(reward - held(shift))),
  )
