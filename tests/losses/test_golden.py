"""Values and gradients of every loss against NumPy in float64.

`golden/reference/` was written from the papers, without sight of the library;
`golden/vectors.json` is what it says of the inputs of `golden/make_vectors.py`.
"""

import json
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses
from alignment_jax.ops import means

GOLDEN = Path(__file__).parent / "golden"
ENTRIES = json.loads((GOLDEN / "vectors.json").read_text())
# The inputs are multiples of 1/64: subtracting them costs nothing in float32,
# so what is left is the rounding of a few operations, each of 6e-8.
RTOL = 1e-5
# What is a difference of larger terms is as right as the terms are, to 6e-8 of
# them: slopes of two sigmoids, 6 beta / 4 = 0.15 at most; shares of a whitened
# batch, a handful up to 1; a start and a step away from it, each up to 2.
ATOL = {
  "apo_down_loss": 1e-8,
  "rcfd_composite_reward": 5e-7,
  "slerp_merge": 2e-7,
}


@pytest.fixture(scope="module")
def make_vectors():
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(GOLDEN))
    yield runpy.run_path(str(GOLDEN / "make_vectors.py"))


def _identify(entry):
  settings = entry["coefficients"].items()
  return "-".join(
    [entry["function"]]
    + [f"{name}={_spell(value)}" for name, value in settings]
  )


def _spell(value):
  return value["function"] if isinstance(value, dict) else value


def _arrays(x):
  """JSON as 32-bit arrays, and trees of them as they are."""
  if isinstance(x, dict):
    return {name: _arrays(value) for name, value in x.items()}
  if isinstance(x, list) and isinstance(x[0], dict):
    return [_arrays(value) for value in x]
  x = np.asarray(x)
  if x.dtype == bool:
    return jnp.asarray(x)
  kind = np.float32 if np.issubdtype(x.dtype, np.floating) else np.int32
  return jnp.asarray(x.astype(kind))


def _plain(output):
  return output.value() if isinstance(output, means.Mean) else output


def _assert_close(entry, actual, expected, name=""):
  np.testing.assert_allclose(
    actual,
    np.asarray(expected),
    rtol=RTOL,
    atol=ATOL.get(entry["function"], 0),
    err_msg=name,
  )


def _call(entry, make_vectors):
  """The function of the entry's inputs, its coefficients filled in."""
  function = getattr(losses, entry["function"])
  coefficients = {
    name: make_vectors["resolve"](value, losses)
    for name, value in entry["coefficients"].items()
  }
  return lambda inputs: _plain(function(**inputs, **coefficients))


@pytest.mark.parametrize("entry", ENTRIES, ids=_identify)
def test_the_value_is_that_of_the_paper(entry, make_vectors):
  actual = _call(entry, make_vectors)(_arrays(entry["inputs"]))
  expected = _arrays(entry["value"])
  jax.tree.map(
    lambda a, e: _assert_close(entry, a, e),
    *(list(x) if isinstance(x, tuple) else x for x in (actual, expected)),
  )


@pytest.mark.parametrize(
  "entry", [e for e in ENTRIES if "gradients" in e], ids=_identify
)
def test_the_gradient_is_that_of_the_paper(entry, make_vectors):
  inputs = _arrays(entry["inputs"])
  live = {name: inputs.pop(name) for name in entry["gradients"]}
  value, pull_back = jax.vjp(
    lambda live: _call(entry, make_vectors)(inputs | live), live
  )
  weights = jnp.arange(1, value.size + 1, dtype=value.dtype)
  (actual,) = pull_back(weights.reshape(value.shape))
  for name, gradient in entry["gradients"].items():
    _assert_close(entry, actual[name], gradient, name)


def test_the_reference_still_says_what_is_written(make_vectors):
  again = make_vectors["entries"]()
  assert len(again) == len(ENTRIES)
  for entry, stored in zip(again, ENTRIES, strict=True):
    for part in ("function", "coefficients", "inputs"):
      assert entry[part] == stored[part]
    # Another machine may round the last digits of exp and log differently.
    for part in ("value", "gradients"):
      jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-9),
        entry.get(part),
        stored.get(part),
      )


def test_every_public_loss_has_an_entry():
  public = {name for name in dir(losses) if name.endswith("_loss")}
  assert public <= {entry["function"] for entry in ENTRIES}
