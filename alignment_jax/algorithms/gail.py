"""Generative adversarial imitation (Ho and Ermon, 2016, arXiv:1606.03476)."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import errors, losses, rollouts, scoring
from alignment_jax.algorithm import Algorithm, Metrics, Rollouts, frozen
from alignment_jax.families import kl_control
from alignment_jax.models import heads
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean
from alignment_jax.types import Feedback, Rollout, Tokens


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
  policy's optimizer. Dropout is off.

  Args:
    model: the network.
    sampling: at least two samples; the others are the baseline of each.
    beta: strength of the KL regularization, >= 0, reward per nat.
    imitation: weight of -log policy(demonstration), >= 0, reward per nat.
    pooling: how the discriminator reads a response: `last` or `mean`.
  """
  sampling.at_least(2, "gail")
  guards.non_negative(beta=beta, imitation=imitation)
  if pooling not in scoring.POOLINGS:
    raise errors.unknown("pooling", pooling, scoring.POOLINGS)

  def init(key: Key[Array, ""], policy_params: PyTree) -> tuple[PyTree, PyTree]:
    trainable, slow = rollouts.with_reference(key, policy_params)
    trainable["discriminator"] = {
      "network": policy_params,
      "head": heads.init_scalar(key, model.settings.width),
    }
    return trainable, slow

  def logits_of(trainable: PyTree, rollout: Rollout) -> dict[str, Array]:
    """Log-odds that each response, [B, K], is a demonstration, and that the
    demonstration, [B, 1], is one."""
    return rollouts.in_one_pass(
      lambda responses: scoring.rewards(
        model,
        trainable["discriminator"],
        rollout.prompt,
        responses,
        pooling=pooling,
      ),
      responses=rollout.responses,
      demonstration=_as_responses(rollout.need("demonstration")),
    )

  def prepare(
    trainable: PyTree, slow: PyTree, rollout: Rollout, feedback: Feedback
  ) -> rollouts.Experience:
    del feedback
    rewards = losses.gail_reward(logits_of(trainable, rollout)["responses"])
    experience = rollouts.Experience(
      rollout=rollout,
      feedback=rollouts.penalized(Feedback(rewards=rewards), rollout, sampling),
      reference=rollouts.token_logprobs(
        model, slow["reference"], rollout.prompt, rollout.responses, sampling
      ),
      extra={},
    )
    penalty = beta * kl_control.sampled(experience)
    advantages = losses.rloo_advantages(
      experience.feedback.need("rewards") - penalty
    )
    return dataclasses.replace(experience, extra={"advantages": advantages})

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    rollout = batch.rollout
    demonstration = _as_responses(rollout.need("demonstration"))
    tokens = rollouts.in_one_pass(
      lambda responses: rollouts.token_logprobs(
        model, trainable["policy"], rollout.prompt, responses, sampling
      ),
      responses=rollout.responses,
      demonstration=demonstration,
    )
    policy_loss = losses.reinforce_loss(
      rollouts.sequence_logprobs(tokens["responses"], rollout.responses),
      batch.extra["advantages"],
    ).mean(axis=-1)
    imitation_loss = losses.cross_entropy_loss(
      rollouts.sequence_logprobs(tokens["demonstration"], demonstration)[:, 0]
    )

    logits = logits_of(trainable, rollout)
    samples, experts = logits["responses"], logits["demonstration"]
    mistakes = {
      name: losses.gail_discriminator_loss(
        of_part, jnp.full(of_part.shape, name == "demonstration")
      )
      for name, of_part in logits.items()
    }
    # One for one: K samples weigh as much as the demonstration.
    discriminator_loss = mistakes["responses"].mean(axis=-1)
    discriminator_loss += mistakes["demonstration"][:, 0]
    total = rollouts.batch_mean(
      policy_loss + imitation * imitation_loss + discriminator_loss
    )
    return total, {
      "loss": total,
      "loss/imitation": rollouts.batch_mean(imitation_loss),
      "loss/discriminator": rollouts.batch_mean(discriminator_loss),
      "discriminator/right_of_samples": rollouts.batch_mean(
        (samples <= 0).astype(jnp.float32)
      ),
      "discriminator/right_of_demonstrations": rollouts.batch_mean(
        (experts > 0).astype(jnp.float32)
      ),
      **rollouts.rollout_metrics(batch, tokens["responses"]),
    }

  return Algorithm(
    init,
    Rollouts(rollouts.sample_policy(model, sampling), "none", prepare),
    loss,
    frozen,
  )


def _as_responses(demonstration: Tokens) -> Tokens:
  """[B, T] as one response to each prompt, [B, 1, T]."""
  return jax.tree.map(lambda array: array[:, None], demonstration)
