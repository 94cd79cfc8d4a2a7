"""A reward model from comparisons."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import errors, losses, scoring
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.families import calibration, offline_pairs
from alignment_jax.models import heads
from alignment_jax.models.base import Model
from alignment_jax.ops import means
from alignment_jax.ops.means import Mean
from alignment_jax.types import PreferencePair


def reward_model(model: Model, *, pooling: str = "last") -> Algorithm:
  """Fit a scalar on each response to preferences.

  Bradley-Terry likelihood, in expectation over raters where the data say how
  they disagree. The network starts from the policy, with a new scalar head on
  the response's state. Dropout is off, as in detail 7 of Huang et al., 2024
  (arXiv:2403.17031).

  Args:
    model: the network.
    pooling: `last` reads the state after the last token, as published reward
      models do; `mean` averages the states after each token, which a small
      model learns from far fewer pairs.
  """
  if pooling not in scoring.POOLINGS:
    raise errors.unknown("pooling", pooling, scoring.POOLINGS)

  def init(key: Key[Array, ""], policy_params: PyTree) -> tuple[PyTree, PyTree]:
    head = heads.init_scalar(key, model.settings.width)
    return {"reward": {"network": policy_params, "head": head}}, ()

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: PreferencePair,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    rewards = scoring.rewards(
      model,
      trainable["reward"],
      batch.prompt,
      offline_pairs.stack(batch),
      pooling=pooling,
    )
    chosen, rejected = rewards[:, 0], rewards[:, 1]
    weight, empty = offline_pairs.weights(batch)
    total = means.weighted_mean(
      offline_pairs.expected_over_label(
        losses.bradley_terry_loss, batch.probability, (chosen, rejected)
      ),
      weight,
    )
    return total, {
      "loss": total,
      "rewards/chosen": means.weighted_mean(chosen, weight),
      "rewards/rejected": means.weighted_mean(rejected, weight),
      "rewards/margins": means.weighted_mean(chosen - rejected, weight),
      "rewards/accuracies": means.weighted_mean(
        (chosen > rejected).astype(jnp.float32), weight
      ),
      "rewards/calibration_error": calibration.calibration_error(
        jax.nn.sigmoid(chosen - rejected), batch.probability, weight
      ),
      "empty_responses": empty,
    }

  return Algorithm(init, None, loss, frozen)
