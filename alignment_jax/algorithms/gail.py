"""Generative adversarial imitation (Ho and Ermon, 2016, arXiv:1606.03476)."""

import jax
import jax.numpy as jnp

from alignment_jax import errors, losses, rollouts, scoring
from alignment_jax.algorithm import Algorithm, Rollouts, frozen
from alignment_jax.families import kl_control
from alignment_jax.models import heads
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


def gail(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  beta: float,
  imitation: float,
  pooling: str = "last",
) -> Algorithm:
  """A discriminator tells demonstrations from samples; its doubt is the reward.

  For text as the baseline of Wulfmeier et al., 2024 (arXiv:2409.01369): the
  policy starts from one that imitates, its reward loses a KL to that start, and
  the likelihood of demonstrations stays in its loss. Which form of the reward
  they took is not known to us: here it is -log(1 - D) of the whole response.

  In one step the discriminator learns from the same samples that it rewards.
  Its network starts from the policy, with a new scalar head, and moves with the
  policy's optimiser. Dropout is off.

  Args:
    model: the network.
    sampling: at least two samples; the others are the baseline of each.
    beta: strength of the KL regularisation, >= 0, reward per nat.
    imitation: weight of -log policy(demonstration), >= 0, reward per nat.
    pooling: how the discriminator reads a response: `last` or `mean`.
  """
  sampling.at_least(2, "gail")
  guards.non_negative(beta=beta, imitation=imitation)
  if pooling not in scoring.POOLINGS:
    raise errors.unknown("pooling", pooling, scoring.POOLINGS)

  def init(key, policy_params):
    trainable, slow = rollouts.with_reference(key, policy_params)
    # A copy: the train state is donated, and no buffer can be donated twice.
    trainable["discriminator"] = {
      "network": jax.tree.map(jnp.copy, policy_params),
      "head": heads.init_scalar(key, model.settings.width),
    }
    return trainable, slow

  def logits_of(trainable, rollout):
    """[B, K + 1]: log-odds of a demonstration; of the real one the last."""
    return scoring.rewards(
      model,
      trainable["discriminator"],
      rollout.prompt,
      rollouts.with_demonstration(rollout),
      pooling=pooling,
    )

  def prepare(trainable, slow, rollout, nothing):
    del nothing
    rewards = losses.gail_reward(logits_of(trainable, rollout)[:, :-1])
    experience = rollouts.Experience(
      rollout=rollout,
      scores=rollouts.penalised(rewards, rollout.ended, sampling),
      reference=rollouts.token_logprobs(
        model, slow["reference"], rollout.prompt, rollout.responses, sampling
      ),
      extra={},
    )
    regularised = experience.scores - beta * kl_control.sampled(experience)
    return experience.replace(
      extra={"advantages": losses.rloo_advantages(regularised)}
    )

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout = batch.rollout
    tokens = rollouts.token_logprobs(
      model,
      trainable["policy"],
      rollout.prompt,
      rollouts.with_demonstration(rollout),
      sampling,
    )
    own = tokens[:, :-1, : rollout.responses.ids.shape[-1]]
    policy_loss = losses.reinforce_loss(
      rollouts.sequence_logprobs(own, rollout), batch.extra["advantages"]
    ).mean(axis=-1)
    imitation_loss = losses.cross_entropy_loss(jnp.sum(tokens[:, -1], axis=-1))

    logits = logits_of(trainable, rollout)
    is_expert = jnp.broadcast_to(
      jnp.arange(logits.shape[1])[None] == sampling.samples, logits.shape
    )
    mistakes = losses.gail_discriminator_loss(logits, is_expert)
    discriminator_loss = mistakes[:, :-1].mean(axis=-1) + mistakes[:, -1]
    total = rollouts.batch_mean(
      policy_loss + imitation * imitation_loss + discriminator_loss
    )
    right = ((logits > 0) == is_expert).astype(jnp.float32)
    return total, {
      "loss": total,
      "loss/imitation": rollouts.batch_mean(imitation_loss),
      "loss/discriminator": rollouts.batch_mean(discriminator_loss),
      "discriminator/right_of_samples": rollouts.batch_mean(right[:, :-1]),
      "discriminator/right_of_demonstrations": rollouts.batch_mean(
        right[:, -1]
      ),
      **rollouts.rollout_metrics(batch, own),
    }

  return Algorithm(
    init,
    Rollouts(rollouts.sample_policy(model, sampling), "none", prepare),
    loss,
    frozen,
  )
