"""The preference model against its formula, and the error of calibration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, scoring, types
from alignment_jax.families.calibration import calibration_error
from alignment_jax.models import heads

TEMPLATE = ((3,), (0,), (3, 3))


def tokens(seed, lengths, *, left=False):
  ids = np.random.default_rng(seed).integers(0, 4, (len(lengths), 4))
  index, lengths = np.arange(4)[None], np.array(lengths)[:, None]
  mask = index >= 4 - lengths if left else index < lengths
  return types.Tokens(jnp.asarray(ids, jnp.int32), jnp.asarray(mask))


def batch():
  """Four pairs, the last with an empty response."""
  return types.PreferencePair(
    tokens(0, [4, 2, 1, 3], left=True),
    tokens(1, [2, 4, 3, 0]),
    tokens(2, [4, 1, 2, 3]),
    jnp.array([1.0, 2.0, 1.0, 5.0]),
    jnp.array([1.0, 0.6, 0.2, 1.0]),
  )


def swapped(batch):
  return batch.replace(
    chosen=batch.rejected,
    rejected=batch.chosen,
    probability=1 - batch.probability,
  )


def trained(world):
  return {
    "preference": {
      "network": world.policy,
      "head": jax.tree.map(
        lambda a: 5 * a,
        heads.init_scalar(jax.random.key(1), world.model.settings.width),
      ),
    }
  }


@pytest.fixture(scope="module")
def run(world):
  algorithm = algorithms.preference_model(world.model, template=TEMPLATE)
  return jax.jit(lambda batch: algorithm.loss(trained(world), (), batch, None))


def test_the_loss_is_the_likelihood_averaged_over_both_orders(world, run):
  one = batch()
  around = scoring.Template(before_first=(3,), before_second=(0,), after=(3, 3))

  def probability(first, second):
    logits = scoring.preference_logits(
      world.model,
      trained(world)["preference"],
      one.prompt,
      first,
      second,
      template=around,
    )
    return 1 / (1 + np.exp(-np.asarray(logits)))

  as_given = probability(one.chosen, one.rejected)
  turned = probability(one.rejected, one.chosen)
  p = np.asarray(one.probability)
  losses = -0.5 * (
    p * np.log(as_given)
    + (1 - p) * np.log(1 - as_given)
    + (1 - p) * np.log(turned)
    + p * np.log(1 - turned)
  )
  weight = np.array([1.0, 2.0, 1.0, 0.0])  # the empty response does not count
  total, metrics = run(one)
  got = {name: float(mean.value()) for name, mean in metrics.items()}
  assert total.value() == pytest.approx(
    np.average(losses, weights=weight), 1e-5
  )
  averaged = (as_given + 1 - turned) / 2
  assert got["preferences/accuracies"] == pytest.approx(
    np.average(averaged > 0.5, weights=weight)
  )
  assert got["preferences/first_place"] == pytest.approx(
    np.average(as_given + turned - 1, weights=weight), abs=1e-6
  )
  assert got["empty_responses"] == pytest.approx(5 / 9)


def test_it_does_not_matter_which_response_is_called_chosen(run):
  one, other = run(batch())[0], run(swapped(batch()))[0]
  assert one.value() == pytest.approx(float(other.value()), rel=1e-6)


def test_calibration_is_off_by_what_confidence_lacks():
  # Bins of width 0.1 from 1/2. In the bin of 0.9 to 1: confidence 0.95 twice,
  # once right: off by 0.45. In that of 0.6 to 0.7: 0.65, against 0.8 of raters.
  predicted = jnp.array([0.95, 0.05, 0.65, 0.2])
  raters = jnp.array([1.0, 1.0, 0.8, 1.0])
  weight = jnp.array([1.0, 1.0, 2.0, 0.0])
  got = calibration_error(predicted, raters, weight)
  assert got.weight == 4
  assert got.value() == pytest.approx((2 * 0.45 + 2 * 0.15) / 4, rel=1e-5)


def test_the_surest_prediction_has_a_bin():
  right = calibration_error(jnp.ones(1), jnp.ones(1), jnp.ones(1))
  wrong = calibration_error(jnp.zeros(1), jnp.ones(1), jnp.ones(1))
  assert (right.value(), wrong.value()) == (0, 1)


def test_a_template_of_two_parts_is_refused(world):
  with pytest.raises(ValueError, match="template must have three parts"):
    algorithms.preference_model(world.model, template=((3,), (4,)))
