"""Arrays and coefficients that do not fit are refused by name."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from alignment_jax.ops import guards

NAN = float("nan")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_floats_come_back_in_float32_with_their_values(dtype):
  (array,) = guards.same_shape_floats(a=jnp.array([0.5, -2.0], dtype))
  assert array.dtype == jnp.float32
  assert array.tolist() == [0.5, -2.0]


def test_float64_is_not_cut():
  with jax.enable_x64(True):
    (array,) = guards.same_shape_floats(a=jnp.array([0.1], jnp.float64))
    assert array.dtype == jnp.float64


def test_arrays_come_back_in_the_order_given():
  first, second = guards.same_shape_floats(z=jnp.zeros(2), a=jnp.ones(2))
  assert (first.tolist(), second.tolist()) == ([0.0, 0.0], [1.0, 1.0])


def test_a_column_against_a_row_names_both_arguments_and_shapes():
  message = r"b has shape \(3, 1\) but a has \(3,\)"
  with pytest.raises(ValueError, match=message):
    guards.same_shape_floats(a=jnp.zeros(3), b=jnp.zeros((3, 1)))


def test_a_scalar_against_a_batch_is_refused():
  with pytest.raises(ValueError, match="b has shape"):
    guards.same_shape_floats(a=jnp.zeros(3), b=jnp.zeros(()))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.bool, jnp.complex64])
@pytest.mark.parametrize("name", ["first", "second"])
def test_what_is_not_a_real_float_is_refused_by_name(name, dtype):
  arrays = {"first": jnp.zeros(2), "second": jnp.zeros(2)}
  arrays[name] = jnp.zeros(2, dtype)
  with pytest.raises(ValueError, match=f"^{name} .*{jnp.dtype(dtype)}"):
    guards.same_shape_floats(**arrays)


def test_shapes_are_checked_under_jit():
  with pytest.raises(ValueError, match="b has shape"):
    jax.jit(lambda a, b: guards.same_shape_floats(a=a, b=b))(
      jnp.zeros(3), jnp.zeros((3, 1))
    )


@pytest.mark.parametrize("value", [0.0, -1.0, NAN, -float("inf")])
def test_positive_refuses_by_name_and_value(value):
  with pytest.raises(ValueError, match=f"tau must be > 0, got {value}"):
    guards.positive(beta=1.0, tau=value)


def test_positive_accepts_the_smallest_of_numbers():
  guards.positive(tau=1e-30, beta=1)


def test_positive_looks_at_every_entry_of_an_array():
  with pytest.raises(ValueError, match="tau"):
    guards.positive(tau=jnp.array([1.0, 0.0]))


@pytest.mark.parametrize("value", [-0.01, 0.5, 1.0, NAN])
def test_within_refuses_by_name_and_range(value):
  with pytest.raises(ValueError, match=r"e must be in \[0.0, 0.5\), got"):
    guards.within(0.0, 0.5, e=value)


@pytest.mark.parametrize("value", [0.0, 0.49])
def test_within_includes_the_lower_end(value):
  guards.within(0.0, 0.5, e=value)


RANGES = {
  "> 0": (guards.positive, [1e-30, 7], [0.0, -1e-30]),
  ">= 0": (guards.non_negative, [0.0, 7], [-1e-30]),
  "in (-1.0, 2.0)": (
    functools.partial(guards.between, -1.0, 2.0),
    [-0.9, 1.9],
    [-1, 2],
  ),
  "in [-1.0, 2.0)": (
    functools.partial(guards.within, -1.0, 2.0),
    [-1, 1.9],
    [-1.1, 2],
  ),
  "in [0, 1]": (guards.fraction, [0, 1, 0.5], [-1e-30, 1.0001]),
}


@pytest.mark.parametrize("words", RANGES)
def test_a_coefficient_in_its_range_passes_and_one_outside_is_named(words):
  guard, accepted, refused = RANGES[words]
  for value in accepted:
    guard(first=value, second=value)
  guard(entries=jnp.array(accepted, jnp.float32))
  for value in [*refused, NAN]:
    message = re.escape(f"second must be {words}, got {value}")
    with pytest.raises(ValueError, match=message):
      guard(first=accepted[0], second=value)
  with pytest.raises(ValueError, match="entries must be"):
    guard(entries=jnp.array([accepted[0], refused[0]], jnp.float32))


def test_flags_are_boolean_and_of_the_shape():
  guards.flags_of_shape((2, 3), "logprobs", mask=jnp.ones((2, 3), bool))
  with pytest.raises(ValueError, match="mask must be boolean, got dtype int32"):
    guards.flags_of_shape((2,), "logprobs", mask=jnp.ones(2, jnp.int32))
  message = r"mask has shape \(3,\) but logprobs has \(2,\)"
  with pytest.raises(ValueError, match=message):
    guards.flags_of_shape(
      (2,), "logprobs", ended=jnp.ones(2, bool), mask=jnp.ones(3, bool)
    )


@pytest.mark.parametrize("shape", [(), (1,), (4, 1), (3, 0)])
def test_a_group_has_two_responses(shape):
  guards.groups(rewards=jnp.ones(2), advantages=jnp.ones((1, 3)))
  with pytest.raises(ValueError, match="rewards need K >= 2 responses"):
    guards.groups(advantages=jnp.ones((1, 3)), rewards=jnp.ones(shape))


def test_a_traced_coefficient_passes():
  @jax.jit
  def double(tau):
    guards.positive(tau=tau)
    guards.within(0.0, 0.5, tau=tau)
    return 2 * tau

  assert double(-1.0) == -2.0
