"""What methods share that learn from pairs of sampled responses."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from alignment_jax import errors, rollouts
from alignment_jax.algorithm import Algorithm, frozen
from alignment_jax.models.base import Model
from alignment_jax.ops import means

# Preferences this near to each other are a tie: they are computed in float32.
TIE = 1e-6


class Pairs(NamedTuple):
  """Which responses to a prompt are compared, and what was said of them.

  Attributes:
    first: the place of one response among the K.
    second: that of the other.
    probability: P(the first beats the second).
    weight: how much the pair counts, >= 0.
  """

  first: Int[Array, "B N"]
  second: Int[Array, "B N"]
  probability: Float[Array, "B N"]
  weight: Float[Array, "B N"]


def all_pairs(scores: Float[Array, "B K K"]) -> Pairs:
  """Each two responses once, with the probability that the earlier one wins."""
  first, second = np.triu_indices(scores.shape[-1], 1)
  return _at(scores, first, second)


def halves(scores: Float[Array, "B K K"]) -> Pairs:
  """Response i of the first half with response i of the second half."""
  first = np.arange(scores.shape[-1] // 2)
  return _at(scores, first, first + len(first))


def best_and_worst(scores: Array) -> Pairs:
  """One pair a prompt: the best response beats the worst.

  Scores are rewards [B, K], or preferences [B, K, K] whose mean over all K
  responses ranks them. Of equals the earlier one is best and the later one
  worst. Where all are equal the pair has weight 0.
  """
  ranks = scores if scores.ndim == 2 else strengths(scores)
  best, worst = extremes(ranks)
  tied = jnp.max(ranks, axis=-1) - jnp.min(ranks, axis=-1)
  tied = tied <= (0.0 if scores.ndim == 2 else TIE)
  return Pairs(
    first=best[:, None],
    second=worst[:, None],
    probability=jnp.ones_like(ranks[:, :1]),
    weight=(~tied).astype(ranks.dtype)[:, None],
  )


# How a method finds pairs among K responses of one policy.
CHOICES = {"all": all_pairs, "best_and_worst": best_and_worst}


def choice_named(name: str) -> Callable[[Array], Pairs]:
  """How pairs are found.

  Raises:
    UserError: no such way.
  """
  if name not in CHOICES:
    raise errors.unknown("choice of pairs", name, CHOICES)
  return CHOICES[name]


def strengths(preferences: Float[Array, "B K K"]) -> Float[Array, "B K"]:
  """P(a response beats one of the K, itself included)."""
  return jnp.mean(preferences, axis=-1)


def extremes(
  values: Float[Array, "B K"],
) -> tuple[Int[Array, "B"], Int[Array, "B"]]:
  """Places of the largest and the smallest: two, even if all are equal."""
  last = values.shape[-1] - 1
  best = jnp.argmax(values, axis=-1)
  return best, last - jnp.argmin(values[:, ::-1], axis=-1)


def take(values: Float[Array, "B K"], places: Int[Array, "B N"]):
  """The entries at these places, [B, N]."""
  return jnp.take_along_axis(values, places, axis=-1)


def from_pairs(
  model: Model,
  sampling: rollouts.Sampling,
  *,
  choose: Callable[[Array], Pairs],
  pair_loss: Callable,
  strength: float,
  feedback: str = "preference",
  sample: Callable | None = None,
  report: Callable = rollouts.rollout_metrics,
  init: Callable = rollouts.with_reference,
  refresh: Callable = frozen,
) -> Algorithm:
  """Descend a loss of pairs among the responses of a rollout.

  Args:
    model: the network.
    sampling: of the rollout.
    choose: scores -> the pairs.
    pair_loss: (probability, policy, reference, sampled) -> one loss per pair.
      The last three are log-probabilities of (first, second): under the policy,
      under the reference, and as they were sampled.
    strength: the coefficient that makes a log-ratio an implicit reward.
    feedback: what the judge must say.
    sample: of the algorithm, if not the policy samples all.
    report: (Experience, log-probabilities of tokens) -> metrics.
    init: of the algorithm; keeps a `reference`.
    refresh: of the algorithm.
  """

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout = batch.rollout
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    pairs = choose(batch.scores)
    sides = tuple(
      (take(whole, pairs.first), take(whole, pairs.second))
      for whole in (
        rollouts.sequence_logprobs(of_tokens, rollout)
        for of_tokens in (tokens, batch.reference, rollout.logprobs)
      )
    )
    total = means.weighted_mean(
      pair_loss(pairs.probability, *sides), pairs.weight
    )
    return total, {
      "loss": total,
      **_margins(pairs, *sides[:2], strength=strength),
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


def _at(scores, first, second):
  def everywhere(places):
    return jnp.broadcast_to(
      jnp.asarray(places, jnp.int32)[None], (scores.shape[0], len(places))
    )

  probability = scores[:, first, second]
  return Pairs(
    everywhere(first),
    everywhere(second),
    probability,
    jnp.ones_like(probability),
  )


def _margins(pairs, policy, reference, *, strength):
  """How the policy's implicit rewards agree with the judge."""
  margin = strength * (policy[0] - reference[0] - policy[1] + reference[1])
  lean = pairs.probability - 0.5
  tied = (jnp.abs(lean) < TIE) | (pairs.weight == 0)
  weight = jnp.where(tied, 0.0, pairs.weight)
  agreed = jnp.sign(lean) * margin
  metrics = {
    "rewards/margins": means.weighted_mean(agreed, weight),
    "rewards/accuracies": means.weighted_mean(_flags(agreed > 0), weight),
    "pairs/tied": rollouts.batch_mean(_flags(tied)),
  }
  return jax.tree.map(jax.lax.stop_gradient, metrics)


def _flags(values: Bool[Array, "B N"]) -> Float[Array, "B N"]:
  return values.astype(jnp.float32)
