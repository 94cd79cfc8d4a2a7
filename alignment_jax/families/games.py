"""What methods share that follow the gradient of a preference game.

Munos et al., 2023 (arXiv:2312.00886, v4): the policy climbs

    P(policy beats opponent) - tau KL(policy || reference)

with the opponent held constant; who the opponent is makes the method. The
estimate is grad log policy(y) (P(y beats y') - 1/2 - tau log-ratio(y)), the
log-ratio that of the whole response.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax import losses, rollouts
from alignment_jax import sampling as engine
from alignment_jax.algorithm import Algorithm, Rollouts, frozen
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.types import Tokens


def against(
  model: Model,
  sampling: rollouts.Sampling,
  *,
  tau: float,
  opponent: Callable,
  init: Callable = rollouts.with_reference,
  refresh: Callable = frozen,
) -> Algorithm:
  """The game of the policy against somebody else.

  A rollout holds `samples` responses of the policy and then as many of the
  opponent. Each of the policy's meets all of the opponent's.

  Args:
    model: the network.
    sampling: of both players.
    tau: strength of the KL regularisation, > 0, win rate per nat.
    opponent: (trainable, slow, prompt, key) -> responses [B, K, T].
    init: of the algorithm; keeps a `reference`.
    refresh: of the algorithm.
  """
  count = sampling.samples

  def sample(trainable, slow, batch, key):
    own_key, other_key = jax.random.split(key)
    policy, prompt = trainable["policy"], batch.prompt
    own = rollouts.respond(model, policy, prompt, own_key, sampling, count)
    other = opponent(trainable, slow, prompt, other_key)
    return rollouts.rollout_of(
      model, policy, prompt, side_by_side(own, other), sampling
    )

  def win_rates(preferences):
    return jnp.mean(preferences[:, :count, count:], axis=-1)

  return game(
    model,
    sampling,
    tau=tau,
    sample=sample,
    win_rates=win_rates,
    init=init,
    refresh=refresh,
  )


def game(
  model: Model,
  sampling: rollouts.Sampling,
  *,
  tau: float,
  sample: Callable,
  win_rates: Callable[[Float[Array, "B K K"]], Float[Array, "B N"]],
  init: Callable = rollouts.with_reference,
  refresh: Callable = frozen,
) -> Algorithm:
  """The game with any rollout.

  Args:
    model: the network.
    sampling: of the rollout.
    tau: strength of the KL regularisation, > 0, win rate per nat.
    sample: of the algorithm; the first responses are the policy's.
    win_rates: preferences -> how often each of the policy's responses beats
      the opponent; it says how many those are.
    init: of the algorithm; keeps a `reference`.
    refresh: of the algorithm.
  """
  guards.positive(tau=tau)

  def prepare(trainable, slow, rollout, scores):
    del trainable
    wins = win_rates(rollouts.penalised(scores, rollout.ended, sampling))
    own = rollouts.take_responses(rollout, wins.shape[1])
    reference = rollouts.token_logprobs(
      model, slow["reference"], own.prompt, own.responses, sampling
    )
    return rollouts.Experience(
      rollout=own, scores=wins, reference=reference, extra={}
    )

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout = batch.rollout
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    per_response = losses.nash_md_pg_loss(
      rollouts.sequence_logprobs(tokens, rollout),
      rollouts.sequence_logprobs(batch.reference, rollout),
      batch.scores,
      tau=tau,
    )
    total = rollouts.batch_mean(per_response)
    undecided = jnp.abs(batch.scores - 0.5) < 1e-6
    return total, {
      "loss": total,
      "win_rate": rollouts.batch_mean(batch.scores),
      "win_rate/undecided": rollouts.batch_mean(undecided.astype(jnp.float32)),
      **rollouts.policy_shift_metrics(rollout, batch.reference, tokens),
    }

  return Algorithm(init, Rollouts(sample, "preference", prepare), loss, refresh)


def mixture(
  model: Model, sampling: rollouts.Sampling, *, beta: float
) -> Callable:
  """Responses of the geometric mixture of policy and reference, as `opponent`.

  policy^(1 - beta) reference^beta, normalised token by token as in the
  experiments of Munos et al.; that is not the mixture of whole responses.

  Raises:
    UserError: beta is outside [0, 1].
  """
  distribution = engine.geometric_mixture(model, model, beta=beta)

  def respond(trainable, slow, prompt, key):
    return rollouts.respond(
      distribution,
      (trainable["policy"], slow["reference"]),
      prompt,
      key,
      sampling,
      sampling.samples,
    )

  return respond


def side_by_side(own: Tokens, other: Tokens) -> Tokens:
  """Responses [B, K, T] of two, one after the other."""
  return jax.tree.map(
    lambda *arrays: jnp.concatenate(arrays, axis=1), own, other
  )
