"""What every online method reports about a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.algorithm import Metrics
from alignment_jax.ops import divergences, masking, means
from alignment_jax.rollouts.experience import Experience
from alignment_jax.rollouts.responses import sequence_logprobs
from alignment_jax.types import Feedback, Rollout

# Preferences this near to each other are a tie: they are computed in float32.
TIE = 1e-6


def batch_mean(values: Float[Array, "*batch"]) -> means.Mean:
  """The plain mean of numbers per response or prompt."""
  return means.weighted_mean(values, jnp.ones_like(values))


def rollout_metrics(
  experience: Experience, policy: Float[Array, "B K T"]
) -> Metrics:
  """How far the policy has moved, and what the judge returned."""
  return {
    **policy_shift_metrics(experience.rollout, experience.reference, policy),
    **judge_metrics(experience.feedback),
  }


def offpolicy_metrics(
  experience: Experience, policy: Float[Array, "B K T"]
) -> Metrics:
  """`rollout_metrics` of responses that another policy sampled.

  No KL or entropy of the policy can be read off them: the mean log-ratio to the
  reference is called `log_ratio`.
  """
  metrics = rollout_metrics(experience, policy)
  del metrics["entropy"]
  return {"log_ratio": metrics.pop("kl"), **metrics}


def policy_shift_metrics(
  rollout: Rollout,
  reference: Float[Array, "B K T"],
  policy: Float[Array, "B K T"],
) -> Metrics:
  """How far the policy is from its reference, and from the one that sampled.

  `ratio/...` compare the policy with the parameters under which the rollout was
  scored: mean ratio and effective sample size of responses, mean absolute
  log-ratio of tokens.
  """
  responses = rollout.responses
  mask = responses.mask
  now = sequence_logprobs(policy, responses)
  moved = now - sequence_logprobs(rollout.logprobs, responses)
  flat = moved.reshape(-1)
  # As a total and a weight: the share of parts of a batch then adds up.
  size = divergences.effective_sample_size(flat)
  count = jnp.asarray(flat.shape[0], jnp.float32)
  mismatch = jnp.where(mask, jnp.abs(policy - rollout.logprobs), 0.0)
  metrics = {
    "kl": batch_mean(now - sequence_logprobs(reference, responses)),
    "entropy": batch_mean(-now),
    "responses/length": batch_mean(masking.lengths(mask).astype(jnp.float32)),
    "responses/ended": batch_mean(rollout.ended.astype(jnp.float32)),
    # Clipped where exp would overflow: a report must not be infinite.
    "ratio/mean": batch_mean(jnp.exp(jnp.clip(moved, -20.0, 20.0))),
    "ratio/effective_sample_size": means.Mean(size * count, count),
    "ratio/logprob_mismatch": means.weighted_mean(
      mismatch, mask.astype(jnp.float32)
    ),
  }
  return jax.tree.map(jax.lax.stop_gradient, metrics)


def judge_metrics(feedback: Feedback) -> Metrics:
  """What the judge returned of the responses: rewards or preferences.

  A single response has none to differ from: no `spread` then.
  """
  metrics = {}
  rewards = feedback.rewards
  if rewards is not None:
    metrics["rewards/mean"] = batch_mean(rewards)
    if rewards.shape[1] > 1:
      spread = jnp.max(rewards, axis=-1) - jnp.min(rewards, axis=-1)
      metrics["rewards/spread"] = batch_mean(spread)
      metrics["rewards/all_equal"] = batch_mean(
        (spread == 0).astype(jnp.float32)
      )
  if feedback.preferences is not None:
    first = feedback.preferences[:, 0, 1]
    undecided = jnp.abs(first - 0.5) < TIE
    metrics["preferences/first"] = batch_mean(first)
    metrics["preferences/undecided"] = batch_mean(undecided.astype(jnp.float32))
  return metrics
