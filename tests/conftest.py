"""Strict numerics, eight CPU devices, and shapes checked in every call.

Compiling dominates these tests, so XLA is asked not to optimise.
This file is loaded before any test imports JAX or the library, so that the
settings hold for both. Warnings are errors by `pyproject.toml`.
"""

import os
from pathlib import Path

import flax.struct
import hypothesis
import jax
import jaxtyping
import pytest

ROOT = Path(__file__).resolve().parents[1]
# Fixtures of several rooms; loaded after this file, so that the hook sees them.
pytest_plugins = ["tests.enumerated_worlds"]

UNOPTIMISED = "--xla_backend_optimization_level=0"
if jax.__version_info__ < (0, 11):  # an unknown flag ends the process
  UNOPTIMISED += " --xla_cpu_use_fusion_emitters=false"
# Read when the backend starts; processes that a test starts inherit it.
os.environ["XLA_FLAGS"] = f"{UNOPTIMISED} {os.environ.get('XLA_FLAGS', '')}"
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

# The same cases in every run; compiling makes the first of them slow.
hypothesis.settings.register_profile(
  "default", deadline=None, derandomize=True, max_examples=25
)
hypothesis.settings.load_profile("default")


def _unchecked(dataclass):
  """Keeps the fields of a pytree dataclass out of the type checks.

  JAX rebuilds a pytree with whatever a tree map returns: shapes, shardings,
  booleans. Checked constructors would refuse them. Functions that take or
  return the dataclass are checked as any other.
  """

  def decorate(cls=None, /, **kwargs):
    if cls is None:
      return lambda cls: decorate(cls, **kwargs)
    cls = dataclass(cls, **kwargs)
    cls.__no_type_check__ = True
    return cls

  return decorate


flax.struct.dataclass = _unchecked(flax.struct.dataclass)
jaxtyping.install_import_hook("alignment_jax", "beartype.beartype")


@pytest.fixture
def unchecked_types():
  """Without the checks of types, as users run the library.

  For what our own guards say of a value that an annotation, such as a
  `Literal`, refuses already.
  """
  jaxtyping.config.update("jaxtyping_disable", True)
  yield
  jaxtyping.config.update("jaxtyping_disable", False)
