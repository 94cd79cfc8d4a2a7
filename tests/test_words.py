"""Identifiers hold the field's words, not words that were ours alone."""

from pathlib import Path

import pytest

from tests import words

ROOT = Path(__file__).resolve().parents[1]


def test_no_retired_word_is_an_identifier():
  assert words.problems(ROOT) == []


@pytest.fixture
def tree(tmp_path):
  settings = tmp_path / "alignment_jax" / "experiment" / "settings.py"
  settings.parent.mkdir(parents=True)
  settings.write_text("class Settings:\n  seed: int\n", "utf-8")
  return tmp_path


@pytest.mark.parametrize(
  "text",
  [
    "wants = 1",
    "def f(place): pass",
    "def places_of(): pass",
    "f(about=1)",
    "self.theirs",
    "from a import ours",
    "import a.referees",
    "import a as said",
    "class Judged: pass",
    "class FarPlace: pass",
    "config = {'wants': 1}",
    "x = row['written']",
  ],
)
def test_a_retired_word_is_found(text, tree):
  (tree / "configs").mkdir()
  (tree / "configs" / "a.py").write_text(text, "utf-8")
  (problem,) = words.problems(tree)
  assert problem.startswith("configs/a.py:1: ")


def test_chosen_is_never_the_settings_of_an_experiment(tree):
  text = "print(chosen.seed, chosen.ids)"
  for folder in ("alignment_jax/experiment", "alignment_jax/data"):
    (tree / folder).mkdir(exist_ok=True)
    (tree / folder / "a.py").write_text(text, "utf-8")
  assert words.problems(tree) == [
    "alignment_jax/experiment/a.py:1: chosen, of settings"
  ]


def test_a_file_named_by_a_retired_word_is_found(tree):
  (tree / "alignment_jax" / "experiment" / "referees.py").touch()
  assert words.problems(tree) == [
    "alignment_jax/experiment/referees.py: the file"
  ]


@pytest.mark.parametrize(
  "text",
  [
    "def test_what_it_wants_is_said_about_the_place(): pass",
    "replaced, in_order, collect, feed = 1, 2, 3, 4",
    "import gc\ngc.collect()",
    "print(chosen.ids, chosen)",
    "print('the place', {'a place': 1})",
    '"""Says something about places."""',
  ],
)
def test_other_words_pass(text, tree):
  (tree / "tests").mkdir()
  (tree / "tests" / "test_a.py").write_text(text, "utf-8")
  assert words.problems(tree) == []
