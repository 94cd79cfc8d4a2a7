"""Self-play preference optimization (Wu et al., 2024, arXiv:2405.00675)."""

import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics, Rollouts
from alignment_jax.families import iterations, online_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean
from alignment_jax.types import Feedback, Rollout


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
    refresh_every: optimizer steps of an iteration, >= 1.
  """
  sampling.at_least(2, "sppo")
  guards.positive(eta=eta)

  def init(
    key: Key[Array, ""] | None, policy_params: PyTree
  ) -> tuple[PyTree, PyTree]:
    del key
    return {"policy": policy_params}, {"previous": policy_params}

  def prepare(
    trainable: PyTree, slow: PyTree, rollout: Rollout, feedback: Feedback
  ) -> rollouts.Experience:
    # Not `slow["previous"]`: the next iteration may have begun meanwhile.
    del trainable, slow
    return rollouts.Experience(
      rollout=rollout,
      feedback=rollouts.penalized(feedback, rollout, sampling),
      reference=rollout.logprobs,
      extra={},
    )

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    rollout = batch.rollout
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    wins = online_pairs.mean_win_rates(batch.feedback.need("preferences"))
    of_best_and_worst = (
      online_pairs.gather(values, indices[:, None])
      for values in (
        rollouts.sequence_logprobs(tokens, rollout.responses),
        rollouts.sequence_logprobs(batch.reference, rollout.responses),
        wins,
      )
      for indices in online_pairs.best_and_worst_indices(wins)
    )
    total = rollouts.batch_mean(losses.sppo_loss(*of_best_and_worst, eta=eta))
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
