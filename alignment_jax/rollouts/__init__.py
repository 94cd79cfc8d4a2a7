"""Sampled data: how it is made, what a loss takes of it, what is reported."""

from alignment_jax.rollouts.experience import (
  Experience,
  penalised,
  prepare_with_reference,
  sampled_from_policy,
  with_reference,
)
from alignment_jax.rollouts.metrics import (
  batch_mean,
  judge_metrics,
  offpolicy_metrics,
  policy_shift_metrics,
  rollout_metrics,
)
from alignment_jax.rollouts.responses import (
  Sampling,
  respond,
  rollout_of,
  sample_policy,
  sequence_logprobs,
  take_responses,
  token_logprobs,
  with_demonstration,
)

__all__ = [
  "Experience",
  "Sampling",
  "batch_mean",
  "judge_metrics",
  "offpolicy_metrics",
  "penalised",
  "policy_shift_metrics",
  "prepare_with_reference",
  "respond",
  "rollout_metrics",
  "rollout_of",
  "sample_policy",
  "sampled_from_policy",
  "sequence_logprobs",
  "take_responses",
  "token_logprobs",
  "with_demonstration",
  "with_reference",
]
