"""Self-play preference optimisation (Wu et al., 2024, arXiv:2405.00675)."""

import jax
import jax.numpy as jnp

from alignment_jax import losses
from alignment_jax.algorithms import base, comparisons, iterations, online
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.types import Prompts


def sppo(
  model: Model, *, sampling: online.Sampling, eta: float, refresh_every: int
) -> base.Algorithm:
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
    return online.Experience(
      rollout=rollout,
      scores=online.penalised(scores, rollout.ended, sampling),
      reference=rollout.logprobs,
      extra={},
    )

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout = batch.rollout
    tokens = online.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    wins = comparisons.strengths(batch.scores)
    sides = (
      comparisons.take(values, places[:, None])
      for values in (
        online.sequence(tokens, rollout),
        online.sequence(batch.reference, rollout),
        wins,
      )
      for places in comparisons.extremes(wins)
    )
    total = online.mean(losses.sppo_loss(*sides, eta=eta))
    return total, {
      "loss": total,
      "win_rate/best": online.mean(jnp.max(wins, axis=-1)),
      "win_rate/worst": online.mean(jnp.min(wins, axis=-1)),
      **online.report_elsewhere(batch, tokens),
    }

  return base.Algorithm(
    init,
    base.Collect(
      iterations.sample_previous(model, sampling), "preference", prepare
    ),
    loss,
    iterations.next_iteration(refresh_every),
    Prompts,
  )
