"""What methods share whose baseline is the group: GRPO and its descendants.

They differ in the advantages of a group, in the ratio that is clipped, and in
how tokens are added up; each of these is in the method's own file.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import rollouts
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.models.base import Model
from alignment_jax.ops.means import Mean

# (log-probabilities of tokens under the policy, Experience) -> the loss
ReducedLoss = Callable[[Float[Array, "B K T"], rollouts.Experience], Mean]
# Experience -> `Experience.extra`, with "advantages" [B, K] in it
Advantages = Callable[[rollouts.Experience], dict[str, Any]]


def group_relative(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  advantages: Advantages,
  reduced_loss: ReducedLoss,
) -> Algorithm:
  """A method that compares the responses to one prompt with each other.

  Args:
    model: the network.
    sampling: at least two samples.
    advantages: computed once for all epochs.
    reduced_loss: the clipped surrogate with its one reduction.
  """

  def extra(
    trainable: PyTree, slow: PyTree, experience: rollouts.Experience
  ) -> dict[str, Any]:
    del trainable, slow
    return advantages(experience)

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
    total = reduced_loss(tokens, batch)
    size = jnp.abs(batch.extra["advantages"])
    return total, {
      "loss": total,
      "advantages/size": rollouts.batch_mean(size),
      **rollouts.rollout_metrics(batch, tokens),
    }

  return Algorithm(
    rollouts.with_reference,
    rollouts.sampled_from_policy(model, sampling, extra=extra),
    loss,
    frozen,
  )
