"""Offline inverse soft-Q learning (arXiv:2409.01369)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.families import soft_q as q_values
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, means
from alignment_jax.ops.means import Mean
from alignment_jax.types import Demonstration


def soft_q(
  model: Model, *, lam: float, eos_id: int, gamma: float = 1.0
) -> Algorithm:
  """Imitation with a temporal-difference term: logits are soft Q values.

  Wulfmeier et al., 2024, eq. 14. The likelihood of demonstrations, as in `sft`,
  and small rewards along them, which make demonstrated responses more equally
  likely. A response is terminal if it holds an end of sequence; what follows
  one that was cut is not known. The mean is over real response tokens. Dropout
  is on if the model has any.

  Args:
    model: the network.
    lam: weight of the second term, >= 0; 0 is `sft`.
    eos_id: ends a response.
    gamma: discount, in [0, 1].
  """
  guards.non_negative(lam=lam)
  guards.fraction(gamma=gamma)

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
    chosen_q, values = q_values.q_and_values(
      model, trainable["policy"], batch.prompt, responses, key=key
    )
    arrays = (
      chosen_q,
      values,
      responses.mask,
      rollouts.has_ended(responses, eos_id),
    )
    real = responses.mask.astype(jnp.float32)
    rewards = losses.soft_q_rewards(*arrays, gamma=gamma)
    total = means.weighted_mean(
      losses.soft_q_loss(*arrays, lam=lam, gamma=gamma), real
    )
    return total, {
      "loss": total,
      "loss/likelihood": means.weighted_mean(values - chosen_q, real),
      "rewards/token": means.weighted_mean(rewards, real),
      "rewards/squared": means.weighted_mean(jnp.square(rewards), real),
      "responses/ended": means.weighted_mean(
        arrays[3].astype(jnp.float32),
        jnp.any(responses.mask, axis=-1).astype(jnp.float32),
      ),
    }

  return Algorithm(init, None, loss, frozen)
