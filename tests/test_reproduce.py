"""The reproductions run, and what their sources are certain of holds."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "experiments" / "reproduce"
QUICK = ("soft_q_tree", "preference_games", "exploitability_sweep")
NAMES = sorted(
  path.stem
  for path in FOLDER.glob("*.py")
  if "def reproduce(" in path.read_text()
)


def printed_by(code, folder=FOLDER):
  """In a process of its own, as users run it; no figure is written."""
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=folder,
    env={**os.environ, "JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in NAMES
  ],
)
def test_what_a_certain_source_says_holds(name):
  code = (
    f"import {name}, page\n"
    f"result = {name}.reproduce()\n"
    "print(page.table(result))\n"
    "assert result.rows and result.figures and result.remarks\n"
    "assert not page.failed(result), page.failed(result)\n"
  )
  assert "holds" in printed_by(code)


def test_the_page_shows_every_reproduction():
  page = (ROOT / "docs" / "reproductions.md").read_text()
  figures = ROOT / "docs" / "figures"
  shown = {
    line.split("figures/")[1].rstrip(")")
    for line in page.splitlines()
    if line.startswith("![")
  }
  studies = {"lab.png", "rlhf_small.png"}
  assert shown == {path.name for path in figures.glob("*.png")} - studies
  assert page.count("\n## ") == len(NAMES)


def test_every_reproduction_is_listed():
  tree = ast.parse((FOLDER / "all.py").read_text())
  (listed,) = (
    ast.literal_eval(node.value)
    for node in tree.body
    if isinstance(node, ast.Assign) and node.targets[0].id == "ILLUSTRATIONS"
  )
  assert sorted(listed) == NAMES


@pytest.mark.slow
def test_the_lab_runs_whole_in_a_few_steps():
  code = (
    "from experiments.reproduce import page\n"
    "from experiments.studies import lab\n"
    "result = lab.reproduce(lab.SHORT)\n"
    "print(page.table(result))\n"
    "assert result.figures and result.remarks\n"
    "assert len(result.rows) == 9, result.rows\n"
  )
  printed_by(code, ROOT)
