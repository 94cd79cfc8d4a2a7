"""Which small mistakes would the tests not see? `make mutants ROOM=losses`.

Draws changes of one expression or statement from the files of a room, runs the
tests of that room on a copy of the tree that holds the change, and prints what
survived. A survivor either changes nothing that a caller can see (judge by
hand) or shows a test that is missing.

Not drawn: docstrings, annotations, decorators, imports, error messages, and
guards of shapes, which the checked signatures shadow in the tests.
"""

import argparse
import ast
import collections
import concurrent.futures
import difflib
import heapq
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "alignment_jax"
LEFT_OUT = shutil.ignore_patterns(
  ".git", ".venv*", ".cache", "__pycache__", ".*_cache", "runs", "*.egg-info"
)

# Tests of a room: tests/ROOM, tests/test_ROOM.py, and what stands here.
MORE_TESTS = {
  "ops": ["tests/losses", "tests/test_sampling.py", "tests/test_scoring.py"],
  "algorithm": ["tests/algorithms/test_algorithms.py"],
  "rollouts": ["tests/algorithms"],
  "families": ["tests/algorithms"],
  "transforms": ["tests/algorithms/test_algorithms.py"],
  "feedback": ["tests/judges", "tests/experiment"],
  "sampling": ["tests/test_geometric_mixture.py"],
  "training": ["tests/experiment/test_run.py"],
  "types": ["tests/rollouts", "tests/training", "tests/data"],
  "errors": ["tests/experiment"],
}

ARITHMETIC = {
  ast.Add: ast.Sub,
  ast.Sub: ast.Add,
  ast.Mult: ast.Div,
  ast.Div: ast.Mult,
  ast.FloorDiv: ast.Mult,
  ast.Mod: ast.FloorDiv,
  ast.Pow: ast.Mult,
  ast.BitAnd: ast.BitOr,
  ast.BitOr: ast.BitAnd,
}
COMPARISONS = {
  ast.Lt: ast.LtE,
  ast.LtE: ast.Lt,
  ast.Gt: ast.GtE,
  ast.GtE: ast.Gt,
  ast.Eq: ast.NotEq,
  ast.NotEq: ast.Eq,
  ast.Is: ast.IsNot,
  ast.IsNot: ast.Is,
  ast.In: ast.NotIn,
  ast.NotIn: ast.In,
}
OPPOSITES = {
  **{"minimum": "maximum", "min": "max", "argmin": "argmax", "any": "all"},
  **{"fmin": "fmax", "logical_and": "logical_or", "zeros": "ones"},
  **{"zeros_like": "ones_like", "mean": "sum", "floor": "ceil"},
}
OPPOSITES |= {opposite: name for name, opposite in OPPOSITES.items()}
SHAPE_GUARDS = {"same_shape_floats", "floats_of_shape", "flags_of_shape"}


class Mutant(NamedTuple):
  """One change: bytes `start` to `end` of a file become `text`."""

  path: Path  # below the root
  line: int
  operator: str
  start: int
  end: int
  text: str


class Verdict(NamedTuple):
  """What the tests say of a mutant."""

  mutant: Mutant
  killed_by: str | None  # None: it survived
  seconds: float


def expression_changes(node: ast.AST) -> Iterator[tuple[str, str]]:
  """Operator and new text of each way to change an expression."""
  if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
    op = ARITHMETIC[type(node.op)]()
    yield "arithmetic", unparse(ast.BinOp(node.left, op, node.right))
  elif isinstance(node, ast.Compare):
    for index, op in enumerate(node.ops):
      ops = list(node.ops)
      ops[index] = COMPARISONS[type(op)]()
      yield "comparison", unparse(ast.Compare(node.left, ops, node.comparators))
  elif isinstance(node, ast.BoolOp):
    op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield "boolean", unparse(ast.BoolOp(op, node.values))
  elif isinstance(node, ast.UnaryOp):
    yield "dropped sign or not", unparse(node.operand)
  elif isinstance(node, ast.IfExp):
    swapped = ast.IfExp(node.test, node.orelse, node.body)
    yield "swapped branches", unparse(swapped)
  elif isinstance(node, ast.Constant):
    yield from (("constant", text) for text in other_constants(node.value))
  elif isinstance(node, ast.Call):
    yield from call_changes(node)


