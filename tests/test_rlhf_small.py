"""The study of many methods: its table of wins, its page, its tiny form."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.studies import rlhf_page

ROOT = Path(__file__).resolve().parents[1]


def verdicts(gold):
  """Of methods whose seeds have these scores, [seeds, prompts]."""

  def seed(scores):
    verdict = dict(kl=0.5, kl_error=0.1, proxy=1.0, vader=0.2, length=7.0)
    verdict["samples"] = ["film: A | good one"]
    return {"seconds": 30.0, **verdict, "gold": list(scores)}

  shared = {
    name: {"seconds": 30.0, "numbers": {"reward model accuracy": 0.75}}
    for name in ("reward", "gold")
  }
  return {
    "shared": shared,
    "methods": {n: [seed(s) for s in rows] for n, rows in gold.items()},
  }


def test_who_wins_is_counted_by_prompt_and_seed():
  table = rlhf_page.pairwise(
    {
      "A": np.array([[1.0, 1.0], [0.0, 3.0]]),
      "B": np.array([[0.0, 1.0], [2.0, 2.0]]),
    }
  )
  # Prompt 0: won and lost; prompt 1: tied and won.
  rate, low, high = table["A", "B"]
  assert rate == pytest.approx((0.5 + 0.75) / 2)
  assert low <= rate <= high
  assert table["B", "A"][0] == pytest.approx(1 - rate)


def test_the_page_says_what_failed_and_how_long_it_took(tmp_path):
  path = rlhf_page.write_page(
    verdicts({"SFT": [[0.0, 1.0]], "IPO": [[1.0, 1.0]]}),
    {"DPO, seed 2": "UserError: no"},
    {"SFT": "", "IPO": "offline, pairs"},
    tmp_path,
    command="python this.py",
  )
  text = re.sub(" +", " ", path.read_text())
  # Two shared stages and two methods of half a minute each.
  assert "`python this.py` on" in text
  assert "its parts took 2 minutes" in text
  assert "- DPO, seed 2: UserError: no" in text
  assert "- IPO: `film: A | good one`" in text
  # IPO wins one of two prompts and ties the other.
  assert "| IPO | offline, pairs | 1.00 ± 0.00 |" in text
  assert "| 75 (" in text
  assert (tmp_path / "figures" / "rlhf_small.png").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.network
def test_the_tiny_form_runs_whole_and_is_not_done_again(tmp_path):
  def run():
    return subprocess.run(
      [
        *(sys.executable, "-m", "experiments.studies.rlhf_small"),
        "--size=tiny",
        *(f"--workdir={tmp_path / 'run'}", f"--data_dir={ROOT / 'data'}"),
      ],
      cwd=ROOT,
      env={**os.environ, "JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"},
      capture_output=True,
      text=True,
      check=False,
    )

  done = run()
  assert done.returncode == 0, done.stdout + done.stderr
  kept = {
    path.name: json.loads(path.read_text())
    for path in (tmp_path / "run" / "verdicts").glob("*.json")
  }
  assert kept.keys() == {
    f"{name}-0.json" for name in ("SFT", "IPO", "RLOO", "Nash-MD")
  }
  for verdict in kept.values():
    assert np.isfinite(verdict["kl"])
  again = run()
  assert again.returncode == 0 and "step" not in again.stdout
  text = (tmp_path / "run" / "rlhf_small.md").read_text()
  assert "| Nash-MD | online, preference |" in re.sub(" +", " ", text)
