"""A preference model (Munos et al., 2023, arXiv:2312.00886)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax import losses, scoring
from alignment_jax.algorithm import Algorithm, frozen
from alignment_jax.families import offline_pairs
from alignment_jax.models import heads
from alignment_jax.models.base import Model
from alignment_jax.ops import means

# Between a confidence of 1/2 and of 1.
BINS = 5


def preference_model(
  model: Model, *, template: Sequence[Sequence[int]]
) -> Algorithm:
  """Fit P(first preferred to second) of a network that reads both answers.

  Not bound to a reward, so it can learn that preferences go round in a circle.
  Each pair is read in both orders and the two losses are averaged; where raters
  disagree, the loss is in expectation over them. The network starts from the
  policy, with a new scalar head on the state behind both answers. Dropout is
  off.

  Args:
    model: the network.
    template: token ids before the first answer, before the second, and after
      it; see `template_of`.

  Raises:
    ValueError: the template has other than three parts.
  """
  around = template_of(template)

  def init(key, policy_params):
    head = heads.init_scalar(key, model.settings.width)
    return {"preference": {"network": policy_params, "head": head}}, ()

  def loss(trainable, slow, batch, key):
    del slow, key
    # Both orders as rows; those of one pair stay on one device.
    prompt, first, second = (
      jax.tree.map(
        lambda *two: jnp.stack(two, axis=1).reshape(-1, two[0].shape[-1]), *both
      )
      for both in (
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
      "preferences/calibration_error": calibration_error(
        averaged, batch.probability, weight
      ),
      "preferences/first_place": means.weighted_mean(bias, weight),
      "empty_responses": empty,
    }

  return Algorithm(init, None, loss, frozen)


def template_of(parts: Sequence[Sequence[int]]) -> scoring.Template:
  """Ids around the two answers from three sequences of them.

  Raises:
    ValueError: there are other than three.
  """
  if len(parts) != 3:
    raise ValueError(
      "template must have three parts (before the first answer, before the"
      f" second, after it), got {len(parts)}"
    )
  before_first, before_second, after = map(tuple, parts)
  return scoring.Template(
    before_first=before_first, before_second=before_second, after=after
  )


def calibration_error(
  predicted: Float[Array, "B"],
  probability: Float[Array, "B"],
  weight: Float[Array, "B"],
) -> means.Mean:
  """How far confidence is from how often it is right, over `BINS` bins.

  Guo et al., 2017 (arXiv:1706.04599), eq. 3, of the side that is predicted to
  win. Within the pairs given: few of them overstate it.

  Args:
    predicted: P(chosen wins) of the model.
    probability: the share of raters for whom it does.
    weight: of each pair.
  """
  wins = predicted >= 0.5
  confidence = jnp.where(wins, predicted, 1 - predicted)
  right = jnp.where(wins, probability, 1 - probability)
  bins = jnp.minimum(
    (2 * BINS * (confidence - 0.5)).astype(jnp.int32), BINS - 1
  )
  gaps = jnp.where(weight > 0, weight * (right - confidence), 0.0)
  sums = jnp.sum(jax.nn.one_hot(bins, BINS) * gaps[:, None], axis=0)
  return means.Mean(jnp.sum(jnp.abs(sums)), jnp.sum(weight))
