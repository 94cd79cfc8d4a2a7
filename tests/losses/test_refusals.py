"""What does not fit is refused by name: shapes, dtypes, coefficients."""

import inspect

import jax.numpy as jnp
import pytest

from tests.loss_cases import CASES, WRAPPED

ARGUMENTS = [
  pytest.param(case, name, id=f"{key}-{name}")
  for key, case in CASES.items()
  for name in case.names
  if key not in WRAPPED
]


# The first argument is what the others are compared with.
LATER_ARGUMENTS = [
  argument
  for argument in ARGUMENTS
  if argument.values[1] != argument.values[0].names[0]
]


OUT_OF_RANGE = {
  "label_smoothing": (-0.1, 0.5, float("nan")),
  "clip": (0.0, 1.0, float("nan")),
  "clip_low": (0.0, 1.0, float("nan")),
  **dict.fromkeys(("lam", "gamma", "beta_rejected"), (-0.1, float("nan"))),
}


# `alpha` is a weight for some and a share for others.
SHARES = {"srpo": {"alpha"}, "jbond": {"beta"}}


WEIGHTS = {"xpo": {"alpha"}, "cpo": {"alpha"}}


def _bad(key, name):
  if key == "ppo_value":
    return (0.0, -0.1, float("nan"))
  if name in SHARES.get(key, ()):
    return (-0.1, 1.1, float("nan"))
  if name in WEIGHTS.get(key, ()):
    return (-0.1, float("nan"))
  return OUT_OF_RANGE.get(name, (0.0, -0.1, float("nan")))


COEFFICIENTS = [
  pytest.param(case, name, value, id=f"{key}-{name}-{value}")
  for key, case in CASES.items()
  for name, coefficient in case.coefficients.items()
  if isinstance(coefficient, float)
  for value in _bad(key, name)
]


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
