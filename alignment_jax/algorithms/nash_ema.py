"""Nash-EMA (Munos et al., 2023, arXiv:2312.00886)."""

import jax
import jax.numpy as jnp

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import games
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


def nash_ema(
  model: Model, *, sampling: rollouts.Sampling, tau: float, decay: float
) -> Algorithm:
  """Nash-EMA-PG: play against a moving average of the policy's parameters.

  After each optimiser step

      average <- decay average + (1 - decay) policy

  from the policy at the start. The paper prints (1 - beta) policy + beta start
  instead; its name and motive ask for the recursion. decay = 0 is self-play,
  1 plays against the start for ever, under both.

  Args:
    model: the network.
    sampling: `samples` responses of the policy, and as many of the average;
      each of the policy's meets all of the average's.
    tau: strength of the KL regularisation, > 0, win rate per nat.
    decay: memory of the average, in [0, 1]; 0.999 to 0.9999 in the paper.
  """
  guards.fraction(decay=decay)

  def init(key, policy_params):
    trainable, slow = rollouts.with_reference(key, policy_params)
    # A copy: the train state is donated, and no buffer can be donated twice.
    return trainable, {**slow, "average": jax.tree.map(jnp.copy, policy_params)}

  def opponent(trainable, slow, prompt, key):
    del trainable
    return rollouts.respond(
      model, slow["average"], prompt, key, sampling, sampling.samples
    )

  def refresh(trainable, slow, step, metrics):
    del step, metrics
    average = losses.ema(slow["average"], trainable["policy"], decay=decay)
    return trainable, {**slow, "average": average}

  return games.against(
    model, sampling, tau=tau, opponent=opponent, init=init, refresh=refresh
  )