def other_constants(value: object) -> list[str]:
  if isinstance(value, bool):
    return [str(not value)]
  if isinstance(value, int):
    return [str(value + 1), str(value - 1)]
  if isinstance(value, float):
    return [str(value + 1), str(-value) if value else "-1.0"]
  return []


def call_changes(node: ast.Call) -> Iterator[tuple[str, str]]:
  function = node.func
  name = getattr(function, "attr", getattr(function, "id", ""))
  if name == "stop_gradient" and len(node.args) == 1:
    yield "dropped stop_gradient", unparse(node.args[0])
  if name in OPPOSITES:
    if isinstance(function, ast.Attribute):
      other = ast.Attribute(function.value, OPPOSITES[name])
    else:
      other = ast.Name(OPPOSITES[name])
    yield "opposite", unparse(ast.Call(other, node.args, node.keywords))
  plain = not any(isinstance(arg, ast.Starred) for arg in node.args)
  for index in range(len(node.args) - 1 if plain else 0):
    args = list(node.args)
    args[index : index + 2] = args[index + 1], args[index]
    yield "swapped arguments", unparse(ast.Call(function, args, node.keywords))
  for index, keyword in enumerate(node.keywords):
    if keyword.arg in ("axis", "where", "initial", "keepdims"):
      kept = [*node.keywords[:index], *node.keywords[index + 1 :]]
      changed = ast.Call(function, node.args, kept)
      yield f"dropped {keyword.arg}", unparse(changed)


def statement_changes(node: ast.AST) -> Iterator[tuple[str, str]]:
  """Operator and new text of each way to change a statement."""
  if isinstance(node, ast.AugAssign) or (
    isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
  ):
    yield "removed statement", "pass"
  elif isinstance(node, ast.If) and all(
    isinstance(child, ast.Raise) for child in node.body
  ):
    if not node.orelse:
      yield "removed check", "pass"


def unparse(node: ast.AST) -> str:
  """Source in brackets, so that it may stand where another expression did."""
  text = ast.unparse(ast.fix_missing_locations(node))
  is_atom = isinstance(node, (ast.Name, ast.Constant, ast.Call, ast.Attribute))
  return text if is_atom else f"({text})"


def is_docstring_or_text(node: ast.AST) -> bool:
  return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_type_checking(node: ast.AST) -> bool:
  return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def is_shape_guard(node: ast.AST) -> bool:
  return (
    isinstance(node, ast.Expr)
    and isinstance(node.value, ast.Call)
    and getattr(node.value.func, "attr", "") in SHAPE_GUARDS
  )


def sites(node: ast.AST) -> Iterator[ast.AST]:
  """The nodes below `node` whose change a test could see."""
  skipped: set[ast.AST | None] = set()
  if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
    skipped.update(node.decorator_list)
    skipped.add(node.returns)
  elif isinstance(node, ast.ClassDef):
    skipped.update([*node.decorator_list, *node.bases])
  elif isinstance(node, (ast.arg, ast.AnnAssign)):
    skipped.add(node.annotation)
  for child in ast.iter_child_nodes(node):
    if (
      child in skipped
      or isinstance(child, (ast.Raise, ast.JoinedStr, ast.Import))
      or isinstance(child, (ast.ImportFrom, ast.Assert))
      or is_docstring_or_text(child)
      or is_type_checking(child)
      or is_shape_guard(child)
    ):
      continue
    yield child
    yield from sites(child)


