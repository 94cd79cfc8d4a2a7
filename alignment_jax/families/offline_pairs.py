"""What all offline methods on preference pairs share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from alignment_jax import errors, scoring
from alignment_jax.algorithm import Algorithm, frozen
from alignment_jax.models.base import Model
from alignment_jax.ops import masking, means
from alignment_jax.types import PreferencePair


def aggregation_named(name: str):
  """Sum or mean of token log-probabilities."""
  if name not in masking.AGGREGATIONS:
    raise errors.unknown("aggregation", name, masking.AGGREGATIONS)
  return masking.AGGREGATIONS[name]


def offline_pairs(
  model: Model, pair_loss: Callable, *, strength: float, aggregation: str
) -> Algorithm:
  """Descend a loss of four response scores, against a frozen reference.

  The reference is the policy at the start. Where raters disagree, the loss is
  its expectation over the label, p loss(c, r) + (1 - p) loss(r, c). Dropout is
  off, so that policy and reference agree at the start. A pair with an empty
  response has weight 0 and is counted.

  Args:
    model: the network.
    pair_loss: (policy chosen, policy rejected, reference chosen, reference
      rejected) -> one loss per pair.
    strength: the coefficient that makes a log-ratio an implicit reward.
    aggregation: how token log-probabilities become a score: sum or mean.
  """
  aggregate = aggregation_named(aggregation)

  def init(key, policy_params):
    del key
    # A copy: the train state is donated, and no buffer can be donated twice.
    reference = jax.tree.map(jnp.copy, policy_params)
    return {"policy": policy_params}, {"reference": reference}

  def scores(params, batch):
    responses = stack(batch)
    logprobs = scoring.token_logprobs(model, params, batch.prompt, responses)
    score = aggregate(logprobs, responses.mask)
    return score[:, 0], score[:, 1]

  def loss(trainable, slow, batch, key):
    del key
    policy = scores(trainable["policy"], batch)
    reference = jax.lax.stop_gradient(scores(slow["reference"], batch))
    weight, empty = weights(batch)
    total = means.weighted_mean(
      expected_over_label(pair_loss, batch.probability, policy, reference),
      weight,
    )
    chosen, rejected = (
      strength * (new - old) for new, old in zip(policy, reference, strict=True)
    )

    def mean(values):
      return means.weighted_mean(values, weight)

    return total, {
      "loss": total,
      "rewards/chosen": mean(chosen),
      "rewards/rejected": mean(rejected),
      "rewards/margins": mean(chosen - rejected),
      "rewards/accuracies": mean((chosen > rejected).astype(jnp.float32)),
      "logps/chosen": mean(policy[0]),
      "logps/rejected": mean(policy[1]),
      "empty_responses": empty,
    }

  return Algorithm(init, None, loss, frozen)


def stack(batch: PreferencePair):
  """Both responses of each pair as `Tokens` [B, 2, T]."""
  return jax.tree.map(
    lambda chosen, rejected: jnp.stack([chosen, rejected], axis=1),
    batch.chosen,
    batch.rejected,
  )


def weights(batch: PreferencePair):
  """The weight of each pair, 0 where a response is empty; and their share."""
  complete = jnp.any(batch.chosen.mask, -1) & jnp.any(batch.rejected.mask, -1)
  empty = means.weighted_mean((~complete).astype(jnp.float32), batch.weight)
  return jnp.where(complete, batch.weight, 0.0), empty


def expected_over_label(pair_loss, probability, *sides):
  """p loss(chosen, rejected) + (1 - p) loss(rejected, chosen).

  Args:
    pair_loss: takes a (chosen, rejected) couple for each of `sides`, flat.
    probability: p, of the label as given.
    *sides: couples (chosen, rejected).
  """
  as_given = pair_loss(*(x for side in sides for x in side))
  swapped = pair_loss(*(x for side in sides for x in side[::-1]))
  return probability * as_given + (1 - probability) * swapped
