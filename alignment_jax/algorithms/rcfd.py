"""Reward calibration from demonstrations (arXiv:2404.19409)."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics, Rollouts, frozen
from alignment_jax.families import kl_control
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, returns
from alignment_jax.ops.means import Mean
from alignment_jax.types import Feedback, Rollout

# Of the two histograms of rewards that are compared.
BINS = 10


def rcfd(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  beta: float = 0.0,
  clip: float = 0.3,
) -> Algorithm:
  """Earn what a demonstration for the same prompt earns, and not more.

  Rita et al., 2024. With r the judge's reward of a response, and r_d of the
  demonstration, what is maximized is

      (c - mean) / deviation - beta log-ratio,    c = -(r - r_d)^2

  with mean and deviation of c over the batch. The paper needs no KL: beta is 0.
  Where the judge is a `sum` of several, c is `losses.rcfd_composite_reward` of
  theirs: each is calibrated and standardized by itself before they are added,
  so that a weight other than 0 changes nothing.

  The paper's PPO has a value network; here the other responses to the prompt
  are the baseline, and the ratio of whole responses is what is clipped.

  Args:
    model: the network.
    sampling: at least two samples. The penalty for a missing end comes off the
      calibrated reward, before it is standardized: taken off r it could bring
      r nearer to r_d.
    beta: strength of the KL regularization, >= 0, deviations of the calibrated
      reward per nat.
    clip: the ratio may move by this much before its gradient stops, in (0, 1).
  """
  sampling.at_least(2, "rcfd")
  guards.non_negative(beta=beta)
  guards.between(0.0, 1.0, clip=clip)

  def prepare(
    trainable: PyTree, slow: PyTree, rollout: Rollout, feedback: Feedback
  ) -> rollouts.Experience:
    del trainable
    rewards = feedback.need("rewards")  # [B, K, n]
    goals = jnp.broadcast_to(
      feedback.need("demonstration")[:, None], rewards.shape
    )
    calibrated = rollouts.penalized_rewards(
      _calibrated(rewards, goals), rollout.ended, sampling
    )
    everywhere = jnp.ones(calibrated.shape, bool)
    experience = rollouts.Experience(
      rollout=rollout,
      # Added up for the report: what is learnt from are the advantages.
      feedback=Feedback(
        rewards=jnp.sum(rewards, axis=-1),
        demonstration=feedback.need("demonstration"),
      ),
      reference=rollouts.token_logprobs(
        model, slow["reference"], rollout.prompt, rollout.responses, sampling
      ),
      extra={},
    )
    # Before the KL comes off, so that beta means the same whatever the judges'
    # scale is.
    standard = returns.whiten(calibrated, everywhere)
    regularized = standard - beta * kl_control.sampled(experience)
    judges = rewards.shape[-1]
    distances = jax.vmap(alignment, in_axes=1)(
      feedback.need("demonstration"), rewards.reshape(-1, judges)
    )
    return dataclasses.replace(
      experience,
      extra={
        "advantages": losses.rloo_advantages(regularized),
        "squared_errors": jnp.sum(jnp.square(rewards - goals), axis=-1),
        # Of the whole batch, in every row: `loss` may see parts of it.
        "alignment": jnp.full(rewards.shape[:1], jnp.mean(distances)),
      },
    )

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    rollout = batch.rollout
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    total = rollouts.batch_mean(
      losses.proximal_rloo_loss(
        rollouts.sequence_logprobs(tokens, rollout.responses),
        rollouts.sequence_logprobs(rollout.logprobs, rollout.responses),
        batch.extra["advantages"],
        clip=clip,
      )
    )
    return total, {
      "loss": total,
      "rewards/demonstration": rollouts.batch_mean(
        jnp.sum(batch.feedback.need("demonstration"), axis=-1)
      ),
      "calibration/squared_error": rollouts.batch_mean(
        batch.extra["squared_errors"]
      ),
      "calibration/alignment": rollouts.batch_mean(batch.extra["alignment"]),
      **rollouts.rollout_metrics(batch, tokens),
    }

  return Algorithm(
    rollouts.with_reference,
    Rollouts(rollouts.sample_policy(model, sampling), "rewards", prepare),
    loss,
    frozen,
  )


def _calibrated(
  rewards: Float[Array, "B K n"], goals: Float[Array, "B K n"]
) -> Float[Array, "B K"]:
  """Calibrated rewards of n judges, as one."""
  judges = rewards.shape[-1]
  if judges == 1:
    return losses.rcfd_reward(rewards, goals)[..., 0]
  return losses.rcfd_composite_reward(
    rewards.reshape(-1, judges), goals.reshape(-1, judges)
  ).reshape(rewards.shape[:-1])


def alignment(
  demonstrations: Float[Array, "M"], responses: Float[Array, "N"]
) -> Float[Array, ""]:
  """KL of the rewards of demonstrations from those of responses, in nats.

  Of two histograms over the range of both, one count added to every bin; so it
  is small, and never 0 but by chance, where both are few.
  """
  both = jnp.concatenate([demonstrations, responses])
  low, high = jnp.min(both), jnp.max(both)
  width = jnp.where(high > low, (high - low) / BINS, 1.0)

  def log_shares(values: Float[Array, "N"]) -> Float[Array, "bins"]:
    bins = jnp.clip(jnp.floor((values - low) / width), 0, BINS - 1)
    one_hot = jax.nn.one_hot(bins.astype(jnp.int32), BINS)
    counts = 1.0 + jnp.sum(one_hot, axis=0)
    return jnp.log(counts / jnp.sum(counts))

  goal, actual = log_shares(demonstrations), log_shares(responses)
  return jnp.sum(jnp.exp(goal) * (goal - actual))
