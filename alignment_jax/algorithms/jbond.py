"""J-BOND (Sessa et al., 2024, arXiv:2407.14622)."""

import jax
import jax.numpy as jnp

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Rollouts
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.types import Tokens

# Samples of the anchor that a response is ranked against, as in the paper.
ANCHOR_SAMPLES = 2


def jbond(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  beta: float,
  gamma: float,
  eta: float,
) -> Algorithm:
  """Towards the best of two samples of an anchor that follows the policy.

  Algorithm 2. To each prompt the anchor, a moving average of the policy, gives
  two responses. The better one is imitated (forward KL); a response of the
  policy is rewarded by whether it beats the worse one (backward KL). As the
  anchor moves, two become four, eight and so on.

  The baseline is a mean over the batch that holds the response's own reward:
  for N responses the expected gradient of the backward part is (1 - 1 / N) of
  what the objective's is. After each optimiser step

      anchor <- (1 - eta) anchor + eta policy

  Args:
    model: the network.
    sampling: one sample of the policy in the paper; each of several is ranked
      against the same two of the anchor.
    beta: weight of the backward KL against the forward one, in [0, 1]; 0.5 in
      the paper.
    gamma: weight of a further KL to the anchor, >= 0; 0 to 2 in the paper.
    eta: rate of the anchor, in [0, 1]; 0.02 in the paper.
  """
  guards.fraction(beta=beta, eta=eta)
  guards.non_negative(gamma=gamma)
  own = sampling.samples

  def init(key, policy_params):
    trainable, slow = rollouts.with_reference(key, policy_params)
    # A copy: the train state is donated, and no buffer can be donated twice.
    return trainable, {**slow, "anchor": jax.tree.map(jnp.copy, policy_params)}

  def sample(trainable, slow, batch, key):
    policy_key, anchor_key = jax.random.split(key)
    policy = trainable["policy"]
    responses = jax.tree.map(
      lambda one, two: jnp.concatenate([one, two], axis=1),
      rollouts.respond(model, policy, batch.prompt, policy_key, sampling, own),
      rollouts.respond(
        model,
        slow["anchor"],
        batch.prompt,
        anchor_key,
        sampling,
        ANCHOR_SAMPLES,
      ),
    )
    return rollouts.rollout_of(model, policy, batch.prompt, responses, sampling)

  def prepare(trainable, slow, rollout, scores):
    del trainable
    scores = rollouts.penalised(scores, rollout.ended, sampling)
    scores, anchor_scores = scores[:, :own], scores[:, own:]
    best = jnp.argmax(anchor_scores, axis=-1)
    best_response = jax.tree.map(
      lambda array: jnp.take_along_axis(
        array, own + best[:, None, None], axis=1
      ),
      rollout.responses,
    )
    rollout = rollouts.take_responses(rollout, own)

    def under(params):
      return rollouts.token_logprobs(
        model, params, rollout.prompt, rollout.responses, sampling
      )

    anchor = rollouts.sequence_logprobs(under(slow["anchor"]), rollout)
    rewards = losses.jbond_reward(
      scores,
      jnp.broadcast_to(anchor_scores[:, None], (*scores.shape, ANCHOR_SAMPLES)),
    )
    log_ratios = rollouts.sequence_logprobs(rollout.logprobs, rollout) - anchor
    return rollouts.Experience(
      rollout=rollout,
      scores=scores,
      reference=under(slow["reference"]),
      extra={
        "anchor": anchor,
        "rewards": rewards,
        "baselines": jnp.full(rewards.shape, jnp.mean(rewards - log_ratios)),
        "anchor_scores": anchor_scores,
        "best_ids": best_response.ids,
        "best_mask": best_response.mask,
      },
    )

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout, extra = batch.rollout, batch.extra
    responses = jax.tree.map(
      lambda sampled, best: jnp.concatenate([sampled, best], axis=1),
      rollout.responses,
      Tokens(extra["best_ids"], extra["best_mask"]),
    )
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, responses, sampling
    )
    policy = rollouts.sequence_logprobs(tokens[:, :own], rollout)
    best = jnp.sum(tokens[:, own], axis=-1)
    total = rollouts.batch_mean(
      losses.jbond_loss(
        policy,
        extra["anchor"],
        jnp.broadcast_to(best[:, None], policy.shape),
        extra["rewards"],
        extra["baselines"],
        beta=beta,
        gamma=gamma,
      )
    )
    return total, {
      "loss": total,
      "loss/best_of_anchor": rollouts.batch_mean(-best),
      "kl/anchor": rollouts.batch_mean(
        jax.lax.stop_gradient(policy) - extra["anchor"]
      ),
      "rewards/anchor": rollouts.batch_mean(extra["anchor_scores"]),
      "rewards/below_anchor": rollouts.batch_mean(
        (extra["rewards"] < 0).astype(jnp.float32)
      ),
      **rollouts.rollout_metrics(batch, tokens[:, :own]),
    }

  def refresh(trainable, slow, step, metrics):
    del step, metrics
    anchor = losses.ema(slow["anchor"], trainable["policy"], decay=1 - eta)
    return trainable, {**slow, "anchor": anchor}

  return Algorithm(init, Rollouts(sample, "reward", prepare), loss, refresh)
