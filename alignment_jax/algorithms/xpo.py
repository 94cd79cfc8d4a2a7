"""Exploratory preference optimization (Xie et al., 2024, arXiv:2405.21046)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics, Rollouts, frozen
from alignment_jax.families import offline_pairs, online_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean
from alignment_jax.types import Feedback, Prompts, Rollout, Tokens


def xpo(
  model: Model, *, sampling: rollouts.Sampling, beta: float, alpha: float
) -> Algorithm:
  """DPO of the policy against the reference, with a bonus for what is new.

  Algorithm 1 of the paper: a response of the policy and one of the reference
  are a pair, and alpha log policy(y_ref) is added to its DPO loss. The loss is
  in expectation over the pair's label. The paper learns from all pairs so far;
  here from those of one rollout.

  Args:
    model: the network.
    sampling: `samples` responses of the policy, and as many of the reference;
      the i-th of each are a pair. One is the paper's.
    beta: strength of the KL regularization, > 0, per nat.
    alpha: strength of the optimism, >= 0; 0 is DPO on these pairs.
  """
  guards.positive(beta=beta)
  guards.non_negative(alpha=alpha)

  def sample(
    trainable: PyTree, slow: PyTree, batch: Prompts, key: Key[Array, ""]
  ) -> Rollout:
    policy_key, reference_key = jax.random.split(key)

    def respond(params: PyTree, key: Key[Array, ""]) -> Tokens:
      return rollouts.respond(
        model, params, batch.prompt, key, sampling, sampling.samples
      )

    return rollouts.rollout_of(
      model,
      trainable["policy"],
      batch.prompt,
      respond(trainable["policy"], policy_key),
      sampling,
      opponents=respond(slow["reference"], reference_key),
    )

  def token_logprobs(params: PyTree, rollout: Rollout) -> dict[str, Array]:
    """Of the responses and of the opponents', which this method learns too."""
    return rollouts.in_one_pass(
      lambda responses: rollouts.token_logprobs(
        model, params, rollout.prompt, responses, sampling
      ),
      responses=rollout.responses,
      opponents=rollout.need("opponents"),
    )

  def prepare(
    trainable: PyTree, slow: PyTree, rollout: Rollout, feedback: Feedback
  ) -> rollouts.Experience:
    del trainable
    reference = token_logprobs(slow["reference"], rollout)
    return rollouts.Experience(
      rollout=rollout,
      feedback=rollouts.penalized(feedback, rollout, sampling),
      reference=reference["responses"],
      extra={"opponents_reference": reference["opponents"]},
    )

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    rollout = batch.rollout
    tokens = token_logprobs(trainable["policy"], rollout)
    policy, reference = (
      (
        rollouts.sequence_logprobs(of_responses, rollout.responses),
        rollouts.sequence_logprobs(of_opponents, rollout.need("opponents")),
      )
      for of_responses, of_opponents in (
        (tokens["responses"], tokens["opponents"]),
        (batch.reference, batch.extra["opponents_reference"]),
      )
    )
    # The i-th response with the i-th of the reference.
    wins = jnp.diagonal(batch.feedback.need("preferences"), axis1=1, axis2=2)

    def pair_loss(
      policy_chosen: Float[Array, "B K"],
      policy_rejected: Float[Array, "B K"],
      reference_chosen: Float[Array, "B K"],
      reference_rejected: Float[Array, "B K"],
    ) -> Float[Array, "B K"]:
      return losses.xpo_loss(
        policy_chosen,
        policy_rejected,
        reference_chosen,
        reference_rejected,
        policy[1],
        beta=beta,
        alpha=alpha,
      )

    total = rollouts.batch_mean(
      offline_pairs.expected_over_label(pair_loss, wins, policy, reference)
    )
    return total, {
      "loss": total,
      **online_pairs.margin_metrics(
        policy, reference, wins, jnp.ones_like(wins), reward_scale=beta
      ),
      "win_rate": rollouts.batch_mean(wins),
      **rollouts.policy_shift_metrics(
        rollout, batch.reference, tokens["responses"]
      ),
    }

  return Algorithm(
    rollouts.with_reference,
    Rollouts(sample, "preference", prepare),
    loss,
    frozen,
  )
