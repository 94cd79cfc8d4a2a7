"""Supervised fine-tuning: imitate demonstrations."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import losses, scoring
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.models.base import Model
from alignment_jax.ops import means
from alignment_jax.ops.means import Mean
from alignment_jax.types import Demonstration


def sft(model: Model) -> Algorithm:
  """Maximize the likelihood of each response given its prompt.

  The mean is over the real response tokens of the batch; prompts are not
  learnt. Dropout is on if the model has any.
  """

  def init(
    key: Key[Array, ""] | None, policy_params: PyTree
  ) -> tuple[PyTree, PyTree]:
    del key
    return {"policy": policy_params}, ()

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: Demonstration,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow
    responses = jax.tree.map(lambda a: a[:, None], batch.response)
    logprobs, greedy = scoring.token_statistics(
      model,
      trainable["policy"],
      batch.prompt,
      responses,
      scoring.logprob,
      scoring.is_greedy,
      key=key,
    )
    real = responses.mask.astype(jnp.float32)
    total = means.weighted_mean(losses.cross_entropy_loss(logprobs), real)
    return total, {
      "loss": total,
      "accuracy": means.weighted_mean(greedy, real),
    }

  return Algorithm(init, None, loss, frozen)
