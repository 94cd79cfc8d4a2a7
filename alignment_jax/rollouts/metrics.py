"""What every online method reports about a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.algorithm import Metrics
from alignment_jax.ops import divergences, masking, means
from alignment_jax.rollouts.experience import Experience
from alignment_jax.rollouts.responses import sequence_logprobs
from alignment_jax.types import Rollout


def batch_mean(values: Array) -> means.Mean:
  """The plain mean of numbers per response or prompt."""
  return means.weighted_mean(values, jnp.ones_like(values))


def rollout_metrics(
  experience: Experience, policy: Float[Array, "B K T"]
) -> Metrics:
  """What every online method says about a batch: `drift` and `verdicts`."""
  return {
    **policy_shift_metrics(experience.rollout, experience.reference, policy),
    **judge_metrics(experience.scores),
  }


def offpolicy_metrics(
  experience: Experience, policy: Float[Array, "B K T"]
) -> Metrics:
  """`report` on responses that another policy sampled.

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
  """How far the policy is from its reference, and from who sampled.

  `ratio/...` compare the policy with the parameters under which the rollout was
  scored: mean ratio and effective sample size of responses, mean absolute
  log-ratio of tokens.
  """
  mask = rollout.responses.mask
  now = sequence_logprobs(policy, rollout)
  moved = now - sequence_logprobs(rollout.logprobs, rollout)
  flat = moved.reshape(-1)
  size = divergences.effective_sample_size(flat)
  count = jnp.asarray(flat.shape[0], jnp.float32)
  mismatch = jnp.where(mask, jnp.abs(policy - rollout.logprobs), 0.0)
  metrics = {
    "kl": batch_mean(now - sequence_logprobs(reference, rollout)),
    "entropy": batch_mean(-now),
    "responses/length": batch_mean(masking.lengths(mask).astype(jnp.float32)),
    "responses/ended": batch_mean(rollout.ended.astype(jnp.float32)),
    "ratio/mean": batch_mean(jnp.exp(jnp.clip(moved, -20.0, 20.0))),
    "ratio/effective_sample_size": means.Mean(size * count, count),
    "ratio/logprob_mismatch": means.weighted_mean(
      mismatch, mask.astype(jnp.float32)
    ),
  }
  return jax.tree.map(jax.lax.stop_gradient, metrics)


def judge_metrics(scores: Array) -> Metrics:
  """What the judge said of a batch: rewards [B, K] or preferences.

  A single response has none to differ from: no `spread` then.
  """
  if scores.ndim == 2 and scores.shape[1] == 1:
    return {"rewards/mean": batch_mean(scores)}
  if scores.ndim == 2:
    spread = jnp.max(scores, axis=-1) - jnp.min(scores, axis=-1)
    return {
      "rewards/mean": batch_mean(scores),
      "rewards/spread": batch_mean(spread),
      "rewards/all_equal": batch_mean((spread == 0).astype(jnp.float32)),
    }
  undecided = jnp.abs(scores[:, 0, 1] - 0.5) < 1e-6
  return {
    "preferences/first": batch_mean(scores[:, 0, 1]),
    "preferences/undecided": batch_mean(undecided.astype(jnp.float32)),
  }
