"""J-BOND (Sessa et al., 2024, arXiv:2407.14622)."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics, Rollouts
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean
from alignment_jax.types import Feedback, Prompts, Rollout, Tokens

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
  what the objective's is. After each optimizer step

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

  def init(
    key: Key[Array, ""] | None, policy_params: PyTree
  ) -> tuple[PyTree, PyTree]:
    trainable, slow = rollouts.with_reference(key, policy_params)
    return trainable, {**slow, "anchor": policy_params}

  def sample(
    trainable: PyTree, slow: PyTree, batch: Prompts, key: Key[Array, ""]
  ) -> Rollout:
    policy_key, anchor_key = jax.random.split(key)

    def respond(params: PyTree, key: Key[Array, ""], count: int) -> Tokens:
      return rollouts.respond(model, params, batch.prompt, key, sampling, count)

    return rollouts.rollout_of(
      model,
      trainable["policy"],
      batch.prompt,
      respond(trainable["policy"], policy_key, sampling.samples),
      sampling,
      opponents=respond(slow["anchor"], anchor_key, ANCHOR_SAMPLES),
    )

  def prepare(
    trainable: PyTree, slow: PyTree, rollout: Rollout, feedback: Feedback
  ) -> rollouts.Experience:
    del trainable
    feedback = rollouts.penalized(feedback, rollout, sampling)
    scores, anchor_scores = feedback.need("rewards"), feedback.need("opponents")
    best = jnp.argmax(anchor_scores, axis=-1)
    best_of_anchor = jax.tree.map(
      lambda array: jnp.take_along_axis(array, best[:, None, None], axis=1),
      rollout.opponents,
    )

    def under(params: PyTree) -> Float[Array, "B K T"]:
      return rollouts.token_logprobs(
        model, params, rollout.prompt, rollout.responses, sampling
      )

    anchor = rollouts.sequence_logprobs(
      under(slow["anchor"]), rollout.responses
    )
    rewards = losses.jbond_reward(
      scores,
      # [B, K, 2]: each of the policy's is ranked against the same two.
      jnp.broadcast_to(
        anchor_scores[:, None], (*scores.shape, anchor_scores.shape[-1])
      ),
    )
    sampled = rollouts.sequence_logprobs(rollout.logprobs, rollout.responses)
    baseline = jnp.mean(rewards - (sampled - anchor))
    return rollouts.Experience(
      rollout=rollout,
      feedback=feedback,
      reference=under(slow["reference"]),
      extra={
        "anchor": anchor,
        "rewards": rewards,
        # Of the whole batch: `loss` may see parts of it.
        "baselines": jnp.full(rewards.shape, baseline),
        "best_of_anchor": best_of_anchor,
      },
    )

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    rollout, extra = batch.rollout, batch.extra
    tokens = rollouts.in_one_pass(
      lambda responses: rollouts.token_logprobs(
        model, trainable["policy"], rollout.prompt, responses, sampling
      ),
      responses=rollout.responses,
      best_of_anchor=extra["best_of_anchor"],
    )
    policy = rollouts.sequence_logprobs(tokens["responses"], rollout.responses)
    best = rollouts.sequence_logprobs(
      tokens["best_of_anchor"], extra["best_of_anchor"]
    )
    total = rollouts.batch_mean(
      losses.jbond_loss(
        policy,
        extra["anchor"],
        jnp.broadcast_to(best, policy.shape),
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
      "rewards/anchor": rollouts.batch_mean(batch.feedback.need("opponents")),
      "rewards/below_anchor": rollouts.batch_mean(
        (extra["rewards"] < 0).astype(jnp.float32)
      ),
      **rollouts.rollout_metrics(batch, tokens["responses"]),
    }

  def refresh(
    trainable: PyTree, slow: PyTree, step: Any, metrics: Mapping[str, Any]
  ) -> tuple[PyTree, PyTree]:
    del step, metrics
    anchor = losses.ema(slow["anchor"], trainable["policy"], decay=1 - eta)
    return trainable, {**slow, "anchor": anchor}

  return Algorithm(
    init,
    Rollouts(sample, "reward", prepare),
    loss,
    refresh,
  )
