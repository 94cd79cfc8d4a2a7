"""Who may import whom, where jit and config may live, and how files are named.

The sources are parsed, never imported: an import inside a function counts. The
rules are DESIGN's; each has a small tree below that breaks it, so that no rule
is a test that cannot fail.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "alignment_jax"
ROOT = Path(__file__).resolve().parents[1]

# What each room may import: a room, or one module of it. Every room may import
# itself, but for the losses. Written by hand: a new room needs a new line.
ALLOWED = {
  "errors": set(),
  "files": {"errors"},
  "types": set(),
  "ops": {"errors", "types"},
  "losses": {"errors", "ops"},
  "tabular": {"errors", "ops"},
  "models": {"errors", "types", "ops"},
  "judges": {"errors", "types", "ops", "models"},
  "scoring": {"errors", "types", "ops", "models"},
  "sampling": {"errors", "types", "ops", "models"},
  "algorithm": {"errors", "types", "ops"},
}
ALLOWED["rollouts"] = {
  *("errors", "types", "ops", "models"),
  *("scoring", "sampling", "algorithm"),
}
ALLOWED["families"] = {*ALLOWED["rollouts"], "losses", "rollouts"}
ALLOWED["algorithms"] = {*ALLOWED["families"], "families"}
ALLOWED["transforms"] = {"errors", "ops", "losses", "models", "algorithm"}
ALLOWED["optimizers"] = {"errors", "types", "ops"}
ALLOWED["parallel"] = {"errors", "types"}
ALLOWED["data"] = {"errors", "files", "types", "judges.lab"}
ALLOWED["evaluation"] = {
  *("errors", "files", "types", "ops", "models", "scoring", "sampling"),
  *("parallel", "data"),
}
# It runs any algorithm and names none.
ALLOWED["training"] = {
  *("errors", "files", "types", "ops", "algorithm", "parallel"),
}
ALLOWED["experiment"] = set(ALLOWED)

# Rooms that other projects lift out: what they may import besides the standard
# library and each other.
THIRD_PARTY = {
  "ops": {"jax", "chex", "jaxtyping", "numpy"},
  "losses": {"jax", "chex", "jaxtyping", "numpy"},
  "tabular": {"jax", "chex", "jaxtyping", "numpy", "scipy"},
}

JIT_NAMES = {"jit", "pjit"}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "misc", "_src"}
MAX_LINES = 400


class Source(NamedTuple):
  """One parsed file and all the modules that exist beside it."""

  module: str  # dotted, below the package: "losses.ipo"; "" is the root
  is_package: bool
  text: str
  tree: ast.Module
  known: frozenset[str]

  @property
  def room(self) -> str:
    return self.module.split(".")[0]


def read(root: Path) -> list[Source]:
  """Parses every file of the package under `root`."""
  base = root / PACKAGE
  paths = {}
  for path in sorted(base.rglob("*.py")):
    parts = path.relative_to(base).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    paths[".".join(parts[:-1] if is_package else parts)] = (path, is_package)
  known = frozenset(paths).union(
    module.rpartition(".")[0] for module in paths if "." in module
  )
  sources = []
  for module, (path, is_package) in paths.items():
    text = path.read_text("utf-8")
    tree = ast.parse(text, str(path))
    sources.append(Source(module, is_package, text, tree, known))
  return sources


def imports(source: Source) -> Iterator[str]:
  """Absolute dotted names of all that a file imports, modules in full.

  `from alignment_jax import scoring` is `alignment_jax.scoring` when there is
  such a module, and `alignment_jax` when it is a name in the root.
  """
  for node in ast.walk(source.tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      origin = node.module or ""
      if node.level:
        here = [PACKAGE, *filter(None, source.module.split("."))]
        up = node.level - 1 if source.is_package else node.level
        origin = ".".join([*here[: len(here) - up], *filter(None, [origin])])
      for alias in node.names:
        full = f"{origin}.{alias.name}"
        yield (
          full if full.removeprefix(f"{PACKAGE}.") in source.known else origin
        )


def own_imports(source: Source) -> Iterator[str]:
  """The imports from our package, as dotted names below it; "" is the root."""
  for name in imports(source):
    if name == PACKAGE or name.startswith(f"{PACKAGE}."):
      yield name.removeprefix(PACKAGE).removeprefix(".")


def within(module: str, place: str) -> bool:
  return module == place or module.startswith(f"{place}.")


def rooms_are_known(source: Source) -> Iterator[str]:
  if source.module and source.room not in ALLOWED:
    yield f"'{source.room}' is no room; add it to ALLOWED"


def rooms_import_only_rooms_above(source: Source) -> Iterator[str]:
  if not source.module or source.room not in ALLOWED:
    return  # the root holds public names and is kept lazy by test_imports
  for target in own_imports(source):
    if target == "":
      yield "imports the root; import the module that defines the name"
    elif not within(target, source.room) and not any(
      within(target, place) for place in ALLOWED[source.room]
    ):
      yield f"may not import {target}"


def losses_do_not_import_each_other(source: Source) -> Iterator[str]:
  if source.room == "losses" and not source.is_package:
    for target in own_imports(source):
      if within(target, "losses"):
        yield f"imports {target}; a loss stands alone"


def pure_rooms_stay_light(source: Source) -> Iterator[str]:
  if source.room in THIRD_PARTY:
    for name in imports(source):
      top = name.split(".")[0]
      if top not in THIRD_PARTY[source.room] | {PACKAGE} | set(
        sys.stdlib_module_names
      ):
        yield f"imports {name}"


def jit_lives_in_parallel(source: Source) -> Iterator[str]:
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
      if origin.split(".")[0] in ("jax", "flax"):
        yield f"line {node.lineno}: uses {ast.unparse(node)}"


def config_is_read_in_experiment(source: Source) -> Iterator[str]:
  if source.room != "experiment":
    for name in imports(source):
      if within(name, "ml_collections"):
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
  jit_lives_in_parallel: [
    ("sampling.py", "import jax\n@jax.jit\ndef f(x):\n  return x"),
    ("sampling.py", "import jax as j\nf = j.jit(print)"),
    ("sampling.py", "import functools, jax\nfunctools.partial(jax.jit)"),
    ("sampling.py", "from jax import jit as compiled"),
    ("sampling.py", "from jax.experimental.pjit import pjit"),
    ("sampling.py", "from jax.experimental import pjit\nf = pjit.pjit(print)"),
    ("sampling.py", "from flax import nnx\nf = nnx.jit(print)"),
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
  ("losses/ipo.py", "import chex\nimport jax\nfrom alignment_jax.ops import a"),
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
