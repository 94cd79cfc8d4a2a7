"""Every module imports, and the losses import alone."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import alignment_jax

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


def test_every_room_is_a_name_of_the_package():
  rooms = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
  rooms |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
  assert alignment_jax.__all__ == sorted(rooms)
  assert rooms <= set(dir(alignment_jax))
  for room in rooms:
    module = getattr(alignment_jax, room)
    assert module.__name__ == f"alignment_jax.{room}"


def test_a_room_is_there_without_an_import_of_its_own():
  code = "import alignment_jax as aj\naj.tabular"
  assert "alignment_jax.tabular" in modules_after(code)


def test_type_checkers_see_every_room():
  (block,) = (
    node
    for node in ast.parse((PACKAGE / "__init__.py").read_text("utf-8")).body
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
  )
  (statement,) = block.body
  seen = [alias.name for alias in statement.names]
  assert seen == alignment_jax.__all__


def test_every_folder_of_modules_is_a_package():
  # Without an __init__.py it would be missing from the wheel.
  folders = {path.parent for path in PACKAGE.rglob("*.py")}
  assert [str(f) for f in folders if not (f / "__init__.py").exists()] == []


def test_what_is_not_python_is_package_data():
  setup = ast.parse((ROOT / "setup.py").read_text("utf-8"))
  (patterns,) = (
    ast.literal_eval(node.value)["alignment_jax"]
    for node in ast.walk(setup)
    if isinstance(node, ast.keyword) and node.arg == "package_data"
  )
  packed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
  files = {path for path in PACKAGE.rglob("*.*") if path.is_file()}
  assert packed == {p for p in files if p.suffix not in (".py", ".pyc")}


def test_the_losses_import_alone():
  loaded = modules_after("import alignment_jax.losses")
  assert "alignment_jax.losses" in loaded
  assert sorted(loaded.intersection(HEAVY)) == []


def test_the_losses_import_jax_numpy_and_jaxtyping_alone():
  plain = modules_after("import jax, jax.numpy, numpy, jaxtyping")
  loaded = modules_after("import alignment_jax.losses") - plain
  others = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names
  # Below these three, only parts of JAX that it loads when they are first used.
  assert others <= {"alignment_jax", "jax", "jaxlib", "numpy", "jaxtyping"}


def test_the_package_itself_imports_nothing():
  loaded = modules_after("import alignment_jax")
  assert sorted(loaded.intersection(HEAVY + ("jax", "numpy"))) == []


def test_what_is_loaded_is_seen():
  assert "flax" in modules_after("import alignment_jax.types")
