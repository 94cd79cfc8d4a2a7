"""Fine-tuning on the best of several samples."""

import jax
import jax.numpy as jnp

from alignment_jax import losses
from alignment_jax.algorithms import base, online
from alignment_jax.models.base import Model
from alignment_jax.types import Prompts


def best_of_n(model: Model, *, sampling: online.Sampling) -> base.Algorithm:
  """Imitate the sample that the judge likes best.

  Best-of-2 SFT of Noukhovitch et al., 2024 (arXiv:2410.18252), for any number
  of samples. While the policy is the one that sampled, the expected gradient is
  that of KL(best of K || policy), the best of K held constant. No KL to the
  reference holds it back; its reference is only measured against.

  Args:
    model: the network.
    sampling: K >= 2 samples; of several best the first is imitated.
  """
  sampling.at_least(2, "best_of_n")

  def extra(trainable, slow, experience):
    del trainable, slow
    return {"best": jnp.argmax(experience.scores, axis=-1)}

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout = batch.rollout
    tokens = online.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    policy = online.sequence(tokens, rollout)
    is_best = jax.nn.one_hot(
      batch.extra["best"], sampling.samples, dtype=policy.dtype
    )
    total = online.mean(
      losses.cross_entropy_loss(jnp.sum(policy * is_best, axis=-1))
    )
    return total, {
      "loss": total,
      "rewards/best": online.mean(jnp.max(batch.scores, axis=-1)),
      **online.report(batch, tokens),
    }

  return base.Algorithm(
    online.with_reference,
    online.collect(model, sampling, extra=extra),
    loss,
    base.frozen,
    Prompts,
  )
