"""What every loss promises, for each in a table; its formula is in its file."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses


class Case(NamedTuple):
  loss: Callable
  coefficients: dict[str, float]
  held_constant: set[str]

  @property
  def names(self):
    """The array arguments, in order."""
    parameters = inspect.signature(self.loss).parameters.values()
    return [p.name for p in parameters if p.kind != p.KEYWORD_ONLY]

  def __call__(self, *arrays):
    return self.loss(*arrays, **self.coefficients)

  def draw(self, *shape, dtype=jnp.float32):
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=shape), dtype) for _ in self.names]

  def gradients(self, *arrays):
    return jax.grad(
      lambda *arrays: self(*arrays).sum(), argnums=range(len(arrays))
    )(*arrays)


REFERENCE = {"reference_chosen", "reference_rejected"}
CASES = {
  "ipo": Case(losses.ipo_loss, {"tau": 0.3}, REFERENCE),
  "dpo": Case(losses.dpo_loss, {"beta": 0.2}, REFERENCE),
  "conservative_dpo": Case(
    losses.dpo_loss, {"beta": 0.2, "label_smoothing": 0.1}, REFERENCE
  ),
  "dro_policy": Case(
    losses.dro_policy_loss,
    {"tau": 0.4},
    {"reference_logprobs", "rewards", "values"},
  ),
  "dro_value": Case(
    losses.dro_value_loss,
    {"tau": 0.4},
    {"policy_logprobs", "reference_logprobs", "rewards"},
  ),
  "bradley_terry": Case(losses.bradley_terry_loss, {}, set()),
  "cross_entropy": Case(losses.cross_entropy_loss, {}, set()),
}
ARGUMENTS = [
  pytest.param(case, name, id=f"{key}-{name}")
  for key, case in CASES.items()
  for name in case.names
]
# The first argument is what the others are compared with.
LATER_ARGUMENTS = [
  argument
  for argument in ARGUMENTS
  if argument.values[1] != argument.values[0].names[0]
]
COEFFICIENTS = [
  pytest.param(case, name, value, id=f"{key}-{name}-{value}")
  for key, case in CASES.items()
  for name in case.coefficients
  for value in (
    (-0.1, 0.5, float("nan"))
    if name == "label_smoothing"
    else (0.0, -0.1, float("nan"))
  )
]


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
  return request.param


def test_every_public_loss_is_in_the_table():
  public = {name for name in dir(losses) if name.endswith("_loss")}
  assert public == {case.loss.__name__ for case in CASES.values()}


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
  for array in [case(*arrays), *case.gradients(*arrays)]:
    assert np.all(np.isfinite(array))


@pytest.mark.parametrize("case, name", LATER_ARGUMENTS)
def test_a_column_among_rows_is_refused_by_name(case, name):
  arrays = dict(zip(case.names, case.draw(3), strict=True))
  arrays[name] = arrays[name][:, None]
  # Without the type checker, which is on in tests only.
  loss = inspect.unwrap(case.loss)
  with pytest.raises(ValueError, match=rf"^{name} has shape \(3, 1\)"):
    loss(**arrays, **case.coefficients)


@pytest.mark.parametrize("case, name", ARGUMENTS)
def test_integers_are_refused_by_name(case, name):
  arrays = dict(zip(case.names, case.draw(3), strict=True))
  arrays[name] = jnp.ones(3, jnp.int32)
  loss = inspect.unwrap(case.loss)
  with pytest.raises(ValueError, match=f"^{name} must hold floating-point"):
    loss(**arrays, **case.coefficients)


@pytest.mark.parametrize("case, name, value", COEFFICIENTS)
def test_a_coefficient_out_of_range_is_refused_by_name(case, name, value):
  coefficients = case.coefficients | {name: value}
  with pytest.raises(ValueError, match=f"^{name} must be"):
    case.loss(*case.draw(3), **coefficients)
