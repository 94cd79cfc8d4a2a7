"""Every module imports, and the losses import alone."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "alignment_jax"

# What a project that only wants the losses must not pay for.
HEAVY = (
  "flax",
  "orbax",
  "tensorflow",
  "tensorflow_datasets",
  "ml_collections",
  "alignment_jax.types",
  "alignment_jax.models",
  "alignment_jax.training",
)


def module_name(path: Path) -> str:
  parts = path.relative_to(ROOT).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_after(statement: str) -> set[str]:
  """The modules that a fresh interpreter holds after `statement`."""
  code = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
  out = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert out.returncode == 0, out.stderr
  return set(json.loads(out.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
  "name", sorted(module_name(path) for path in PACKAGE.rglob("*.py"))
)
def test_every_module_imports(name):
  importlib.import_module(name)


def test_every_folder_of_modules_is_a_package():
  # Without an __init__.py it would be missing from the wheel.
  folders = {path.parent for path in PACKAGE.rglob("*.py")}
  assert [str(f) for f in folders if not (f / "__init__.py").exists()] == []


def test_the_losses_import_alone():
  loaded = modules_after("import alignment_jax.losses")
  assert "alignment_jax.losses" in loaded
  assert sorted(loaded.intersection(HEAVY)) == []


def test_the_package_itself_imports_nothing():
  loaded = modules_after("import alignment_jax")
  assert sorted(loaded.intersection(HEAVY + ("jax", "numpy"))) == []


def test_what_is_loaded_is_seen():
  assert "flax" in modules_after("import alignment_jax.types")
