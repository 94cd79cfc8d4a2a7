"""What is counted of a source, and how far raters agree."""

import itertools
import json
import math
import os
import pathlib
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.data import human_ratings, summary

ROOT = pathlib.Path(__file__).resolve().parents[2]


def brute_force(ratings):
  """The definition, in exact arithmetic."""
  chances = []
  for one, two in itertools.permutations(ratings, 2):
    ones, twos = one.tolist(), two.tolist()
    if Fraction(sum(ones), len(ones)) - Fraction(sum(twos), len(twos)) < 1:
      continue
    pairs = list(itertools.product(ones, twos))
    score = sum(Fraction((a > b) - (a < b) + 1, 2) for a, b in pairs)
    chances.append(score / len(pairs))
  return float(sum(chances) / len(chances))


def test_agreement_is_the_mean_over_pairs_of_texts_and_raters():
  rng = np.random.default_rng(0)
  ratings = [rng.integers(-4, 5, rng.integers(3, 11)) for _ in range(60)]
  # 1e-12: sums of some thousand shares.
  assert abs(summary.agreement(ratings) - brute_force(ratings)) < 1e-12


def test_means_exactly_as_far_apart_as_clear_count():
  # Tenths: in floating point 1.7 - 0.7 is below 1.
  high = np.array([1, 1, 1, 2, 2, 2, 2, 2, 2, 3])
  low = high - 1
  assert human_ratings.CLEAR == 1.0
  found = summary.agreement([high, low])
  assert abs(found - brute_force([high, low])) < 1e-12  # NaN if not counted


def test_a_tie_of_raters_counts_half():
  one, two = np.array([1, 1]), np.array([1, -1])
  assert summary.agreement([one, two]) == 0.75  # a tie and a win


def test_texts_of_no_clear_order_have_no_agreement():
  assert math.isnan(summary.agreement([np.array([1]), np.array([1])]))
  assert math.isnan(summary.agreement([]))


def test_the_human_ratings_are_counted(data_dir):
  lines = summary.summarize("human_ratings", data_dir=str(data_dir))
  table = {line[:26].strip(): line[26:].split() for line in lines.splitlines()}
  assert table["read"] == ["60"] * 4 + ["240"]
  assert table["left out: copies, merged"] == ["0"] * 5
  assert table["left out: too short"] == ["0"] * 5
  assert table["single ratings"] == ["180"] * 4 + ["720"]
  assert sum(map(int, table["demonstrations"])) == 240
  assert "a tie counts half" in lines
  for view in human_ratings.VIEWS:
    (sample,) = [
      line for line in lines.splitlines() if line.startswith(f"{view}, a row: ")
    ]
    assert "prompt" in json.loads(sample.partition(": ")[2])


def write(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(path)


def test_a_file_of_pairs_gives_two_kinds_and_says_why_not_the_third(tmp_path):
  rows = [
    {"prompt": f"q {i}", "chosen": "a" * 500, "rejected": "b"} for i in range(4)
  ]
  lines = summary.summarize(
    write(tmp_path / "mine.jsonl", rows), data_dir="nowhere"
  ).splitlines()
  counts = "train 2, validation 1, test 1"
  assert lines[0].startswith(f"demonstration: {counts}; a row: ")
  assert lines[1].startswith(f"preference: {counts}; a row: ")
  assert lines[2].startswith("no feedback: ") and "reward" in lines[2]
  assert len(lines[0]) < 400  # long texts are cut


def test_a_prepared_dataset_is_summarised(prepared):
  lines = summary.summarize(
    "tfds:human_ratings/feedback", data_dir=str(prepared)
  ).splitlines()
  kinds = [line.partition(":")[0] for line in lines]
  assert kinds == ["demonstration", "no preference", "feedback", "prompt"]


def test_a_row_that_cannot_be_used_is_an_error(tmp_path):
  rows = [{"prompt": "p", "response": ""}]
  with pytest.raises(errors.UserError, match="line 1: 'response' is empty"):
    summary.summarize(write(tmp_path / "a.jsonl", rows), data_dir="nowhere")


@pytest.mark.parametrize(
  "response, status, output", [("a", 0, "demonstration:"), ("", 2, "error: ")]
)
def test_the_script_prints_the_summary_or_one_line(
  tmp_path, response, status, output
):
  rows = [{"prompt": f"q {i}", "response": response} for i in range(4)]
  source = write(tmp_path / "mine.jsonl", rows)
  result = subprocess.run(
    [sys.executable, "experiments/prepare_data.py", f"--source={source}"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == status
  assert (result.stderr if status else result.stdout).startswith(output)
  assert len(result.stderr.splitlines()) == bool(status)


def test_the_script_reads_prepared_data_where_it_is_told(prepared, tmp_path):
  def printed(folder):
    return subprocess.run(
      [
        *(sys.executable, "experiments/prepare_data.py"),
        "--source=tfds:human_ratings/feedback",
        f"--data_dir={folder}",
      ],
      cwd=ROOT,
      # Nothing is fetched where it is not.
      env={**os.environ, "PIP_NO_INDEX": "1", "JAX_PLATFORMS": "cpu"},
      capture_output=True,
      text=True,
      check=False,
    )

  there, elsewhere = printed(prepared), printed(tmp_path)
  assert there.returncode == 0, there.stderr
  assert "feedback:" in there.stdout
  assert elsewhere.returncode == 2 and "error: " in elsewhere.stderr
