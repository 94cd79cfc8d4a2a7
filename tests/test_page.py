"""How claims are shown: the criterion in words is the one that is tested."""

import math

import numpy as np
import pytest

from experiments.reproduce import page


@pytest.mark.parametrize(
  ("value", "bound", "text", "holds"),
  [
    (1e-10, {"below": 1e-9, "name": "error"}, "error < 1e-9", True),
    (1e-9, {"below": 1e-9}, "< 1e-9", False),
    ([1.0, 3.0], {"above": 2}, "each > 2", False),
    (0.03, {"above": 0.02, "below": 0.05}, "between 0.02 and 0.05", True),
    (0.05, {"above": 0.02, "below": 0.05}, "between 0.02 and 0.05", False),
    (1 + 1e-7, {"at_most": 1, "tolerance": 1e-6}, "<= 1 + 1e-6", True),
    (1 + 1e-5, {"at_most": 1, "tolerance": 1e-6}, "<= 1 + 1e-6", False),
    (0.98, {"at_least": 1, "tolerance": 0.01}, ">= 1 - 0.01", False),
    (4.0, {"at_least": 4, "where": "all games"}, ">= 4, all games", True),
    (0.6, {"at_most": 0.636, "of": "log 4 - 3/4"}, "", True),
    (0.17, {"equals": 0.15, "tolerance": 0.03}, "within 0.03 of 0.15", True),
    ([0.1, 0.9], {"equals": [0.1, 0.8], "tolerance": 0.05}, "", False),
    (3, {"equals": 3, "name": "arm"}, "arm exactly 3", True),
    ([1.0, 2.0, 2.0], {"order": "increasing"}, "strictly increasing", False),
    ([3.0, 2.0, 1.0], {"order": "decreasing"}, "strictly decreasing", True),
    (math.nan, {"below": 1.0}, "< 1", False),
    (math.nan, {"equals": 0.0, "tolerance": 1.0}, "within 1 of 0", False),
  ],
)
def test_a_criterion_says_what_it_tests(value, bound, text, holds):
  criterion = page.criterion(value, **bound)
  assert criterion.holds is holds
  assert not text or criterion.text == text


def test_a_limit_in_words_also_shows_its_number():
  criterion = page.criterion(0.6, at_most=math.log(4) - 0.75, of="log 4 - 3/4")
  assert criterion.text == "<= log 4 - 3/4 = 0.636"


def test_a_criterion_without_a_bound_is_refused():
  with pytest.raises(ValueError, match="a criterion needs a bound"):
    page.criterion(1.0, name="error")


def test_a_claim_holds_only_with_all_its_conditions():
  def claim(second):
    return page.check(
      "a and b",
      np.float32(0.5),
      published="small",
      below=1,
      name="a",
      also=[page.criterion(second, name="b", below=1)],
    )

  assert claim(0.5).holds and not claim(2.0).holds
  assert claim(0.5).criterion == "a < 1; b < 1"
  assert claim(0.5).measured == "a 0.5000"


def test_only_a_certain_source_can_fail_a_reproduction():
  def result(*rows):
    return page.Reproduction(
      title="", source="", rows=rows, figures={}, remarks=""
    )

  wrong = page.check("x", 2.0, published="1", below=1)
  doubtful = page.check("x", 2.0, published="1", below=1, certain=False)
  open_row = page.undecided(
    "x", published="?", measured="2", why="nobody knows"
  )
  assert page.failed(result(wrong, doubtful, open_row)) == [wrong]
  assert doubtful.verdict() == "DOES NOT HOLD (source uncertain)"
  assert open_row.verdict() == "open (source uncertain)"
  assert open_row.criterion == "none: nobody knows"


def test_a_page_has_its_table_in_columns(tmp_path):
  path = page.write(
    "study",
    "A study",
    [page.markdown_table(["name", "n"], [["a", "1"], ["longer", "22"]])],
    figures={},
    folder=tmp_path,
  )
  assert path.read_text().splitlines() == [
    "# A study",
    "",
    "| name   | n  |",
    "|--------|----|",
    "| a      | 1  |",
    "| longer | 22 |",
  ]