def special_constants(tree: ast.AST) -> dict[ast.AST, str]:
  """The operators of constants that are more than a number in a formula."""
  special: dict[ast.AST, str] = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.arguments):
      for default in (*node.defaults, *filter(None, node.kw_defaults)):
        special[default] = "default"
    elif isinstance(node, ast.keyword) and node.arg == "axis":
      special.update(dict.fromkeys(ast.walk(node.value), "axis"))
  return special


def mutants_of(path: Path, text: str) -> list[Mutant]:
  """Every mutant of a file that still parses."""
  lines = text.encode().splitlines(keepends=True)
  starts = [0]
  for line in lines:
    starts.append(starts[-1] + len(line))
  found = []
  tree = ast.parse(text)
  special = special_constants(tree)
  for node in sites(tree):
    if not hasattr(node, "lineno"):
      continue
    start = starts[node.lineno - 1] + node.col_offset
    end = starts[node.end_lineno - 1] + node.end_col_offset
    for operator, new in (*expression_changes(node), *statement_changes(node)):
      operator = special.get(node, operator)
      mutant = Mutant(path, node.lineno, operator, start, end, new)
      try:
        ast.parse(mutated(text, mutant))
      except SyntaxError:
        continue
      found.append(mutant)
  return found


def mutated(text: str, mutant: Mutant) -> str:
  data = text.encode()
  return (
    data[: mutant.start] + mutant.text.encode() + data[mutant.end :]
  ).decode()


def files_of(room: str, root: Path) -> list[Path]:
  base = root / PACKAGE
  if not (files := sorted((base / room).rglob("*.py"))):
    files = [base / f"{room}.py"]
  if not files[0].exists():
    raise SystemExit(f"no room '{room}'; rooms: {', '.join(rooms(root))}")
  return [path.relative_to(root) for path in files]


def rooms(root: Path) -> list[str]:
  base = root / PACKAGE
  packages = (path.parent.name for path in base.glob("*/__init__.py"))
  modules = (path.stem for path in base.glob("*.py"))
  return sorted({*packages, *modules} - {"__init__"})


def tests_of(room: str, path: Path | None, root: Path) -> list[str]:
  """The test files of a room, the one named like `path` first."""
  files: list[Path] = []
  for name in (
    f"tests/{room}",
    f"tests/test_{room}.py",
    *MORE_TESTS.get(room, ()),
  ):
    given = root / name
    files += sorted(given.rglob("test_*.py")) if given.is_dir() else [given]
  names = list(
    dict.fromkeys(str(f.relative_to(root)) for f in files if f.exists())
  )
  if path is not None:
    namesake = f"test_{path.stem}.py"
    names.sort(key=lambda name: Path(name).name != namesake)
  return names


def run_tests(tree: Path, tests: list[str], timeout: float) -> str | None:
  """The first test that fails in `tree`; None when all pass."""
  command = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
  ]
  environment = {**os.environ, "PYTHONPATH": str(tree)}
  try:
    result = subprocess.run(
      [*command, *tests],
      cwd=tree,
      env=environment,
      capture_output=True,
      text=True,
      timeout=timeout,
      check=False,
    )
  except subprocess.TimeoutExpired:
    return f"no end after {timeout:.0f} s"
  if result.returncode == 0:
    return None
  summary = [
    line
    for line in result.stdout.splitlines()
    if line.startswith(("FAILED", "ERROR"))
  ]
  last = (result.stdout + result.stderr).strip().splitlines()[-1:]
  return " ".join(summary[:1] or last)[:200]


def judge(tree: Path, mutant: Mutant, tests: list[str], timeout: float):
  """Runs the tests with the mutant in `tree`, and takes it out again."""
  path = tree / mutant.path
  text = path.read_text("utf-8")
  began = time.monotonic()
  try:
    write_module(path, mutated(text, mutant))
    killed_by = run_tests(tree, tests, timeout)
  finally:
    write_module(path, text)
  return Verdict(mutant, killed_by, time.monotonic() - began)


