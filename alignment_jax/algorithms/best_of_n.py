"""Fine-tuning on the best of several samples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.models.base import Model
from alignment_jax.ops.means import Mean


def best_of_n(model: Model, *, sampling: rollouts.Sampling) -> Algorithm:
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

  def extra(
    trainable: PyTree, slow: PyTree, experience: rollouts.Experience
  ) -> dict[str, Array]:
    del trainable, slow
    return {"best": jnp.argmax(experience.feedback.need("rewards"), axis=-1)}

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
    policy = rollouts.sequence_logprobs(tokens, rollout.responses)
    is_best = jax.nn.one_hot(
      batch.extra["best"], sampling.samples, dtype=policy.dtype
    )
    total = rollouts.batch_mean(
      losses.cross_entropy_loss(jnp.sum(policy * is_best, axis=-1))
    )
    return total, {
      "loss": total,
      "rewards/best": rollouts.batch_mean(
        jnp.max(batch.feedback.need("rewards"), axis=-1)
      ),
      **rollouts.rollout_metrics(batch, tokens),
    }

  return Algorithm(
    rollouts.with_reference,
    rollouts.sampled_from_policy(model, sampling, extra=extra),
    loss,
    frozen,
  )
