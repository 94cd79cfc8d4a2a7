"""The loops in one file: they need no trainer, stay short, and learn."""

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Script -> its longest length, and what it may import of the library.
LOOPS = {
  "minimal_ipo": (150, {"losses", "models", "models.base", "types"}),
  "minimal_rloo": (
    120,
    {"losses", "models", "models.base", "sampling", "types"},
  ),
}


def printed(name: str) -> list[str]:
  done = subprocess.run(
    [sys.executable, f"experiments/{name}.py"],
    cwd=ROOT,
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines()


@pytest.mark.parametrize("name", LOOPS)
def test_it_is_short_and_needs_no_trainer(name):
  lines, rooms = LOOPS[name]
  text = (ROOT / "experiments" / f"{name}.py").read_text()
  assert len(text.splitlines()) <= lines
  imported = set()
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.ImportFrom) and node.module == "alignment_jax":
      imported |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom | ast.Import):
      names = [getattr(node, "module", None) or node.names[0].name]
      imported |= {
        module.removeprefix("alignment_jax.")
        for module in names
        if module.startswith("alignment_jax.")
      }
  assert imported == rooms


def test_ipo_reaches_the_margin_of_its_optimum():
  steps = [line for line in printed("minimal_ipo") if line.startswith("step")]
  margins = [float(re.search(r"margin +(\S+)", line)[1]) for line in steps]
  # 1 / (2 tau) with tau = 0.1; random responses leave some spread.
  assert abs(margins[0]) < 0.1 and abs(margins[-1] - 5) < 1


def test_rloo_learns_what_its_judge_rewards():
  steps = [line for line in printed("minimal_rloo") if line.startswith("step")]
  rewards = [float(re.search(r"reward +(\S+)", line)[1]) for line in steps]
  # By chance a token is right in 1 of 16 cases.
  assert rewards[0] < 0.15 and rewards[-1] > 0.8
