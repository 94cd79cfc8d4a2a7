"""Who may import whom, who may compile and read a config, how files are named.

The rules are DESIGN's; each has a small tree below that breaks it, so that no
rule is a test that cannot fail.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sources import (
  PACKAGE,
  ROOT,
  Source,
  files_in_cycles,
  imports,
  is_within,
  own_imports,
  read,
)

# What each room imports: a room, or one module of it. Every room may import
# itself, but for the losses. Written by hand, and no wider than what is used.
ALLOWED = {
  room: permitted.split()
  for room, permitted in {
    "errors": "",
    "types": "",
    "files": "errors",
    "ops": "types",
    "losses": "errors ops",
    "tabular": "ops",
    "models": "errors files ops types",
    "synthetic": "errors",
    "judges": "errors synthetic",
    "scoring": "errors models ops types",
    "sampling": "errors models ops types",
    "algorithm": "ops types",
    "rollouts": "algorithm models ops sampling scoring types",
    "feedback": "algorithm errors judges models rollouts scoring types",
    "families": (
      "algorithm errors losses models ops rollouts sampling scoring types"
    ),
    "algorithms": (
      "algorithm errors families losses models ops rollouts scoring types"
    ),
    "transforms": "algorithm errors losses models ops",
    "optimizers": "errors",
    "parallel": "errors",
    "data": "errors files synthetic types",
    "evaluation": ("data errors files models parallel sampling scoring types"),
    # It runs any algorithm and names none.
    "training": "algorithm errors files ops parallel types",
    "experiment": (
      "algorithm algorithms data errors evaluation families feedback files"
      " judges models optimizers parallel rollouts sampling scoring training"
      " transforms types"
    ),
  }.items()
}

# They compile, with `parallel.jit`, which alone calls `jax.jit`; what stands
# below them is pure functions for somebody else's program too.
COMPILING = {"parallel", "evaluation", "training", "experiment"}

# Rooms that other projects lift out: what they may import besides the standard
# library and each other.
THIRD_PARTY = {
  "ops": {"jax", "jaxtyping", "numpy"},
  "losses": {"jax", "jaxtyping", "numpy"},
  "tabular": {"jax", "jaxtyping", "numpy", "scipy"},
}

JIT_NAMES = {"jit", "pjit"}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "misc", "_src"}
MAX_LINES = 400


def rooms_are_known(source: Source) -> Iterator[str]:
  if source.module and source.room not in ALLOWED:
    yield f"'{source.room}' is no room; add it to ALLOWED"


def rooms_import_only_rooms_above(source: Source) -> Iterator[str]:
  if not source.module or source.room not in ALLOWED:
    return  # the root holds public names and is kept lazy by test_imports
  for target in own_imports(source):
    if target == "":
      yield "imports the root; import the module that defines the name"
    elif not is_within(target, source.room) and not any(
      is_within(target, permitted) for permitted in ALLOWED[source.room]
    ):
      yield f"may not import {target}"


def losses_do_not_import_each_other(source: Source) -> Iterator[str]:
  if source.room == "losses" and not source.is_package:
    for target in own_imports(source):
      if is_within(target, "losses"):
        yield f"imports {target}; a loss stands alone"


def pure_rooms_stay_light(source: Source) -> Iterator[str]:
  if source.room in THIRD_PARTY:
    for name in imports(source):
      top = name.split(".")[0]
      if top not in THIRD_PARTY[source.room] | {PACKAGE} | set(
        sys.stdlib_module_names
      ):
        yield f"imports {name}"


def only_rooms_from_training_up_compile(source: Source) -> Iterator[str]:
  if source.module == "parallel":
    return
  foreign = {}  # local name -> the module or name of jax or flax it stands for
  for node in ast.walk(source.tree):
    if isinstance(node, ast.Import):
      for alias in node.names:
        local = alias.asname or alias.name.split(".")[0]
        foreign[local] = alias.name
    elif isinstance(node, ast.ImportFrom) and not node.level:
      for alias in node.names:
        name = f"{node.module}.{alias.name}"
        foreign[alias.asname or alias.name] = name
        if name.split(".")[0] in ("jax", "flax") and alias.name in JIT_NAMES:
          yield f"line {node.lineno}: imports {name}"
  for node in ast.walk(source.tree):
    if isinstance(node, ast.Attribute) and node.attr in JIT_NAMES:
      origin = foreign.get(leftmost_name(node), "")
      if origin.split(".")[0] in ("jax", "flax") or (
        is_within(origin, f"{PACKAGE}.parallel")
        and source.room not in COMPILING
      ):
        yield f"line {node.lineno}: uses {ast.unparse(node)}"


def own_modules_are_imported_at_the_top(source: Source) -> Iterator[str]:
  for node in ast.walk(source.tree):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
      for target in own_imports(source, node):
        yield f"line {node.lineno}: {node.name} imports {target} when called"


def config_is_read_in_experiment(source: Source) -> Iterator[str]:
  if source.room != "experiment":
    for name in imports(source):
      if is_within(name, "ml_collections"):
        yield f"imports {name}; only experiment reads a ConfigDict"


def config_has_no_hidden_defaults(source: Source) -> Iterator[str]:
  if source.room == "experiment":
    for node in ast.walk(source.tree):
      if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and "config" in ast.unparse(node.func.value).split("(")[0].lower()
      ):
        yield f"line {node.lineno}: {ast.unparse(node.func)} hides a default"


def names_say_what_is_inside(source: Source) -> Iterator[str]:
  for part in source.module.split("."):
    if part in VAGUE_NAMES:
      yield f"'{part}' says nothing"


def files_hold_one_idea(source: Source) -> Iterator[str]:
  lines = len(source.text.splitlines())
  if lines > MAX_LINES:
    yield f"{lines} lines, more than {MAX_LINES}: two ideas"


def leftmost_name(node: ast.expr) -> str:
  while isinstance(node, ast.Attribute):
    node = node.value
  return node.id if isinstance(node, ast.Name) else ""


RULES: dict[Callable[[Source], Iterator[str]], list[tuple[str, str]]] = {
  # Rule -> files that break it: (path below the package, text).
  rooms_are_known: [("kitchen.py", "")],
  rooms_import_only_rooms_above: [
    ("ops/a.py", "from alignment_jax.models import base"),
    ("ops/a.py", "from alignment_jax import scoring"),
    ("ops/a.py", "def f():\n  import alignment_jax.models.base"),
    ("data/a.py", "from alignment_jax.judges import rouge"),
    ("losses/a.py", "from alignment_jax.types import Tokens"),
    ("losses/a.py", "from .. import models"),
    ("losses/a.py", "from ..models import base"),
    ("losses/__init__.py", "from .. import models"),
    ("models/a.py", "from alignment_jax import ipo_loss"),
    ("models/a.py", "import alignment_jax"),
    ("scoring.py", "from alignment_jax import sampling"),
    ("parallel.py", "from alignment_jax import ops"),
    ("training/a.py", "from alignment_jax.algorithms import ipo"),
    ("training/a.py", "from alignment_jax.algorithms import ALGORITHMS"),
    ("training/a.py", "from alignment_jax import data"),
  ],
  losses_do_not_import_each_other: [
    ("losses/a.py", "from alignment_jax.losses import ipo"),
    ("losses/a.py", "from alignment_jax.losses import ipo_loss"),
    ("losses/a.py", "from .ipo import ipo_loss"),
    ("losses/a.py", "from . import ipo"),
  ],
  pure_rooms_stay_light: [
    ("losses/a.py", "import optax"),
    ("losses/a.py", "def f():\n  from flax import linen"),
    ("ops/a.py", "import scipy.special"),
    ("tabular/a.py", "import matplotlib"),
  ],
  only_rooms_from_training_up_compile: [
    ("sampling.py", "import jax\n@jax.jit\ndef f(x):\n  return x"),
    ("sampling.py", "import jax as j\nf = j.jit(print)"),
    ("sampling.py", "import functools, jax\nfunctools.partial(jax.jit)"),
    ("sampling.py", "from jax import jit as compiled"),
    ("sampling.py", "from jax.experimental.pjit import pjit"),
    ("sampling.py", "from jax.experimental import pjit\nf = pjit.pjit(print)"),
    ("sampling.py", "from flax import nnx\nf = nnx.jit(print)"),
    ("sampling.py", "from alignment_jax import parallel\nparallel.jit(print)"),
    ("training/a.py", "import jax\nf = jax.jit(print)"),
  ],
  own_modules_are_imported_at_the_top: [
    ("ops/a.py", "def f():\n  from alignment_jax import types"),
    ("ops/a.py", "class A:\n  def f(self):\n    from . import masking"),
    ("ops/a.py", "async def f():\n  import alignment_jax.types"),
  ],
  config_is_read_in_experiment: [
    ("training/a.py", "from ml_collections import config_dict"),
    ("data/a.py", "def f():\n  import ml_collections"),
  ],
  config_has_no_hidden_defaults: [
    ("experiment.py", "def f(config):\n  return config.get('tau', 1)"),
    ("experiment.py", "def f(config):\n  return config.model.get('tau')"),
    ("experiment/a.py", "def f(self):\n  return self.config.get('tau')"),
  ],
  names_say_what_is_inside: [
    ("ops/utils.py", ""),
    ("helpers/a.py", ""),
    ("_src/a.py", ""),
    ("misc.py", ""),
    ("models/common.py", ""),
  ],
  files_hold_one_idea: [("ops/a.py", "x = 1\n" * (MAX_LINES + 1))],
}

# What no rule may object to.
INNOCENT = [
  ("types.py", "import flax.struct"),
  (
    "ops/masking.py",
    "import jax.numpy as jnp\nfrom alignment_jax import types",
  ),
  ("losses/__init__.py", "from alignment_jax.losses.ipo import ipo_loss"),
  ("losses/ipo.py", "import jax\nfrom alignment_jax.ops import a"),
  ("tabular/a.py", "import scipy.optimize\nfrom . import b"),
  ("models/base.py", "import flax.linen as nn\nfrom .. import types"),
  ("algorithms/base.py", ""),
  ("algorithms/ipo.py", "from alignment_jax.losses import ipo"),
  ("training/step.py", "from alignment_jax.algorithm import Algorithm"),
  ("training/loop.py", "from alignment_jax.algorithm import Algorithm"),
  ("training/a.py", "from alignment_jax import parallel\nparallel.jit(print)"),
  ("parallel.py", "import jax\nf = jax.jit(print)"),
  ("data/a.py", "def f(names):\n  return names.get('config')"),
  (
    "experiment.py",
    "import ml_collections\nfrom alignment_jax import training\n"
    "def f(config, TABLE):\n  return TABLE.get(config.name)",
  ),
]


def unused_permissions(
  sources: list[Source], allowed: dict[str, list[str]]
) -> list[str]:
  """The lines of a table that no import needs."""
  used = {room: set() for room in allowed}
  for source in sources:
    used.setdefault(source.room, set()).update(own_imports(source))
  return [
    f"{room} never imports {permitted}"
    for room, permissions in allowed.items()
    for permitted in permissions
    if not any(is_within(target, permitted) for target in used[room])
  ]


def write(root: Path, files: list[tuple[str, str]]) -> None:
  for name, text in files:
    path = root / PACKAGE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def violations(rule, root: Path) -> list[str]:
  return [
    f"{PACKAGE}.{source.module}: {problem}"
    for source in read(root)
    for problem in rule(source)
  ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_library_keeps_the_rule(rule):
  assert violations(rule, ROOT) == []


@pytest.mark.parametrize(
  "rule, name, text",
  [(rule, *file) for rule, files in RULES.items() for file in files],
  ids=lambda value: getattr(value, "__name__", None),
)
def test_the_rule_can_fail(rule, name, text, tmp_path):
  write(tmp_path, INNOCENT + [("scoring.py", ""), ("sampling.py", "")])
  write(tmp_path, [(name, text)])
  found = violations(rule, tmp_path)
  module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
  assert found and all(f"{PACKAGE}.{module}: " in line for line in found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_leaves_the_innocent_alone(rule, tmp_path):
  write(tmp_path, INNOCENT)
  assert violations(rule, tmp_path) == []


def test_no_files_import_each_other_in_a_circle():
  assert files_in_cycles(read(ROOT)) == []


def test_a_circle_of_files_is_found_within_a_room(tmp_path):
  write(
    tmp_path,
    [
      ("ops/__init__.py", "from alignment_jax.ops import a"),
      ("ops/a.py", "from alignment_jax.ops.b import f"),
      ("ops/b.py", "def g():\n  from . import c"),
      ("ops/c.py", "from . import a"),
      ("ops/d.py", "from . import a"),
    ],
  )
  assert files_in_cycles(read(tmp_path)) == ["ops.a", "ops.b", "ops.c"]


def test_every_permission_is_used():
  assert unused_permissions(read(ROOT), ALLOWED) == []


def test_an_unused_permission_is_found(tmp_path):
  write(tmp_path, [("errors.py", ""), ("types.py", "")])
  write(tmp_path, [("data/a.py", "from alignment_jax import errors")])
  allowed = {"data": ["errors", "types"], "ops": []}
  assert unused_permissions(read(tmp_path), allowed) == [
    "data never imports types"
  ]
