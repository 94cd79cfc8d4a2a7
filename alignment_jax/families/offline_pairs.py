"""What all offline methods on preference pairs share."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import errors, rollouts, scoring
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.models.base import Model
from alignment_jax.ops import masking, means
from alignment_jax.types import PreferencePair, Tokens

Aggregation = Literal["sum", "mean"]
# Numbers of the chosen and of the rejected response of each pair.
Couple = tuple[Float[Array, "B"], Float[Array, "B"]]
# (policy chosen, policy rejected, reference chosen, reference rejected) -> one
# loss per pair
PairLoss = Callable[..., Float[Array, "B"]]


def aggregation_named(name: Aggregation) -> Callable[..., Array]:
  """Sum or mean of token log-probabilities.

  Raises:
    UserError: neither.
  """
  if name not in masking.AGGREGATIONS:
    raise errors.unknown("aggregation", name, masking.AGGREGATIONS)
  return masking.AGGREGATIONS[name]


def offline_pairs(
  model: Model,
  pair_loss: PairLoss,
  *,
  reward_scale: float,
  aggregation: Aggregation,
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
    reward_scale: the coefficient that makes a log-ratio an implicit reward.
    aggregation: how token log-probabilities become a score: sum or mean.
  """
  aggregate = aggregation_named(aggregation)

  def scores(params: PyTree, batch: PreferencePair) -> Couple:
    responses = stack(batch)
    logprobs = scoring.token_logprobs(model, params, batch.prompt, responses)
    score = aggregate(logprobs, responses.mask)
    return score[:, 0], score[:, 1]

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: PreferencePair,
    key: Key[Array, ""] | None,
  ) -> tuple[means.Mean, Metrics]:
    del key
    policy = scores(trainable["policy"], batch)
    reference = jax.lax.stop_gradient(scores(slow["reference"], batch))
    weight, empty = weights(batch)
    total = means.weighted_mean(
      expected_over_label(pair_loss, batch.probability, policy, reference),
      weight,
    )
    chosen, rejected = (
      reward_scale * (new - old)
      for new, old in zip(policy, reference, strict=True)
    )

    def mean(values: Float[Array, "B"]) -> means.Mean:
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

  return Algorithm(rollouts.with_reference, None, loss, frozen)


def stack(batch: PreferencePair) -> Tokens:
  """Both responses of each pair as `Tokens` [B, 2, T]."""
  return jax.tree.map(
    lambda chosen, rejected: jnp.stack([chosen, rejected], axis=1),
    batch.chosen,
    batch.rejected,
  )


def weights(batch: PreferencePair) -> tuple[Float[Array, "B"], means.Mean]:
  """The weight of each pair, 0 where a response is empty; and their share."""
  complete = jnp.any(batch.chosen.mask, -1) & jnp.any(batch.rejected.mask, -1)
  empty = means.weighted_mean((~complete).astype(jnp.float32), batch.weight)
  return jnp.where(complete, batch.weight, 0.0), empty


def expected_over_label(
  pair_loss: Callable[..., Float[Array, "*batch"]],
  probability: Float[Array, "*batch"],
  *couples: tuple[Float[Array, "*batch"], Float[Array, "*batch"]],
) -> Float[Array, "*batch"]:
  """p loss(chosen, rejected) + (1 - p) loss(rejected, chosen).

  Args:
    pair_loss: takes the numbers of all `couples`, flat.
    probability: p, that the label is right as it stands.
    *couples: (chosen, rejected) each.
  """
  as_labeled = pair_loss(*(x for couple in couples for x in couple))
  flipped = pair_loss(*(x for couple in couples for x in couple[::-1]))
  return probability * as_labeled + (1 - probability) * flipped
