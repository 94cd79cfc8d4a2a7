"""Averages of models: moving, spherical, linear, and resets to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses


def _normal(seed, *shape):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


TREE = {"policy": jnp.asarray([1.0, 2.0]), "value": jnp.asarray(5.0)}


def _tree(seed):
  first, second = _normal(seed, 2), _normal(seed + 1)
  return {"policy": first, "value": second}


def test_the_average_approaches_a_constant_geometrically():
  start, constant = _tree(0), _tree(2)
  average = start
  for _ in range(7):
    average = losses.ema(average, constant, decay=0.8)
  for key in start:
    expected = constant[key] + 0.8**7 * (start[key] - constant[key])
    np.testing.assert_allclose(average[key], expected, rtol=1e-5)


@pytest.mark.parametrize("jitted", [False, True])
def test_an_elastic_reset_jumps_to_the_average_then_restarts_it(jitted):
  initial, params, average = _tree(0), _tree(2), _tree(4)

  def after(step):
    def run(step):
      return losses.elastic_reset(
        params,
        average,
        initial,
        step,
        decay=0.9,
        period=3,
        applies=lambda path: path != "value",
      )

    return (jax.jit(run) if jitted else run)(step)

  for step in (0, 2, 4):
    new, mean = after(step)
    np.testing.assert_array_equal(new["policy"], params["policy"])
    np.testing.assert_allclose(
      mean["policy"],
      0.9 * average["policy"] + 0.1 * params["policy"],
      rtol=1e-6,
    )
  reset, restarted = after(3)
  np.testing.assert_array_equal(reset["policy"], after(2)[1]["policy"])
  np.testing.assert_array_equal(restarted["policy"], initial["policy"])
  np.testing.assert_array_equal(reset["value"], params["value"])
  np.testing.assert_array_equal(restarted["value"], average["value"])


def test_warm_is_the_ensemble_of_linear_models():
  models = [_tree(seed) for seed in (0, 2, 4)]
  x = jnp.asarray([0.3, -0.7])
  merged = losses.weight_average(models, [1.0, 2.0, 1.0])
  expected = sum(
    w * float(m["policy"] @ x)
    for m, w in zip(models, (0.25, 0.5, 0.25), strict=True)
  )
  np.testing.assert_allclose(merged["policy"] @ x, expected, rtol=1e-5)


def test_slerp_keeps_the_norm_that_a_mean_shrinks():
  start = {"w": jnp.zeros(2)}
  ends = [{"w": jnp.asarray([1.0, 0.0])}, {"w": jnp.asarray([0.0, 1.0])}]
  merged = losses.slerp_merge(start, ends)["w"]
  np.testing.assert_allclose(merged, [0.5**0.5] * 2, rtol=1e-6)
  np.testing.assert_allclose(
    losses.slerp_merge(start, ends[::-1])["w"], merged, rtol=1e-6
  )
  # Parallel task vectors and one that is zero: linear.
  same = losses.slerp_merge(start, [ends[0], {"w": jnp.asarray([3.0, 0.0])}])
  np.testing.assert_allclose(same["w"], [2.0, 0.0], rtol=1e-5)
  still = losses.slerp_merge(start, [ends[0], start])
  np.testing.assert_allclose(still["w"], [0.5, 0.0], rtol=1e-6)


@pytest.mark.parametrize("norm", [0.01, 1.0, 30.0])
def test_slerp_sees_the_angle_of_task_vectors_of_any_norm(norm):
  # At 120 degrees, half way is the bisector, at the same norm: a plain mean
  # would have half of it.
  start = {"w": jnp.zeros(2)}
  first = {"w": norm * jnp.asarray([1.0, 0.0])}
  second = {"w": norm * jnp.asarray([-0.5, 0.75**0.5])}
  merged = losses.slerp_merge(start, [first, second])["w"]
  np.testing.assert_allclose(merged / norm, [0.5, 0.75**0.5], rtol=1e-5)


def test_a_task_vector_of_zero_divides_by_nothing():
  start, end = {"w": jnp.zeros(2)}, {"w": jnp.asarray([1.0, 0.0])}
  # Not even in the branch that is thrown away.
  with jax.debug_nans(True):
    merged = losses.slerp_merge(start, [end, start])
  np.testing.assert_array_equal(merged["w"], [0.5, 0.0])


def test_interpolation_starts_at_the_start_bit_for_bit():
  start, end = _tree(0), _tree(2)
  np.testing.assert_array_equal(
    losses.interpolate_to_init(start, end, eta=0.0)["policy"], start["policy"]
  )
  np.testing.assert_allclose(
    losses.interpolate_to_init(start, end, eta=0.3)["policy"],
    0.7 * start["policy"] + 0.3 * end["policy"],
    rtol=1e-5,
  )


def test_schedules_of_the_decay():
  steps = jnp.arange(4)
  warm = [losses.ema_warmup_decay(s, decay=0.3) for s in steps]
  np.testing.assert_allclose(warm, [0.1, 2 / 11, 0.25, 0.3], rtol=1e-6)
  cosine = [losses.ema_cosine_decay(s, start=0.9, total_steps=2) for s in steps]
  np.testing.assert_allclose(cosine, [0.9, 0.95, 1, 1], rtol=1e-6)


def test_models_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match="at least one model"):
    losses.weight_average([])
  with pytest.raises(ValueError, match="2 trees need as many weights"):
    losses.weight_average([TREE, TREE], [1.0])
  with pytest.raises(ValueError, match="sum of weights must be > 0"):
    losses.weight_average([TREE, TREE], [0.0, 0.0])
  with pytest.raises(ValueError, match="weights must be >= 0"):
    losses.weight_average([TREE, TREE], [2.0, -1.0])
  with pytest.raises(ValueError, match="eta must be in"):
    losses.interpolate_to_init(TREE, TREE, eta=1.5)
  with pytest.raises(ValueError, match="decay must be in"):
    losses.ema(TREE, TREE, decay=1.5)
