"""Nash-EMA (Munos et al., 2023, arXiv:2312.00886)."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import games
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.types import Tokens


def nash_ema(
  model: Model, *, sampling: rollouts.Sampling, tau: float, decay: float
) -> Algorithm:
  """Nash-EMA-PG: play against a moving average of the policy's parameters.

  After each optimizer step

      average <- decay average + (1 - decay) policy

  from the policy at the start. The paper prints (1 - beta) policy + beta start
  instead; its name and motive ask for the recursion. decay = 0 is self-play,
  1 plays against the start for ever, under both.

  Args:
    model: the network.
    sampling: `samples` responses of the policy, and as many of the average;
      each of the policy's meets all of the average's.
    tau: strength of the KL regularization, > 0, win rate per nat.
    decay: memory of the average, in [0, 1]; 0.999 to 0.9999 in the paper.
  """
  guards.fraction(decay=decay)

  def init(
    key: Key[Array, ""] | None, policy_params: PyTree
  ) -> tuple[PyTree, PyTree]:
    trainable, slow = rollouts.with_reference(key, policy_params)
    return trainable, {**slow, "average": policy_params}

  def opponent(
    trainable: PyTree, slow: PyTree, prompt: Tokens, key: Key[Array, ""]
  ) -> Tokens:
    del trainable
    return rollouts.respond(
      model, slow["average"], prompt, key, sampling, sampling.samples
    )

  def refresh(
    trainable: PyTree, slow: PyTree, step: Any, metrics: Mapping[str, Any]
  ) -> tuple[PyTree, PyTree]:
    del step, metrics
    average = losses.ema(slow["average"], trainable["policy"], decay=decay)
    return trainable, {**slow, "average": average}

  return games.against(
    model, sampling, tau=tau, opponent=opponent, init=init, refresh=refresh
  )
