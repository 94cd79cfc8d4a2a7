"""What every loss promises, for each in a table; its formula is in its file."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_jax import losses


class Case(NamedTuple):
  loss: Callable
  coefficients: dict[str, Any]
  held_constant: set[str]

  @property
  def names(self):
    """The floating-point arguments, in order."""
    parameters = inspect.signature(self.loss).parameters.values()
    return [
      p.name
      for p in parameters
      if p.kind == p.POSITIONAL_OR_KEYWORD and p.default is p.empty
    ]

  def __call__(self, *arrays):
    return self.loss(*arrays, **self.coefficients)

  def draw(self, *shape, dtype=jnp.float32):
    random = np.random.default_rng(0)
    return [
      jnp.asarray(
        random.uniform(0.1, 0.9, shape)
        if "preferences" in name
        else random.normal(size=shape),
        dtype,
      )
      for name in self.names
    ]

  def gradients(self, *arrays):
    return jax.grad(
      lambda *arrays: self(*arrays).sum(), argnums=range(len(arrays))
    )(*arrays)


REFERENCE = {"reference_chosen", "reference_rejected"}
REFERENCES = {
  f"reference_{side}{given}"
  for side in ("chosen", "rejected")
  for given in ("", "_given_chosen", "_given_rejected")
}
PREVIOUS = {"previous_first", "previous_second"}
REWARDS = {"rewards_first", "rewards_second"}
OLD = {"old_logprobs", "advantages"}


def _given(loss):
  """The loss with its flags and scalars fixed, as a function of the rest."""

  def call(policy_logprobs, reference_logprobs, **coefficients):
    shape = jnp.shape(policy_logprobs)
    # Alternating, so that both kinds are there.
    desirable = jnp.arange(max(1, np.prod(shape, dtype=int))) % 2 == 0
    return loss(
      policy_logprobs,
      reference_logprobs,
      desirable.reshape(shape),
      jnp.float32(0.3),
      **coefficients,
    )

  call.__name__ = loss.__name__
  return call


def _labeled(loss):
  def call(logits):
    shape = jnp.shape(logits)
    is_expert = jnp.arange(max(1, np.prod(shape, dtype=int))) % 2 == 0
    return loss(logits, is_expert.reshape(shape))

  call.__name__ = loss.__name__
  return call


# Losses whose units are independent and whose arrays all have one shape.
CASES = {
  "ipo": Case(losses.ipo_loss, {"tau": 0.3}, REFERENCE),
  "dpo": Case(losses.dpo_loss, {"beta": 0.2}, REFERENCE),
  "conservative_dpo": Case(
    losses.dpo_loss, {"beta": 0.2, "label_smoothing": 0.1}, REFERENCE
  ),
  "robust_dpo": Case(
    losses.robust_dpo_loss, {"beta": 0.2, "label_smoothing": 0.1}, REFERENCE
  ),
  "psipo": Case(
    losses.psipo_loss,
    {"tau": 0.3, "psi": losses.logit},
    REFERENCE | {"preferences"},
  ),
  "psipo_regression": Case(
    losses.psipo_regression_loss,
    {"tau": 0.3},
    REFERENCE | {"chosen_scores", "rejected_scores"},
  ),
  "hinge": Case(losses.hinge_loss, {"beta": 0.2}, REFERENCE),
  "exo": Case(
    losses.exo_loss, {"beta": 0.2, "label_smoothing": 0.01}, REFERENCE
  ),
  "nca": Case(losses.nca_loss, {"beta": 0.2}, REFERENCE),
  "bco_pair": Case(losses.bco_pair_loss, {"beta": 0.2}, REFERENCE),
  "sppo": Case(
    losses.sppo_loss,
    {"eta": 2.0},
    REFERENCE | {"chosen_preferences", "rejected_preferences"},
  ),
  "apo_zero": Case(losses.apo_zero_loss, {"beta": 0.2}, REFERENCE),
  "apo_down": Case(losses.apo_down_loss, {"beta": 0.2}, REFERENCE),
  "discopop": Case(losses.discopop_loss, {"beta": 0.2, "tau": 0.05}, REFERENCE),
  "discopop_wide": Case(
    losses.discopop_loss, {"beta": 0.2, "tau": 2.0}, REFERENCE
  ),
  "f_dpo_reverse_kl": Case(
    losses.f_dpo_loss,
    {"beta": 0.2, "score": losses.reverse_kl_score},
    REFERENCE,
  ),
  "f_dpo_forward_kl": Case(
    losses.f_dpo_loss,
    {"beta": 0.2, "score": losses.forward_kl_score},
    REFERENCE,
  ),
  "f_dpo_jensen_shannon": Case(
    losses.f_dpo_loss,
    {"beta": 0.2, "score": losses.jensen_shannon_score},
    REFERENCE,
  ),
  "f_dpo_alpha": Case(
    losses.f_dpo_loss,
    {
      "beta": 0.2,
      "score": functools.partial(losses.alpha_divergence_score, alpha=0.5),
    },
    REFERENCE,
  ),
  "flex_dpo": Case(
    losses.flex_dpo_loss, {"beta_chosen": 0.2, "beta_rejected": 0.1}, REFERENCE
  ),
  "srpo": Case(losses.srpo_loss, {"beta": 0.2, "alpha": 0.4}, REFERENCES),
  "inpo": Case(
    losses.inpo_loss,
    {"eta": 0.4, "tau": 0.1},
    REFERENCE | {"previous_chosen", "previous_rejected"},
  ),
  "dno": Case(losses.dno_loss, {"eta": 0.4}, PREVIOUS | REWARDS),
  "online_ipo": Case(
    losses.online_ipo_loss,
    {"tau": 0.3},
    {"reference_first", "reference_second", "preferences"},
  ),
  "xpo": Case(losses.xpo_loss, {"beta": 0.2, "alpha": 0.1}, REFERENCE),
  "slic": Case(losses.slic_loss, {"delta": 1.0, "lam": 0.1}, set()),
  "simpo": Case(losses.simpo_loss, {"beta": 2.0, "gamma": 0.5}, set()),
  "cpo": Case(losses.cpo_loss, {"beta": 0.2, "alpha": 1.0}, set()),
  "orpo": Case(losses.orpo_loss, {"lam": 0.1}, set()),
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
  "kto": Case(_given(losses.kto_loss), {"beta": 0.2}, {"reference_logprobs"}),
  "bco_unpaired": Case(
    _given(losses.bco_unpaired_loss), {"beta": 0.2}, {"reference_logprobs"}
  ),
  "reinforce": Case(losses.reinforce_loss, {}, {"advantages"}),
  "proximal_rloo": Case(losses.proximal_rloo_loss, {"clip": 0.2}, OLD),
  "ppo_policy": Case(losses.ppo_policy_loss, {"clip": 0.2}, OLD),
  "ppo_value": Case(
    losses.ppo_value_loss, {"clip": 0.2}, {"old_values", "returns"}
  ),
  "gspo": Case(losses.gspo_loss, {"clip_low": 0.2, "clip_high": 0.3}, OLD),
  "copg": Case(
    losses.copg_loss,
    {"beta": 0.3},
    {"reference_first", "reference_second"} | REWARDS,
  ),
  "nash_md_pg": Case(
    losses.nash_md_pg_loss, {"tau": 0.3}, {"reference_logprobs", "preferences"}
  ),
  "jbond": Case(
    losses.jbond_loss,
    {"beta": 0.5, "gamma": 0.1},
    {"anchor_logprobs", "rewards", "baselines"},
  ),
  "gail_discriminator": Case(
    _labeled(losses.gail_discriminator_loss), {}, set()
  ),
  "bradley_terry": Case(losses.bradley_terry_loss, {}, set()),
  "preference_model": Case(losses.preference_model_loss, {}, {"preferences"}),
  "cross_entropy": Case(losses.cross_entropy_loss, {}, set()),
}
# Their units share a batch or a response; `test_structured.py` has them.
STRUCTURED = {
  "aot_loss",
  "aot_unpaired_loss",
  "copg_group_loss",
  "dro_batch_variance_loss",
  "grpo_loss",
  "ipo_md_loss",
  "nash_md_pg_one_token_loss",
  "soft_q_loss",
  "soft_q_mixed_loss",
}
WRAPPED = {"kto", "bco_unpaired", "gail_discriminator"}
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
  for place, name in enumerate(case.names):
    if "preferences" in name:
      arrays[place] = jnp.clip(arrays[place], 0.01, 0.99)
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
