"""Exploratory preference optimisation (Xie et al., 2024, arXiv:2405.21046)."""

import jax

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import games, offline_pairs, online_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


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
    beta: strength of the KL regularisation, > 0, per nat.
    alpha: strength of the optimism, >= 0; 0 is DPO on these pairs.
  """
  guards.positive(beta=beta)
  guards.non_negative(alpha=alpha)
  count = sampling.samples

  def sample(trainable, slow, batch, key):
    keys = jax.random.split(key)
    responses = (
      rollouts.respond(model, params, batch.prompt, key, sampling, count)
      for params, key in zip(
        (trainable["policy"], slow["reference"]), keys, strict=True
      )
    )
    return rollouts.rollout_of(
      model,
      trainable["policy"],
      batch.prompt,
      games.side_by_side(*responses),
      sampling,
    )

  def pair_loss(probability, policy, reference, sampled):
    del sampled
    _, of_reference = policy

    def loss(*chosen_and_rejected):
      return losses.xpo_loss(
        *chosen_and_rejected, of_reference, beta=beta, alpha=alpha
      )

    return offline_pairs.expected_over_label(
      loss, probability, policy, reference
    )

  def report(batch, tokens):
    wins = online_pairs.halves(batch.scores).probability
    return {
      "win_rate": rollouts.batch_mean(wins),
      **rollouts.policy_shift_metrics(
        rollouts.take_responses(batch.rollout, count),
        batch.reference[:, :count],
        tokens[:, :count],
      ),
    }

  return online_pairs.from_pairs(
    model,
    sampling,
    choose=online_pairs.halves,
    pair_loss=pair_loss,
    strength=beta,
    sample=sample,
    report=report,
  )
