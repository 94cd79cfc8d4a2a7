"""Decoupled clip and dynamic sampling (Yu et al., 2025, arXiv:2503.14476)."""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from alignment_jax import errors, losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics
from alignment_jax.families import groups
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, masking
from alignment_jax.ops.means import Mean
from alignment_jax.types import Feedback

Overlong = Literal["none", "mask", "soft"]


def dapo(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  clip_low: float,
  clip_high: float,
  overlong: Overlong = "none",
  overlong_cache: int = 0,
  rounds: int = 0,
) -> Algorithm:
  """DAPO: GRPO with four changes, and no KL to the reference.

  A ratio may rise further than it may fall; every token of the batch counts the
  same; a group whose judged rewards are all equal teaches nothing and makes
  room for one of another prompt; responses that are too long are masked or made
  worse. The paper samples until the batch is full; here `rounds` bounds that,
  and what is equal after them leaves the mean (`groups/dropped` is its share).

  Args:
    model: the network.
    sampling: at least two samples; 16 in the paper.
    clip_low: how far the ratio of a token may fall, in (0, 1); 0.2 in the
      paper.
    clip_high: how far it may rise, > 0; 0.28 in the paper.
    overlong: `none`; `mask`, a response that did not end gets no gradient but
      stays in its group's mean; `soft`, `overlong_penalty` is added to rewards.
    overlong_cache: of `soft`: tokens before `sampling.max_tokens` over which
      the penalty grows; a fifth of them in the paper.
    rounds: how often as many further prompts are sampled at most, while groups
      are equal; 0 samples no others.
  """
  sampling.at_least(2, "dapo")
  guards.between(0.0, 1.0, clip_low=clip_low)
  guards.positive(clip_high=clip_high)
  if overlong not in get_args(Overlong):
    raise errors.unknown("overlong", overlong, get_args(Overlong))
  if (overlong == "soft") != bool(overlong_cache):
    raise ValueError(
      "overlong_cache is the number of tokens of overlong 'soft', and 0"
      f" otherwise; got overlong '{overlong}' and overlong_cache"
      f" {overlong_cache}"
    )
  if not 0 <= overlong_cache <= sampling.max_tokens:
    raise ValueError(
      f"overlong_cache must be in [0, {sampling.max_tokens}], the tokens of a"
      f" response, got {overlong_cache}"
    )
  guards.non_negative(rounds=rounds)

  def keep(feedback: Feedback) -> Bool[np.ndarray, "B"]:
    rewards = np.asarray(feedback.need("rewards"))
    return rewards.max(axis=-1) > rewards.min(axis=-1)

  def advantages(experience: rollouts.Experience) -> dict[str, Array]:
    rewards = experience.feedback.need("rewards")
    useful = jnp.max(rewards, axis=-1) > jnp.min(rewards, axis=-1)
    counted = jnp.broadcast_to(useful[:, None], rewards.shape)
    if overlong == "mask":
      # Out of the loss alone: the mean of its group still has it.
      counted &= experience.rollout.ended
    if overlong == "soft":
      rewards += overlong_penalty(
        masking.lengths(experience.rollout.responses.mask),
        max_length=sampling.max_tokens,
        cache=overlong_cache,
      )
    return {
      "advantages": losses.grpo_advantages(rewards),
      "counted": counted,
      "dropped": ~useful,
    }

  def reduced_loss(
    tokens: Float[Array, "B K T"], batch: rollouts.Experience
  ) -> Mean:
    return losses.grpo_aggregate(
      losses.grpo_loss(
        tokens,
        batch.rollout.logprobs,
        batch.reference,
        batch.extra["advantages"],
        clip_low=clip_low,
        clip_high=clip_high,
        beta=0.0,
      ),
      batch.rollout.responses.mask & batch.extra["counted"][..., None],
      aggregation="dapo",
    )

  algorithm = groups.group_relative(
    model, sampling=sampling, advantages=advantages, reduced_loss=reduced_loss
  )

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    total, metrics = algorithm.loss(trainable, slow, batch, key)
    dropped = batch.extra["dropped"].astype(jnp.float32)
    return total, {**metrics, "groups/dropped": rollouts.batch_mean(dropped)}

  sampled = algorithm.rollouts
  assert sampled is not None
  return algorithm._replace(
    rollouts=sampled._replace(keep=keep, extra_rounds=rounds),
    loss=loss,
  )


def overlong_penalty(
  lengths: Int[Array, "*batch"], *, max_length: int, cache: int
) -> Float[Array, "*batch"]:
  """Yu et al., 2025 (arXiv:2503.14476), eq. 13: 0, then falling to -1.

  Args:
    lengths: tokens of each response.
    max_length: where it is -1, and beyond.
    cache: tokens before that over which it falls, > 0.

  >>> lengths = jnp.array([5, 8, 10, 11])
  >>> overlong_penalty(lengths, max_length=10, cache=4).tolist()
  [0.0, -0.5, -1.0, -1.0]
  """
  left = (max_length - cache - lengths).astype(jnp.float32)
  return jnp.clip(left / cache, -1.0, 0.0)
