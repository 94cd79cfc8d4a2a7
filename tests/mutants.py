"""Which small mistakes would the tests not see? `make mutants ROOM=losses`.

Draws changes of one expression or statement from the files of a room, runs the
tests of that room on a copy of the tree that holds the change, and prints what
survived. A survivor either changes nothing that a caller can see (judge by
hand) or shows a test that is missing.

What may be changed is in `mutations.py` beside this file.
"""

import argparse
import collections
import concurrent.futures
import difflib
import heapq
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.mutations import Mutant, mutants_of, mutated

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "alignment_jax"
LEFT_OUT = shutil.ignore_patterns(
  ".git", ".venv*", ".cache", "__pycache__", ".*_cache", "runs", "*.egg-info"
)

# Tests of a room: tests/ROOM, tests/test_ROOM.py, and what stands here.
MORE_TESTS = collections.defaultdict(
  list,
  {
    "ops": ["tests/losses", "tests/sampling", "tests/scoring"],
    "losses": ["tests/tabular"],
    "tabular": ["tests/losses/test_closed_forms_of_pairs.py"],
    "models": ["tests/scoring", "tests/sampling"],
    "algorithm": ["tests/algorithms/test_algorithms.py"],
    "rollouts": ["tests/algorithms"],
    "families": ["tests/algorithms"],
    "transforms": ["tests/algorithms/test_algorithms.py"],
    "feedback": ["tests/judges", "tests/experiment"],
    "training": ["tests/experiment/test_run.py"],
    "types": ["tests/rollouts", "tests/training", "tests/data"],
    "errors": ["tests/experiment"],
  },
)


class Verdict(NamedTuple):
  """What the tests say of a mutant."""

  mutant: Mutant
  killed_by: str | None  # None: it survived
  seconds: float


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
  """The test files of a room; first those that speak of the module `path`."""
  files: list[Path] = []
  for name in (f"tests/{room}", f"tests/test_{room}.py", *MORE_TESTS[room]):
    given = root / name
    files += sorted(given.rglob("test_*.py")) if given.is_dir() else [given]
  files = [file for file in dict.fromkeys(files) if file.exists()]
  if path is not None:
    mention = re.compile(rf"\b{path.stem}\b")
    files.sort(key=lambda f: -len(mention.findall(f.read_text("utf-8"))))
    files.sort(key=lambda f: f.stem != f"test_{path.stem}")
  return [str(file.relative_to(root)) for file in files]


def run_tests(tree: Path, tests: list[str], timeout: float) -> str | None:
  """The first test that fails in `tree`; None when all pass."""
  options = ["-q", "-x", "-p", "no:cacheprovider"]
  environment = {**os.environ, "PYTHONPATH": str(tree)}
  try:
    result = subprocess.run(
      [sys.executable, "-m", "pytest", *options, *tests],
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
  lines = (result.stderr + result.stdout).strip().splitlines()
  failed = (line for line in lines if line.startswith(("FAILED", "ERROR")))
  return next(failed, lines[-1] if lines else "ended without a word")[:200]


def judge(
  tree: Path, mutant: Mutant, tests: list[str], timeout: float
) -> Verdict:
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
