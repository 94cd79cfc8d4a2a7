"""Kahneman-Tversky optimization (Ethayarajh et al., 2024, arXiv:2402.01306)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import losses, rollouts, scoring
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, masking, means
from alignment_jax.ops.means import Mean
from alignment_jax.types import ScoredResponses, Tokens


def kto(
  model: Model,
  *,
  beta: float,
  lambda_desirable: float = 1.0,
  lambda_undesirable: float = 1.0,
) -> Algorithm:
  """KTO from single scored responses; no pairs are needed.

  A response is desirable if its reward is above 0, which is the mean of the
  data where they are scaled as the loader does it. The reference point is the
  mean log-ratio of each prompt with the response of the next row, at least 0,
  over the rows that are processed at once: microbatches have one each. An empty
  response weighs nothing. Dropout is off.

  Args:
    model: the network.
    beta: risk aversion, > 0, per nat.
    lambda_desirable: weight of desirable responses, >= 0.
    lambda_undesirable: weight of the others, >= 0. The paper keeps the ratio of
      weight times count, desirable to not, in [1, 4/3].

  Raises:
    ValueError: a coefficient is out of range; in the loss, a single row, which
      has no next one.
  """
  guards.positive(beta=beta)
  guards.non_negative(
    lambda_desirable=lambda_desirable, lambda_undesirable=lambda_undesirable
  )

  def score(
    params: PyTree, prompt: Tokens, responses: Tokens
  ) -> Float[Array, "B K"]:
    logprobs = scoring.token_logprobs(model, params, prompt, responses)
    return masking.masked_sum(logprobs, responses.mask)

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: ScoredResponses,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del key
    if batch.prompt.ids.shape[0] < 2:
      raise ValueError(
        "kto compares each prompt with the next row's response and needs at"
        " least 2 rows at once; use fewer microbatches or a larger batch"
      )
    policy = score(trainable["policy"], batch.prompt, batch.responses)
    reference = jax.lax.stop_gradient(
      score(slow["reference"], batch.prompt, batch.responses)
    )
    # Each prompt with the response of the next row: the KL of the policy is
    # estimated on pairs that nobody rated.
    mismatched = jax.tree.map(
      lambda array: jnp.roll(array, -1, axis=0), batch.responses
    )
    kl = losses.kto_kl(
      score(
        jax.lax.stop_gradient(trainable["policy"]), batch.prompt, mismatched
      ),
      score(slow["reference"], batch.prompt, mismatched),
    )
    # The loader has centered the rewards: above 0 is better than average.
    desirable = batch.rewards > 0
    real = jnp.any(batch.responses.mask, axis=-1).astype(jnp.float32)
    values = losses.kto_loss(
      policy,
      reference,
      desirable,
      kl,
      beta=beta,
      lambda_desirable=lambda_desirable,
      lambda_undesirable=lambda_undesirable,
    )
    total = means.weighted_mean(values, real)
    implicit = beta * (policy - reference)
    return total, {
      "loss": total,
      "reference_point": means.weighted_mean(
        jnp.broadcast_to(kl, real.shape), real
      ),
      "desirable": means.weighted_mean(desirable.astype(jnp.float32), real),
      "rewards/desirable": means.weighted_mean(
        implicit, jnp.where(desirable, real, 0.0)
      ),
      "rewards/undesirable": means.weighted_mean(
        implicit, jnp.where(desirable, 0.0, real)
      ),
      "logps/policy": means.weighted_mean(policy, real),
      "empty_responses": means.weighted_mean(1.0 - real, jnp.ones_like(real)),
    }

  return Algorithm(rollouts.with_reference, None, loss, frozen)
