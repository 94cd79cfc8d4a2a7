"""What every loss promises, for each in a table; its formula is in its file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_jax import losses
from tests.loss_cases import CASES, STRUCTURED, WRAPPED


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
  return request.param


def test_every_public_loss_is_in_the_table():
  public = {name for name in dir(losses) if name.endswith("_loss")}
  assert public == {case.loss.__name__ for case in CASES.values()} | STRUCTURED


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_one_number_per_unit_in_any_shape(case, shape):
  assert case(*case.draw(*shape)).shape == shape


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_the_loss_is_float32_whatever_the_inputs(case, dtype):
  assert case(*case.draw(3, dtype=dtype)).dtype == jnp.float32


def test_units_do_not_touch_each_other(case):
  arrays = case.draw(4)
  changed = [array.at[1].add(0.5) for array in arrays[:1]] + arrays[1:]
  same = np.asarray(case(*arrays) == case(*changed))
  assert same.tolist() == [True, False, True, True]


def test_the_gradient_is_exactly_zero_to_what_is_held_constant(case):
  arrays = case.draw(5)
  gradients = dict(zip(case.names, case.gradients(*arrays), strict=True))
  zero = {name for name, g in gradients.items() if not np.any(g)}
  assert zero == case.held_constant


def test_jit_changes_nothing(case):
  arrays = case.draw(5)
  np.testing.assert_allclose(
    jax.jit(lambda *a: case(*a))(*arrays), case(*arrays), rtol=1e-6, atol=1e-6
  )


def test_inputs_may_be_sharded(case):
  mesh = jax.make_mesh(
    (8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  arrays = case.draw(16)
  sharded = jax.jit(lambda *a: case(*a))(*jax.device_put(arrays, rows))
  assert len(sharded.sharding.device_set) == 8
  np.testing.assert_allclose(sharded, case(*arrays), rtol=1e-6, atol=1e-6)


def test_vmap_is_a_loop(case):
  arrays = case.draw(3, 4)
  loop = [case(*rows) for rows in zip(*arrays, strict=True)]
  np.testing.assert_allclose(
    jax.vmap(lambda *a: case(*a))(*arrays), loop, rtol=1e-6, atol=1e-6
  )


def test_loss_and_gradients_are_finite_ten_thousand_nats_away(case):
  # One row for each argument that is far away, on either side.
  far = 1e4 * jnp.eye(len(case.names))
  arrays = list(jnp.concatenate([far, -far]).T)
  for index, name in enumerate(case.names):
    if "preferences" in name:
      arrays[index] = jnp.clip(arrays[index], 0.01, 0.99)
  for array in [case(*arrays), *case.gradients(*arrays)]:
    assert np.all(np.isfinite(array))


@given(
  key=st.sampled_from(sorted(CASES)),
  rows=st.integers(1, 5),
  exponent=st.floats(-3, 4),
  dtype=st.sampled_from([jnp.float32, jnp.bfloat16]),
  seed=st.integers(0, 1000),
)
@settings(max_examples=150)
def test_any_magnitude_is_finite_and_rows_may_change_places(
  key, rows, exponent, dtype, seed
):
  case = CASES[key]
  random = np.random.default_rng(seed)
  arrays = [
    jnp.asarray(
      random.uniform(0.01, 0.99, rows)
      if "preferences" in name
      else random.normal(size=rows) * 10**exponent,
      dtype,
    )
    for name in case.names
  ]
  order = jnp.asarray(random.permutation(rows))
  value, gradients = case(*arrays), case.gradients(*arrays)
  for array in (value, *gradients):
    assert np.all(np.isfinite(np.asarray(array, np.float32)))
  if key not in WRAPPED:  # their flags stay where they are
    np.testing.assert_allclose(
      case(*(array[order] for array in arrays)), value[order], rtol=1e-5
    )
