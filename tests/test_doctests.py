"""Examples in the docstrings of losses, ops and tabular print what they say."""

import doctest
import importlib
import inspect
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses, tabular

PACKAGE = Path(__file__).resolve().parents[1] / "alignment_jax"
# Names that the examples use without importing them.
NAMES = {
  "jax": jax,
  "jnp": jnp,
  "np": np,
  "losses": losses,
  "tabular": tabular,
}
MODULES = [
  f"alignment_jax.{room}.{path.stem}"
  for room in ("losses", "ops", "tabular")
  for path in sorted((PACKAGE / room).glob("*.py"))
  if path.stem != "__init__"
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_print_what_they_say(name):
  module = importlib.import_module(name)
  result = doctest.testmod(module, extraglobs=NAMES)
  # An example that doctest overlooks would prove nothing.
  assert result.attempted == inspect.getsource(module).count(">>> ")
  assert result.failed == 0


def test_every_public_function_of_losses_has_an_example():
  without = {
    name
    for name in losses.__all__
    if callable(getattr(losses, name))
    and ">>>" not in (getattr(losses, name).__doc__ or "")
  }
  assert without == set()