def write_module(path: Path, text: str) -> None:
  # Bytecode is kept by size and second: a change of one digit looks the same.
  for cached in path.parent.glob(f"__pycache__/{path.stem}.*"):
    cached.unlink()
  path.write_text(text, "utf-8")


def diff(mutant: Mutant, root: Path) -> str:
  text = (root / mutant.path).read_text("utf-8")
  name = str(mutant.path)
  return "".join(
    difflib.unified_diff(
      text.splitlines(keepends=True),
      mutated(text, mutant).splitlines(keepends=True),
      name,
      f"{name} ({mutant.operator})",
      n=1,
    )
  )


def copy_of(root: Path, target: Path) -> Path:
  shutil.copytree(root, target, ignore=LEFT_OUT, symlinks=True)
  (root / ".cache").mkdir(exist_ok=True)
  (target / ".cache").symlink_to((root / ".cache").resolve())
  return target


def draw(
  mutants: list[Mutant], count: int, generator: random.Random
) -> list[Mutant]:
  """Draws without replacement, each operator as likely as any other."""
  sizes = collections.Counter(mutant.operator for mutant in mutants)
  return heapq.nlargest(
    count, mutants, key=lambda m: generator.random() ** sizes[m.operator]
  )


def sample_room(
  room: str, *, count: int, seed: int, jobs: int, say: Callable[[str], None]
) -> list[Verdict]:
  """Draws `count` mutants of a room and judges each with the room's tests."""
  candidates = [
    mutant
    for path in files_of(room, ROOT)
    for mutant in mutants_of(path, (ROOT / path).read_text("utf-8"))
  ]
  drawn = draw(candidates, count, random.Random(f"{seed} {room}"))
  if not (tests := tests_of(room, None, ROOT)):
    raise SystemExit(f"'{room}' has no tests of its own; add to MORE_TESTS")
  say(f"{room}: {len(drawn)} of {len(candidates)} mutants")
  with tempfile.TemporaryDirectory() as folder:
    trees: queue.Queue[Path] = queue.Queue()
    for index in range(jobs):
      trees.put(copy_of(ROOT, Path(folder) / str(index)))
    tree = trees.queue[0]
    began = time.monotonic()
    if broken := run_tests(tree, tests, 3600):
      raise SystemExit(f"the tests fail without a mutant: {broken}")
    # Twice as long as all tests, and time for a slow start.
    timeout = 60 + 2 * jobs * (time.monotonic() - began)

    def judge_in_a_tree(mutant: Mutant) -> Verdict:
      tree = trees.get()
      try:
        return judge(tree, mutant, tests_of(room, mutant.path, ROOT), timeout)
      finally:
        trees.put(tree)

    verdicts = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
      for verdict in pool.map(judge_in_a_tree, drawn):
        mutant = verdict.mutant
        outcome = "killed  " if verdict.killed_by else "SURVIVED"
        say(
          f"{outcome} {mutant.path}:{mutant.line} {mutant.operator}"
          f" ({verdict.seconds:.0f} s) {verdict.killed_by or ''}"
        )
        if not verdict.killed_by:
          say(diff(mutant, ROOT))
        verdicts.append(verdict)
  killed = sum(verdict.killed_by is not None for verdict in verdicts)
  say(f"{room}: {killed} of {len(verdicts)} killed (seed {seed})")
  return verdicts


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--room", required=True, help="a room, or `all`")
  parser.add_argument("--count", type=int, default=30)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--jobs", type=int, default=1)
  args = parser.parse_args()
  names = rooms(ROOT) if args.room == "all" else args.room.split(",")
  verdicts: list[Verdict] = []
  for room in names:
    verdicts += sample_room(
      room,
      count=args.count,
      seed=args.seed,
      jobs=args.jobs,
      say=lambda line: print(line, flush=True),
    )
  killed = sum(verdict.killed_by is not None for verdict in verdicts)
  print(f"{killed} of {len(verdicts)} mutants killed")


if __name__ == "__main__":
  main()
