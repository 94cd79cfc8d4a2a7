"""Self-play preference optimisation (Wu et al., 2024, arXiv:2405.00675)."""

import jax
import jax.numpy as jnp

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Rollouts
from alignment_jax.families import iterations, online_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


def sppo(
  model: Model, *, sampling: rollouts.Sampling, eta: float, refresh_every: int
) -> Algorithm:
  """Regress log-ratios on win rates against the policy of the last iteration.

  Of K responses of the previous policy the best and the worst learn, as in the
  paper's experiments (K = 5): the loss is (rho - eta (P - 1/2))^2 of each, rho
  the log-ratio to the previous policy and P the mean preference over all K. The
  response itself is among them, which shrinks P - 1/2 by (K - 1) / K. There is
  no other reference. Where all are equally good the target of both is 0.

  `log_ratio` among its metrics is to the previous policy, over its responses.

  Args:
    model: the network.
    sampling: at least two responses of the previous policy.
    eta: step size of an iteration, > 0, in nats per win rate.
    refresh_every: optimiser steps of an iteration, >= 1.
  """
  sampling.at_least(2, "sppo")
  guards.positive(eta=eta)

  def init(key, policy_params):
    del key
    # A copy: the train state is donated, and no buffer can be donated twice.
    previous = jax.tree.map(jnp.copy, policy_params)
    return {"policy": policy_params}, {"previous": previous}

  def prepare(trainable, slow, rollout, scores):
    # Not `slow["previous"]`: the next iteration may have begun meanwhile.
    del trainable, slow
    return rollouts.Experience(
      rollout=rollout,
      scores=rollouts.penalised(scores, rollout.ended, sampling),
      reference=rollout.logprobs,
      extra={},
    )

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout = batch.rollout
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    wins = online_pairs.strengths(batch.scores)
    sides = (
      online_pairs.take(values, places[:, None])
      for values in (
        rollouts.sequence_logprobs(tokens, rollout),
        rollouts.sequence_logprobs(batch.reference, rollout),
        wins,
      )
      for places in online_pairs.extremes(wins)
    )
    total = rollouts.batch_mean(losses.sppo_loss(*sides, eta=eta))
    return total, {
      "loss": total,
      "win_rate/best": rollouts.batch_mean(jnp.max(wins, axis=-1)),
      "win_rate/worst": rollouts.batch_mean(jnp.min(wins, axis=-1)),
      **rollouts.offpolicy_metrics(batch, tokens),
    }

  return Algorithm(
    init,
    Rollouts(
      iterations.sample_previous(model, sampling), "preference", prepare
    ),
    loss,
    iterations.next_iteration(refresh_every),
  )
