"""Schedules and the table of optimizers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, optimizers


def schedule(name, **changes):
  settings = dict(learning_rate=1.0, warmup_steps=4, total_steps=12)
  return optimizers.make_schedule(name, **{**settings, **changes})


def test_warm_up_rises_in_equal_steps_to_the_peak():
  rates = [float(schedule("constant")(step)) for step in range(6)]
  np.testing.assert_allclose(rates, [0.2, 0.4, 0.6, 0.8, 1, 1], rtol=1e-6)


@pytest.mark.parametrize(
  ("name", "middle", "end"),
  [("constant", 1.0, 1.0), ("linear", 0.5, 0.0), ("cosine", 0.5, 0.0)],
)
def test_after_the_warm_up_each_schedule_falls_as_named(name, middle, end):
  rates = schedule(name)
  assert float(rates(8)) == pytest.approx(middle)
  assert float(rates(12)) == pytest.approx(end, abs=1e-7)


@pytest.mark.parametrize("name", sorted(optimizers.OPTIMIZERS))
def test_each_optimizer_descends_a_parabola(name):
  optimizer = optimizers.make_optimizer(
    name,
    schedule("constant", learning_rate=0.1),
    weight_decay=0.0,
    clip_norm=1.0,
  )
  params = {"kernel": jnp.array([3.0, -2.0])}
  state = optimizer.init(params)
  with jax.numpy_dtype_promotion("standard"):
    for _ in range(60):
      updates, state = optimizer.update(params, state, params)
      params = jax.tree.map(jnp.add, params, updates)
  assert float(jnp.max(jnp.abs(params["kernel"]))) < 0.3


@pytest.mark.parametrize("name", sorted(optimizers.OPTIMIZERS))
def test_weight_decay_spares_norms_and_embeddings(name):
  optimizer = optimizers.make_optimizer(
    name, schedule("constant", warmup_steps=0), weight_decay=0.1, clip_norm=None
  )
  params = {"kernel": jnp.ones(2), "scale": jnp.ones(2), "table": jnp.ones(2)}
  zeros = jax.tree.map(jnp.zeros_like, params)
  with jax.numpy_dtype_promotion("standard"):
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
  assert np.all(updates["kernel"] < 0)
  np.testing.assert_array_equal(updates["scale"], 0)
  np.testing.assert_array_equal(updates["table"], 0)


def test_a_wrong_name_lists_what_exists():
  with pytest.raises(errors.UserError, match="adafactor, adamw, sgd"):
    optimizers.make_optimizer(
      "adam2", schedule("constant"), weight_decay=0.0, clip_norm=None
    )
  with pytest.raises(errors.UserError, match="constant, cosine, linear"):
    schedule("exponential")


@pytest.mark.parametrize(
  "changes",
  [{"learning_rate": 0.0}, {"warmup_steps": 13}, {"warmup_steps": -1}],
)
def test_numbers_out_of_range_are_named(changes):
  with pytest.raises(errors.UserError, match=next(iter(changes))):
    schedule("constant", **changes)


def updates_of(name, gradients, params, **settings):
  """The first update at a constant learning rate of 0.1."""
  settings = {"weight_decay": 0.0, "clip_norm": None} | settings
  optimizer = optimizers.make_optimizer(
    name, schedule("constant", learning_rate=0.1, warmup_steps=0), **settings
  )
  with jax.numpy_dtype_promotion("standard"):
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
  return updates


def test_a_gradient_is_clipped_to_the_norm_over_all_parameters():
  params = {"kernel": jnp.zeros(1), "scale": jnp.zeros(1)}
  gradients = {"kernel": jnp.array([6.0]), "scale": jnp.array([8.0])}
  # A norm of 10, scaled to 5 and left alone below 20; times -0.1.
  for clip_norm, expected in ((5.0, (-0.3, -0.4)), (20.0, (-0.6, -0.8))):
    updates = updates_of("sgd", gradients, params, clip_norm=clip_norm)
    np.testing.assert_allclose(updates["kernel"], expected[0], rtol=1e-6)
    np.testing.assert_allclose(updates["scale"], expected[1], rtol=1e-6)


@pytest.mark.parametrize(
  ("name", "factor"), [("sgd", -0.1), ("adamw", -0.1), ("adafactor", -1.0)]
)
def test_decay_pulls_every_linear_map_towards_zero(name, factor):
  params = {leaf: jnp.array([2.0, -4.0]) for leaf in ("kernel", "weight")}
  params["adapter"] = {leaf: jnp.array([2.0, -4.0]) for leaf in ("a", "b")}
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates = updates_of(name, zeros, params, weight_decay=0.3)
  # Times the learning rate; optax's Adafactor takes the decay as it is.
  for update in jax.tree.leaves(updates):
    np.testing.assert_allclose(update, factor * 0.3 * np.array([2, -4]), 1e-5)


def test_the_first_adam_step_is_the_learning_rate_whatever_the_gradient():
  params = {"kernel": jnp.zeros(2)}
  gradients = {"kernel": jnp.array([0.01, -50.0])}
  updates = updates_of("adamw", gradients, params)
  np.testing.assert_allclose(updates["kernel"], [-0.1, 0.1], rtol=1e-4)


def test_adafactor_does_not_scale_its_steps_by_the_parameter():
  gradients = {"kernel": jnp.array([1.0, -1.0])}
  small, large = (
    updates_of("adafactor", gradients, {"kernel": jnp.full(2, size)})["kernel"]
    for size in (0.1, 100.0)
  )
  np.testing.assert_allclose(small, large)


@pytest.mark.parametrize("setting", ["weight_decay", "clip_norm"])
def test_a_negative_setting_is_refused(setting):
  settings = {"weight_decay": 0.0, "clip_norm": None, setting: -0.5}
  with pytest.raises(errors.UserError, match=f"{setting}.*-0.5"):
    optimizers.make_optimizer("sgd", schedule("constant"), **settings)


def test_a_schedule_of_warm_up_alone_rises_to_the_end():
  rates = [float(schedule("cosine", warmup_steps=12)(step)) for step in (0, 11)]
  np.testing.assert_allclose(rates, [1 / 13, 12 / 13], rtol=1e-6)
