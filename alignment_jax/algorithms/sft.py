"""Supervised fine-tuning: imitate demonstrations."""

import jax
import jax.numpy as jnp

from alignment_jax import losses, scoring
from alignment_jax.algorithm import Algorithm, frozen
from alignment_jax.models.base import Model
from alignment_jax.ops import means


def sft(model: Model) -> Algorithm:
  """Maximise the likelihood of each response given its prompt.

  The mean is over the real response tokens of the batch; prompts are not
  learnt. Dropout is on if the model has any.
  """

  def init(key, policy_params):
    del key
    return {"policy": policy_params}, ()

  def loss(trainable, slow, batch, key):
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
