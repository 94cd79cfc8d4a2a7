"""The files of the library as parsed text: who imports whom.

Parsed, never imported: an import inside a function is seen too.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PACKAGE = "alignment_jax"
ROOT = Path(__file__).resolve().parents[1]


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


def imports(source: Source, within: ast.AST | None = None) -> Iterator[str]:
  """Absolute dotted names of all that a file imports, modules in full.

  `from alignment_jax import scoring` is `alignment_jax.scoring` when there is
  such a module, and `alignment_jax` when it is a name in the root.

  Args:
    source: the file.
    within: look in this node alone.
  """
  for node in ast.walk(within or source.tree):
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


def own_imports(source: Source, within: ast.AST | None = None) -> Iterator[str]:
  """The imports from our package, as dotted names below it; "" is the root."""
  for name in imports(source, within):
    if name == PACKAGE or name.startswith(f"{PACKAGE}."):
      yield name.removeprefix(PACKAGE).removeprefix(".")


def is_within(module: str, package: str) -> bool:
  return module == package or module.startswith(f"{package}.")


def files_in_cycles(sources: Sequence[Source]) -> list[str]:
  """The files that import themselves, through however many others."""
  graph = {source.module: set(own_imports(source)) for source in sources}
  found = []
  for module in graph:
    reached: set[str] = set()
    ahead = list(graph[module])
    while ahead:
      if (target := ahead.pop()) not in reached:
        reached.add(target)
        ahead += graph.get(target, ())
    if module in reached:
      found.append(module)
  return found
