"""Sampled data: how it is made, what a loss takes of it, what is reported."""

from alignment_jax.rollouts.experience import (
  Experience,
  Extra,
  penalized,
  penalized_rewards,
  prepare_with_reference,
  sampled_from_policy,
  with_reference,
)
from alignment_jax.rollouts.metrics import (
  TIE,
  batch_mean,
  judge_metrics,
  offpolicy_metrics,
  policy_shift_metrics,
  rollout_metrics,
)
from alignment_jax.rollouts.responses import (
  Sampling,
  has_ended,
  in_one_pass,
  respond,
  rollout_of,
  sample_policy,
  sequence_logprobs,
  token_logprobs,
)

__all__ = [
  "TIE",
  "Experience",
  "Extra",
  "Sampling",
  "batch_mean",
  "has_ended",
  "in_one_pass",
  "judge_metrics",
  "offpolicy_metrics",
  "penalized",
  "penalized_rewards",
  "policy_shift_metrics",
  "prepare_with_reference",
  "respond",
  "rollout_metrics",
  "rollout_of",
  "sample_policy",
  "sampled_from_policy",
  "sequence_logprobs",
  "token_logprobs",
  "with_reference",
]
