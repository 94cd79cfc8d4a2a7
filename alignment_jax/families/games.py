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
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import (
  Algorithm,
  Init,
  Metrics,
  Refresh,
  Rollouts,
  Sample,
  frozen,
)
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean
from alignment_jax.sampling import geometric_mixture
from alignment_jax.types import Feedback, Prompts, Rollout, Tokens

# (trainable, slow, prompt, key) -> the opponents' responses, [B, J, T]
Opponent = Callable[[PyTree, PyTree, Tokens, Key[Array, ""]], Tokens]
# Preferences [B, K, J] -> how often each response of the policy wins, [B, K]
WinRates = Callable[[Float[Array, "B K J"]], Float[Array, "B K"]]


def against(
  model: Model,
  sampling: rollouts.Sampling,
  *,
  tau: float,
  opponent: Opponent,
  init: Init = rollouts.with_reference,
  refresh: Refresh = frozen,
) -> Algorithm:
  """The game of the policy against another.

  Each of the policy's responses meets all of the opponent's.

  Args:
    model: the network.
    sampling: of both players.
    tau: strength of the KL regularization, > 0, win rate per nat.
    opponent: (trainable, slow, prompt, key) -> responses [B, J, T].
    init: of the algorithm; keeps a `reference`.
    refresh: of the algorithm.
  """

  def sample(
    trainable: PyTree, slow: PyTree, batch: Prompts, key: Key[Array, ""]
  ) -> Rollout:
    policy_key, opponent_key = jax.random.split(key)
    policy, prompt = trainable["policy"], batch.prompt
    return rollouts.rollout_of(
      model,
      policy,
      prompt,
      rollouts.respond(
        model, policy, prompt, policy_key, sampling, sampling.samples
      ),
      sampling,
      opponents=opponent(trainable, slow, prompt, opponent_key),
    )

  def win_rates(preferences: Float[Array, "B K J"]) -> Float[Array, "B K"]:
    return jnp.mean(preferences, axis=-1)

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
  sample: Sample,
  win_rates: WinRates,
  init: Init = rollouts.with_reference,
  refresh: Refresh = frozen,
) -> Algorithm:
  """The game with any rollout.

  Args:
    model: the network.
    sampling: of the rollout.
    tau: strength of the KL regularization, > 0, win rate per nat.
    sample: of the algorithm.
    win_rates: preferences -> how often each of the policy's responses wins.
    init: of the algorithm; keeps a `reference`.
    refresh: of the algorithm.
  """
  guards.positive(tau=tau)

  def prepare(
    trainable: PyTree, slow: PyTree, rollout: Rollout, feedback: Feedback
  ) -> rollouts.Experience:
    del trainable
    feedback = rollouts.penalized(feedback, rollout, sampling)
    return rollouts.Experience(
      rollout=rollout,
      feedback=feedback,
      reference=rollouts.token_logprobs(
        model, slow["reference"], rollout.prompt, rollout.responses, sampling
      ),
      extra={"win_rates": win_rates(feedback.need("preferences"))},
    )

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    rollout, wins = batch.rollout, batch.extra["win_rates"]
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    per_response = losses.nash_md_pg_loss(
      rollouts.sequence_logprobs(tokens, rollout.responses),
      rollouts.sequence_logprobs(batch.reference, rollout.responses),
      wins,
      tau=tau,
    )
    total = rollouts.batch_mean(per_response)
    undecided = jnp.abs(wins - 0.5) < rollouts.TIE
    return total, {
      "loss": total,
      "win_rate": rollouts.batch_mean(wins),
      "win_rate/undecided": rollouts.batch_mean(undecided.astype(jnp.float32)),
      **rollouts.policy_shift_metrics(rollout, batch.reference, tokens),
    }

  return Algorithm(
    init,
    Rollouts(sample, "preference", prepare),
    loss,
    refresh,
  )


def mixture(
  model: Model, sampling: rollouts.Sampling, *, beta: float
) -> Opponent:
  """Responses of the geometric mixture of policy and reference, as `opponent`.

  policy^(1 - beta) reference^beta, normalized token by token as in the
  experiments of Munos et al.; that is not the mixture of whole responses.

  Raises:
    UserError: beta is outside [0, 1].
  """
  distribution = geometric_mixture(model, model, beta=beta)

  def respond(
    trainable: PyTree, slow: PyTree, prompt: Tokens, key: Key[Array, ""]
  ) -> Tokens:
    return rollouts.respond(
      distribution,
      (trainable["policy"], slow["reference"]),
      prompt,
      key,
      sampling,
      sampling.samples,
    )

  return respond
