"""What methods share that learn from pairs of sampled responses."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from alignment_jax import errors, rollouts
from alignment_jax.algorithm import (
  Algorithm,
  FeedbackKind,
  Init,
  Metrics,
  Refresh,
  Sample,
  frozen,
)
from alignment_jax.models.base import Model
from alignment_jax.ops import means
from alignment_jax.types import Feedback

# Numbers of the first and of the second response of each pair.
Couple = tuple[Float[Array, "B N"], Float[Array, "B N"]]
# (probability, log-probabilities under the policy, under the reference, as
# sampled) -> one loss per pair
PairLoss = Callable[
  [Float[Array, "B N"], Couple, Couple, Couple], Float[Array, "B N"]
]
# (Experience, log-probabilities of tokens under the policy) -> metrics
Report = Callable[[rollouts.Experience, Float[Array, "B K T"]], Metrics]
Choice = Literal["all", "best_and_worst"]


class Pairs(NamedTuple):
  """Which responses to a prompt are compared, and what the judge said of them.

  Attributes:
    first: index of one response among the K.
    second: that of the other.
    probability: P(the first beats the second).
    weight: how much the pair counts, >= 0.
  """

  first: Int[Array, "B N"]
  second: Int[Array, "B N"]
  probability: Float[Array, "B N"]
  weight: Float[Array, "B N"]


# Feedback -> the pairs to learn from
Choose = Callable[[Feedback], Pairs]


def all_pairs(feedback: Feedback) -> Pairs:
  """Each two responses once, with the probability that the earlier one wins."""
  preferences = feedback.need("preferences")
  first, second = np.triu_indices(preferences.shape[-1], 1)
  probability = preferences[:, first, second]

  def in_every_row(indices: Int[np.ndarray, "N"]) -> Int[Array, "B N"]:
    return jnp.broadcast_to(
      jnp.asarray(indices, jnp.int32)[None], probability.shape
    )

  return Pairs(
    in_every_row(first),
    in_every_row(second),
    probability,
    jnp.ones_like(probability),
  )


def best_and_worst(feedback: Feedback) -> Pairs:
  """One pair a prompt: the best response beats the worst.

  They are ranked by their rewards, or by their mean preference over all K
  responses. Of equals the earlier one is best and the later one worst. Where
  all are equal the pair has weight 0.
  """
  if feedback.rewards is not None:
    ranks, tolerance = feedback.need("rewards"), 0.0
  else:
    ranks, tolerance = (
      mean_win_rates(feedback.need("preferences")),
      rollouts.TIE,
    )
  best, worst = best_and_worst_indices(ranks)
  tied = jnp.max(ranks, axis=-1) - jnp.min(ranks, axis=-1) <= tolerance
  return Pairs(
    first=best[:, None],
    second=worst[:, None],
    probability=jnp.ones_like(ranks[:, :1]),
    weight=(~tied).astype(ranks.dtype)[:, None],
  )


def choice_named(name: Choice) -> Choose:
  """How pairs are found among K responses of one policy.

  Raises:
    UserError: no such way.
  """
  choices = {"all": all_pairs, "best_and_worst": best_and_worst}
  if name not in choices:
    raise errors.unknown("choice of pairs", name, choices)
  return choices[name]


def mean_win_rates(preferences: Float[Array, "B K K"]) -> Float[Array, "B K"]:
  """P(a response beats one of the K, itself included)."""
  return jnp.mean(preferences, axis=-1)


def best_and_worst_indices(
  values: Float[Array, "B K"],
) -> tuple[Int[Array, "B"], Int[Array, "B"]]:
  """Indices of the largest and the smallest: two, even if all are equal."""
  last = values.shape[-1] - 1
  best = jnp.argmax(values, axis=-1)
  # `argmin` takes the first of equals, which here would be the best one too.
  return best, last - jnp.argmin(values[:, ::-1], axis=-1)


def gather(
  values: Float[Array, "B K"], indices: Int[Array, "B N"]
) -> Float[Array, "B N"]:
  """The entries at these indices, [B, N]."""
  return jnp.take_along_axis(values, indices, axis=-1)


def from_pairs(
  model: Model,
  sampling: rollouts.Sampling,
  *,
  choose: Choose,
  pair_loss: PairLoss,
  reward_scale: float,
  feedback: FeedbackKind = "preference",
  sample: Sample | None = None,
  report: Report = rollouts.rollout_metrics,
  init: Init = rollouts.with_reference,
  refresh: Refresh = frozen,
) -> Algorithm:
  """Descend a loss of pairs among the responses of a rollout.

  Args:
    model: the network.
    sampling: of the rollout.
    choose: feedback -> the pairs.
    pair_loss: (probability, policy, reference, sampled) -> one loss per pair.
      The last three are log-probabilities of (first, second): under the policy,
      under the reference, and as they were sampled.
    reward_scale: the coefficient that makes a log-ratio an implicit reward.
    feedback: what the judge must return.
    sample: of the algorithm, if not the policy samples all.
    report: (Experience, log-probabilities of tokens) -> metrics.
    init: of the algorithm; keeps a `reference`.
    refresh: of the algorithm.
  """

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[means.Mean, Metrics]:
    del slow, key
    rollout = batch.rollout
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    pairs = choose(batch.feedback)
    policy, reference, sampled = (
      (gather(logprobs, pairs.first), gather(logprobs, pairs.second))
      for logprobs in (
        rollouts.sequence_logprobs(of_tokens, rollout.responses)
        for of_tokens in (tokens, batch.reference, rollout.logprobs)
      )
    )
    total = means.weighted_mean(
      pair_loss(pairs.probability, policy, reference, sampled), pairs.weight
    )
    return total, {
      "loss": total,
      **margin_metrics(
        policy,
        reference,
        pairs.probability,
        pairs.weight,
        reward_scale=reward_scale,
      ),
      **report(batch, tokens),
    }

  return Algorithm(
    init,
    rollouts.sampled_from_policy(
      model, sampling, feedback=feedback, sample=sample
    ),
    loss,
    refresh,
  )


def margin_metrics(
  policy: Couple,
  reference: Couple,
  probability: Float[Array, "B N"],
  weight: Float[Array, "B N"],
  *,
  reward_scale: float,
) -> Metrics:
  """How the policy's implicit rewards agree with the judge.

  Args:
    policy: log-probabilities of the first and the second response of each pair.
    reference: the same under the reference.
    probability: P(the first beats the second).
    weight: of each pair; ties count for nothing either.
    reward_scale: the coefficient that makes a log-ratio an implicit reward.
  """
  margin = reward_scale * (policy[0] - reference[0] - policy[1] + reference[1])
  lean = probability - 0.5
  tied = (jnp.abs(lean) < rollouts.TIE) | (weight == 0)
  weight = jnp.where(tied, 0.0, weight)
  # The judge may prefer the second: a margin is the winner's less the loser's.
  agreed = jnp.sign(lean) * margin
  metrics = {
    "rewards/margins": means.weighted_mean(agreed, weight),
    "rewards/accuracies": means.weighted_mean(_flags(agreed > 0), weight),
    "pairs/tied": rollouts.batch_mean(_flags(tied)),
  }
  return jax.tree.map(jax.lax.stop_gradient, metrics)


def _flags(values: Bool[Array, "B N"]) -> Float[Array, "B N"]:
  return values.astype(jnp.float32)
