"""Online inverse soft-Q learning (Wulfmeier et al., 2024, arXiv:2409.01369)."""

import jax.numpy as jnp

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Rollouts, frozen
from alignment_jax.algorithms.soft_q import q_and_values, terminal
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


def soft_q_online(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  lam: float,
  mix: float,
  gamma: float = 1.0,
) -> Algorithm:
  """`soft_q` with small rewards along the policy's own samples as well.

  Eq. 16. No judge: the samples only say where rewards are kept small. The loss
  is the mean over tokens of demonstrations plus the mean over tokens of
  samples. Q is the logit divided by the temperature of sampling. Dropout is
  off.

  Args:
    model: the network.
    sampling: one sample is enough.
    lam: weight of the squared rewards, >= 0.
    mix: share of the samples in them, in [0, 1]; 0.1 in the paper, 0 is
      `soft_q`.
    gamma: discount, in [0, 1].
  """
  guards.non_negative(lam=lam)
  guards.fraction(mix=mix, gamma=gamma)

  def prepare(trainable, slow, rollout, nothing):
    del trainable
    rows = len(rollout.ended)

    def share(tokens):
      """What a token counts in the mean over all such tokens, times B."""
      count = jnp.maximum(jnp.sum(tokens.mask), 1).astype(jnp.float32)
      return jnp.full((rows,), rows / count)

    # Over the whole batch: `loss` may see parts of it.
    return rollouts.Experience(
      rollout=rollout,
      scores=nothing,
      reference=rollouts.token_logprobs(
        model, slow["reference"], rollout.prompt, rollout.responses, sampling
      ),
      extra={
        "of_demonstration": share(rollout.demonstration),
        "of_sample": share(rollout.responses),
      },
    )

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout = batch.rollout
    responses = rollouts.with_demonstration(rollout)
    chosen_q, values = q_and_values(
      model,
      trainable["policy"],
      rollout.prompt,
      responses,
      temperature=sampling.temperature,
    )
    ends = terminal(responses, sampling.eos_id)
    is_expert = jnp.broadcast_to(
      jnp.arange(responses.ids.shape[1])[None] == sampling.samples, ends.shape
    )
    arrays = (chosen_q, values, responses.mask, ends)
    per_response = jnp.sum(
      losses.soft_q_mixed_loss(
        *arrays, is_expert, lam=lam, mix=mix, gamma=gamma
      ),
      axis=-1,
    )
    share = jnp.where(
      is_expert,
      batch.extra["of_demonstration"][:, None],
      batch.extra["of_sample"][:, None],
    )
    total = rollouts.batch_mean(jnp.sum(share * per_response, axis=-1))
    rewards = jnp.sum(losses.soft_q_rewards(*arrays, gamma=gamma), axis=-1)
    likelihood = jnp.sum(values[:, -1] - chosen_q[:, -1], axis=-1)
    length = rollout.responses.ids.shape[-1]
    return total, {
      "loss": total,
      "loss/likelihood": rollouts.batch_mean(
        batch.extra["of_demonstration"] * likelihood
      ),
      "rewards/demonstration": rollouts.batch_mean(rewards[:, -1]),
      "rewards/sample": rollouts.batch_mean(rewards[:, :-1]),
      **rollouts.policy_shift_metrics(
        rollout,
        batch.reference,
        (chosen_q - values)[:, :-1, :length],
      ),
    }

  return Algorithm(
    rollouts.with_reference,
    Rollouts(rollouts.sample_policy(model, sampling), "none", prepare),
    loss,
    frozen,
  )
