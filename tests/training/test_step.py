"""One update, against the same update by hand: weights, parts, keys, counts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from alignment_jax.algorithm import Algorithm
from alignment_jax.ops import means
from alignment_jax.training import state, step

KEY = jax.random.key(4)
X = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0], np.float32)
WEIGHT = np.array([1.0, 0.0, 3.0, 1.0, 0.5, 2.0, 1.0, 0.0], np.float32)


def loss(trainable, slow, batch, key):
  """sum(weight (w - x)^2) / sum(weight)."""
  del slow
  x, weight = batch
  ones = jnp.ones_like(x)
  noise = jax.random.uniform(key)
  return means.weighted_mean(jnp.square(trainable["w"] - x), weight), {
    "x": means.weighted_mean(x, ones),
    "noise": means.weighted_mean(noise[None], jnp.ones(1)),
    "noise_squared": means.weighted_mean(noise[None] ** 2, jnp.ones(1)),
  }


def refresh(trainable, slow, number, metrics):
  """Counts its calls, and adds up the numbers and what it is told."""
  calls, total, x = slow
  return trainable, (calls + 1, total + number, x + metrics["x"])


ALGORITHM = Algorithm(
  init=lambda key, params: (
    {"w": params},
    (jnp.int32(0), jnp.int32(0), jnp.float32(0)),
  ),
  rollouts=None,
  loss=loss,
  refresh=refresh,
)


def updated(weight=WEIGHT, *, key=KEY, steps=1, rate=0.1, **settings):
  optimizer = optax.sgd(rate)
  now = state.make_state(ALGORITHM, optimizer, KEY, jnp.float32(0.5))
  update = jax.jit(step.make_update(ALGORITHM, optimizer, **settings))
  for _ in range(steps):
    now, metrics = update(now, (jnp.asarray(X), jnp.asarray(weight)), key)
  return now, jax.device_get(metrics)


@pytest.mark.parametrize("microbatches", [1, 2, 4, 8])
def test_the_step_is_that_of_the_weighted_mean_in_any_split(microbatches):
  now, metrics = updated(microbatches=microbatches)
  gradient = np.sum(2 * WEIGHT * (0.5 - X)) / WEIGHT.sum()
  np.testing.assert_allclose(
    now.trainable["w"], 0.5 - 0.1 * gradient, rtol=1e-5
  )
  np.testing.assert_allclose(metrics["gradient_norm"], abs(gradient), rtol=1e-5)
  np.testing.assert_allclose(metrics["x"], X.mean())
  assert now.step == 1
  assert [int(n) for n in now.slow[:2]] == [1, 1]
  np.testing.assert_allclose(now.slow[2], X.mean())


def test_a_batch_without_weight_moves_nothing():
  now, metrics = updated(np.zeros(8, np.float32))
  assert now.trainable["w"] == 0.5
  assert metrics["gradient_norm"] == 0


@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize("epochs, minibatches", [(1, 4), (3, 1), (2, 2)])
def test_every_epoch_takes_every_row_once_and_steps_are_numbered_on(
  epochs, minibatches, microbatches
):
  now, metrics = updated(
    epochs=epochs, minibatches=minibatches, microbatches=microbatches, steps=2
  )
  count = 2 * epochs * minibatches
  assert now.step == 2
  assert int(now.slow[0]) == count
  assert int(now.slow[1]) == sum(range(1, count + 1))
  np.testing.assert_allclose(now.slow[2], count * X.mean(), rtol=1e-6)
  np.testing.assert_allclose(metrics["x"], X.mean(), rtol=1e-6)


def test_epochs_without_minibatches_are_steps_on_the_whole_batch():
  now, metrics = updated(epochs=3)
  w, norms = 0.5, []
  for _ in range(3):
    gradient = np.sum(2 * WEIGHT * (w - X)) / WEIGHT.sum()
    norms.append(abs(gradient))
    w -= 0.1 * gradient
  np.testing.assert_allclose(now.trainable["w"], w, rtol=1e-5)
  np.testing.assert_allclose(
    metrics["gradient_norm"], np.mean(norms), rtol=1e-5
  )


def test_the_minibatches_are_shuffled_by_the_key_and_anew_in_each_epoch():
  def final(key, **settings):
    now, _ = updated(key=jax.random.key(key), rate=0.5, **settings)
    return float(now.trainable["w"])

  # At rate 1/2 a step on the mean of the weighted rows ends there: the result
  # is the mean of the last minibatch.
  halves = {final(key, minibatches=2) for key in range(6)}
  assert len(halves) > 1
  assert final(0, minibatches=2) == final(0, minibatches=2)
  later = {final(key, minibatches=2, epochs=2) for key in range(6)}
  assert halves != later  # with one order for both epochs they would be equal
  for value in halves | later:
    assert any(
      np.isclose(np.average(X[rows], weights=WEIGHT[rows]), value, rtol=1e-5)
      for rows in halves_of_eight()
    )


def halves_of_eight():
  for bits in range(256):
    rows = np.array([bits >> i & 1 for i in range(8)], bool)
    if rows.sum() == 4 and WEIGHT[rows].sum() > 0:
      yield rows


@pytest.mark.parametrize(
  "settings", [{"microbatches": 2}, {"minibatches": 2}, {"epochs": 2}]
)
def test_each_part_draws_from_a_key_of_its_own(settings):
  _, metrics = updated(**settings)
  spread = metrics["noise_squared"] - metrics["noise"] ** 2
  assert spread > 1e-4  # 0 if the two draws were the same


def test_each_step_has_keys_of_its_own_for_sampling_and_for_learning():
  keys = [
    tuple(jax.random.key_data(key).tolist())
    for number in range(3)
    for key in step.keys_of(KEY, number)
  ]
  assert len(set(keys)) == 6
  _, first = updated(steps=1)
  _, second = updated(steps=2)
  assert first["noise"] != second["noise"]
  expected = jax.random.uniform(step.keys_of(KEY, 0)[1])
  assert first["noise"] == expected
