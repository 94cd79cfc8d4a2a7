"""What the code says of itself, in one table: `make counts`.

Numbers to watch, counted in the parsed sources. `--run` adds how often the
sources of data are opened and the methods built in a tiny quickstart.
"""

import argparse
import ast
import collections
import contextlib
import dataclasses
import functools
import io
import re
import runpy
import tempfile
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignment_jax import data, experiment, models
from alignment_jax.algorithm import Method
from alignment_jax.algorithms import ALGORITHMS
from alignment_jax.models import architectures
from tests import sources, words

ROOT = sources.ROOT

# Where a user's keywords are bound to parameters, for a good error. Nothing
# else may ask how a function names its parameters.
BINDS_KEYWORDS = {
  ("experiment.methods", "_bind"),
  ("judges", "_built"),
}
# What holds the name of such an entry, by the word that it is called.
NAME = re.compile(r"\b(name|method|algorithm|architecture)\b")
# Stages of every config, which happen to be called as their methods are.
STAGES = {"sft", "reward_model", "preference_model"}
MAX_LINES = 400

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
  for node in ast.walk(tree):
    if isinstance(node, Function):
      yield node


def table_keys() -> set[str]:
  """The names of methods, models and architectures."""
  tables = (ALGORITHMS, models.MODELS, architectures.ARCHITECTURES)
  return {key for table in tables for key in table} - STAGES


def texts(node: ast.AST) -> Iterator[str]:
  for child in ast.walk(node):
    if isinstance(child, ast.Constant) and isinstance(child.value, str):
      yield child.value


def decided_by_names(library: list[sources.Source]) -> list[str]:
  """Where the name of a parameter, method or model decides what is done."""
  keys = table_keys()
  found = []
  for source in library:
    binders = {
      node
      for function in functions(source.tree)
      if (source.module, function.name) in BINDS_KEYWORDS
      for node in ast.walk(function)
    }
    for node in ast.walk(source.tree):
      if node not in binders and decides_by_name(node, keys):
        found.append(f"{source.module}:{node.lineno}: {ast.unparse(node)}")
  return found


def decides_by_name(node: ast.AST, keys: set[str]) -> bool:
  if isinstance(node, ast.Attribute):
    return ast.unparse(node) in ("inspect.signature", "inspect.getfullargspec")
  if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
    if node.func.attr in ("startswith", "endswith"):
      starts = [text for arg in node.args for text in texts(arg) if text]
      return any(
        key != start and getattr(key, node.func.attr)(start)
        for start in starts
        for key in keys
      )
  if isinstance(node, ast.Compare):
    compared = {
      text
      for side in (node.left, *node.comparators)
      if isinstance(side, (ast.Constant, ast.Tuple, ast.Set, ast.List))
      for text in texts(side)
    }
    return bool(compared & keys) and bool(NAME.search(ast.unparse(node)))
  return False


def private_names_of_tests(root: Path) -> list[str]:
  """Names with a leading underscore that tests take out of a library module."""
  found = []
  for path in sorted((root / "tests").rglob("*.py")):
    tree = ast.parse(path.read_text("utf-8"))
    modules = set()
    for node in ast.walk(tree):
      if isinstance(node, ast.ImportFrom):
        if sources.is_within(node.module or "", sources.PACKAGE):
          names = [alias.name for alias in node.names]
          modules.update(alias.asname or alias.name for alias in node.names)
          found += [f"{path.name}: {n}" for n in names if n.startswith("_")]
      elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.value.id in modules and is_private(node.attr):
          found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
  return found


def is_private(name: str) -> bool:
  return name.startswith("_") and not name.startswith("__")


def is_annotated(function: Function) -> bool:
  """Whether every parameter but self and cls, and the return, has a type."""
  spec = function.args
  parameters = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
  parameters += filter(None, (spec.vararg, spec.kwarg))
  return function.returns is not None and all(
    parameter.annotation is not None or parameter.arg in ("self", "cls")
    for parameter in parameters
  )


def comments(text: str) -> int:
  tokens = tokenize.generate_tokens(io.StringIO(text).readline)
  return sum(token.type == tokenize.COMMENT for token in tokens)


def long_files(root: Path) -> list[str]:
  return [
    f"{path.relative_to(root)}: {length} lines"
    for folder in words.FOLDERS
    for path in sorted((root / folder).rglob("*.py"))
    if (length := len(path.read_text("utf-8").splitlines())) > MAX_LINES
  ]


def share(part: int, whole: int) -> str:
  return f"{100 * part / whole:.1f} % ({part} of {whole})"


def table(root: Path) -> dict[str, tuple[Any, list[str]]]:
  """Of each count: the number, and where to look."""
  library = sources.read(root)
  defs = [
    (source.module, function)
    for source in library
    for function in functions(source.tree)
  ]
  bare = [
    f"{module}:{function.lineno}: {function.name}"
    for module, function in defs
    if not is_annotated(function)
  ]
  lines = sum(len(source.text.splitlines()) for source in library)
  notes = sum(comments(source.text) for source in library)
  findings = {
    "files in import cycles": sources.files_in_cycles(library),
    "behaviours decided by names": decided_by_names(library),
    "retired identifiers": words.problems(root),
    "private names that tests take": private_names_of_tests(root),
    "files past 400 lines": long_files(root),
  }
  return {
    **{what: (len(found), found) for what, found in findings.items()},
    "annotated signatures": (share(len(defs) - len(bare), len(defs)), bare),
    "comments per 100 lines": (f"{100 * notes / lines:.1f}", []),
  }


def counts_of_a_run() -> dict[str, collections.Counter[str]]:
  """How often a tiny quickstart opens its sources and builds its methods."""
  opened, built = collections.Counter(), collections.Counter()
  source, entries = data.Source, dict(ALGORITHMS)

  class CountingSource(source):
    def __init__(self, name: str, **options: Any) -> None:
      opened[name] += 1
      super().__init__(name, **options)

  def counting(name: str, method: Method) -> Method:
    @functools.wraps(method.factory)
    def factory(*args: Any, **keywords: Any) -> Any:
      built[name] += 1
      return method.factory(*args, **keywords)

    return dataclasses.replace(method, factory=factory)

  path = ROOT / "configs" / "quickstart.py"
  with tempfile.TemporaryDirectory() as workdir:
    try:
      data.Source = CountingSource
      ALGORITHMS.update({n: counting(n, m) for n, m in entries.items()})
      config = runpy.run_path(str(path))["get_config"]("tiny")
      with contextlib.redirect_stdout(io.StringIO()):
        experiment.train(config, workdir)
    finally:
      data.Source = source
      ALGORITHMS.update(entries)
  return {"sources opened": opened, "methods built": built}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--list", action="store_true", help="show where, too")
  parser.add_argument("--run", action="store_true", help="a quickstart, too")
  args = parser.parse_args()
  for what, (number, found) in table(ROOT).items():
    print(f"{what:32} {number}")
    for line in found if args.list else []:
      print(f"  {line}")
  for what, counter in counts_of_a_run().items() if args.run else ():
    print(f"{what:32} {counter.total()}")
    for name, number in sorted(counter.items()):
      print(f"  {number} {name}")


if __name__ == "__main__":
  main()
