"""Schedules and the table of optimisers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, optimizers


def schedule(name, **changes):
  given = dict(learning_rate=1.0, warmup_steps=4, total_steps=12)
  return optimizers.make_schedule(name, **{**given, **changes})


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
    name, schedule("constant", warmup_steps=0), weight_decay=0.1, clip_norm=0.0
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
      "adam2", schedule("constant"), weight_decay=0.0, clip_norm=0.0
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
