"""Proximal policy optimization (Huang et al., 2024, arXiv:2403.17031).

With the N+ details: docs/ppo_details.md says where each of the 25 is. Epochs
and minibatches are settings of the training step.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from alignment_jax import errors, losses, rollouts, scoring
from alignment_jax.algorithm import Algorithm, Metrics
from alignment_jax.families import kl_control
from alignment_jax.models import heads
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, masking, means, returns
from alignment_jax.ops.means import Mean
from alignment_jax.types import Rollout

CRITIC = {"network", "head"}


def ppo(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  beta: float,
  clip: float = 0.2,
  value_clip: float = 0.2,
  value_coefficient: float = 0.1,
  gamma: float = 1.0,
  lambda_: float = 0.95,
  missing_eos_reward: float | None = None,
  whiten_rewards: bool = False,
  whiten_advantages: bool = True,
  kl_target: float | None = None,
  kl_gain: float = 0.1,
) -> Algorithm:
  """PPO: a policy and a value network, token by token.

  Policy and critic are two networks in one optimizer. `init(key,
  policy_params, critic)` starts the critic from a reward model, `{"network",
  "head"}`; without one, from the policy and a new head. Dropout is off, so the
  ratio is 1 before the first step.

  The defaults are the paper's, but for `missing_eos_reward`.

  Args:
    model: the network.
    sampling: one sample is enough; `temperature` divides the logits of policy
      and reference everywhere.
    beta: reward per nat of each token's log-ratio to the reference (k1), >= 0;
      0.05 in the paper.
    clip: how far the ratio of a token may move, in (0, 1).
    value_clip: how far a value may move from that at sampling, > 0, in units of
      reward.
    value_coefficient: weight of the value loss, >= 0.
    gamma: discount of rewards, in [0, 1].
    lambda_: of `returns.gae`, in [0, 1].
    missing_eos_reward: takes the place of the judge's reward of a response that
      did not end, -1 in the paper; None keeps the judge's, less
      `sampling.missing_eos_penalty`.
    whiten_rewards: divides rewards by their deviation, and keeps their mean.
    whiten_advantages: over all tokens of the batch, before it is split.
    kl_target: nats per response that beta is moved towards, > 0; None
      keeps beta.
    kl_gain: how fast it is moved, at each optimizer step.
  """
  guards.between(0.0, 1.0, clip=clip)
  guards.positive(value_clip=value_clip)
  guards.non_negative(value_coefficient=value_coefficient)
  guards.fraction(gamma=gamma, lambda_=lambda_)
  if missing_eos_reward is not None and sampling.missing_eos_penalty:
    raise ValueError(
      f"missing_eos_reward {missing_eos_reward} replaces the reward that"
      f" sampling.missing_eos_penalty {sampling.missing_eos_penalty} is taken"
      " off; set one of them"
    )
  control = kl_control.KLControl(beta=beta, target=kl_target, gain=kl_gain)

  def init(
    key: Key[Array, ""],
    policy_params: PyTree,
    critic: dict[str, Any] | None = None,
  ) -> tuple[PyTree, PyTree]:
    if critic is None:
      critic = {
        "network": policy_params,
        "head": heads.init_scalar(key, model.settings.width),
      }
    elif critic.keys() != CRITIC:
      raise errors.UserError(
        "a critic starts from a reward model's 'network' and 'head', got:"
        f" {', '.join(sorted(critic))}"
      )
    trainable, slow = control.init(key, policy_params)
    return {**trainable, "value": critic}, slow

  def values_of(trainable: PyTree, rollout: Rollout) -> Float[Array, "B K T"]:
    """Value before each token, and at the first padded position that of the
    last state; 0 behind it."""
    mask = rollout.responses.mask
    values = scoring.token_values(
      model, trainable["value"], rollout.prompt, rollout.responses
    )
    first_pad = _positions(mask) == masking.lengths(mask)[..., None]
    return jnp.where(first_pad, values.final[..., None], values.tokens)

  def rewards_of(
    slow: PyTree, experience: rollouts.Experience
  ) -> Float[Array, "B K T"]:
    """k1 of each token, and the score where the response is over."""
    rollout, scores = experience.rollout, experience.feedback.need("rewards")
    mask = rollout.responses.mask
    if missing_eos_reward is not None:
      scores = jnp.where(rollout.ended, scores, missing_eos_reward)
    log_ratios = jnp.where(mask, rollout.logprobs - experience.reference, 0.0)
    # At the first padded position, where the last state has its value; a
    # response that fills its window has none, and gets it at its last token.
    last = jnp.minimum(masking.lengths(mask), mask.shape[-1] - 1)
    is_last = _positions(mask) == last[..., None]
    return (
      jnp.where(is_last, scores[..., None], 0.0)
      - control.coefficient(slow) * log_ratios
    )

  def prepared(
    trainable: PyTree, slow: PyTree, experience: rollouts.Experience
  ) -> dict[str, Array]:
    mask = experience.rollout.responses.mask
    valued = _valued(mask)
    values = values_of(trainable, experience.rollout)
    rewards = rewards_of(slow, experience)
    if whiten_rewards:
      rewards = returns.whiten_keeping_mean(rewards, valued)
    advantages = returns.gae(rewards, values, gamma=gamma, lambda_=lambda_)
    # Both losses are means, but over different positions: with this weight they
    # have one denominator, which does not depend on how the batch is split.
    counted = valued.astype(jnp.float32)
    share = jnp.sum(mask.astype(jnp.float32)) / jnp.sum(counted)
    return {
      "values": values,
      "returns": advantages + values,
      "advantages": returns.whiten(advantages, mask)
      if whiten_advantages
      else jnp.where(mask, advantages, 0.0),
      "value_weight": counted * share,
    }

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del key
    rollout, extra = batch.rollout, batch.extra
    counted = rollout.responses.mask.astype(jnp.float32)
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    values = values_of(trainable, rollout)
    policy_loss = means.weighted_mean(
      losses.ppo_policy_loss(
        tokens, rollout.logprobs, extra["advantages"], clip=clip
      ),
      counted,
    )
    value_loss = means.weighted_mean(
      losses.ppo_value_loss(
        values, extra["values"], extra["returns"], clip=value_clip
      ),
      extra["value_weight"],
    )
    total = means.Mean(
      policy_loss.total + value_coefficient * value_loss.total,
      policy_loss.weight,
    )
    ratios = jnp.exp(tokens - rollout.logprobs)
    error = jnp.square(extra["values"] - extra["returns"])
    return total, {
      "loss": total,
      "loss/policy": policy_loss,
      "loss/value": value_loss,
      "policy/clipped": means.weighted_mean(
        _outside(ratios - 1, clip), counted
      ),
      "value/clipped": means.weighted_mean(
        _outside(values - extra["values"], value_clip), extra["value_weight"]
      ),
      "value/mean": means.weighted_mean(extra["values"], extra["value_weight"]),
      "value/error": means.weighted_mean(error, extra["value_weight"]),
      "returns/mean": means.weighted_mean(
        extra["returns"], extra["value_weight"]
      ),
      **control.metrics(slow, batch),
      **rollouts.rollout_metrics(batch, tokens),
    }

  return Algorithm(
    init,
    rollouts.sampled_from_policy(model, sampling, extra=prepared),
    loss,
    control.refresh,
  )


def _positions(mask: Bool[Array, "B K T"]) -> Int[Array, "B K T"]:
  """0, 1, 2, ... along the last axis, in the mask's shape."""
  return jax.lax.broadcasted_iota(jnp.int32, mask.shape, mask.ndim - 1)


def _valued(mask: Bool[Array, "B K T"]) -> Bool[Array, "B K T"]:
  """Where there is a value: at each token, and at the first padded position."""
  return _positions(mask) <= masking.lengths(mask)[..., None]


def _outside(
  moved: Float[Array, "B K T"], clip: float
) -> Float[Array, "B K T"]:
  outside = (jnp.abs(moved) > clip).astype(jnp.float32)
  return jax.lax.stop_gradient(outside)
