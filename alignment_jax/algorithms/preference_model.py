"""A preference model (Munos et al., 2023, arXiv:2312.00886)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import losses, scoring
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.families import calibration, offline_pairs
from alignment_jax.models import heads
from alignment_jax.models.base import Model
from alignment_jax.ops import means
from alignment_jax.ops.means import Mean
from alignment_jax.types import PreferencePair


def preference_model(
  model: Model, *, template: Sequence[Sequence[int]]
) -> Algorithm:
  """Fit P(first preferred to second) of a network that reads both responses.

  Not bound to a reward, so it can learn that preferences go round in a circle.
  Each pair is read in both orders and the two losses are averaged; where raters
  disagree, the loss is in expectation over them. The network starts from the
  policy, with a new scalar head on the state behind both responses. Dropout is
  off.

  Args:
    model: the network.
    template: token ids before the first response, before the second, and after
      it; see `scoring.template_of`.

  Raises:
    ValueError: the template has other than three parts.
  """
  around = scoring.template_of(template)

  def init(key: Key[Array, ""], policy_params: PyTree) -> tuple[PyTree, PyTree]:
    head = heads.init_scalar(key, model.settings.width)
    return {"preference": {"network": policy_params, "head": head}}, ()

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: PreferencePair,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    # Both orders as rows; those of one pair stay on one device.
    prompt, first, second = (
      jax.tree.map(
        lambda *pair: jnp.stack(pair, axis=1).reshape(-1, pair[0].shape[-1]),
        *pair,
      )
      for pair in (
        (batch.prompt, batch.prompt),
        (batch.chosen, batch.rejected),
        (batch.rejected, batch.chosen),
      )
    )
    logits = scoring.preference_logits(
      model, trainable["preference"], prompt, first, second, template=around
    ).reshape(-1, 2)
    labels = jnp.stack([batch.probability, 1 - batch.probability], axis=-1)
    weight, empty = offline_pairs.weights(batch)
    total = means.weighted_mean(
      losses.preference_model_loss(logits, labels).mean(axis=-1), weight
    )
    averaged = scoring.swap_averaged(logits[:, 0], logits[:, 1])
    bias = jnp.sum(jax.nn.sigmoid(logits), axis=-1) - 1
    return total, {
      "loss": total,
      "preferences/margins": means.weighted_mean(
        0.5 * (logits[:, 0] - logits[:, 1]), weight
      ),
      "preferences/accuracies": means.weighted_mean(
        (averaged > 0.5).astype(jnp.float32), weight
      ),
      "preferences/calibration_error": calibration.calibration_error(
        averaged, batch.probability, weight
      ),
      "preferences/first_place": means.weighted_mean(bias, weight),
      "empty_responses": empty,
    }

  return Algorithm(init, None, loss, frozen)
