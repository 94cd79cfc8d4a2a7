"""What may not be in the library at all, and how each kind is found."""

import ast

import pytest

from tests import counts, sources

KEYS = {"ipo", "gemma2", "gemma3", "t5"}


def test_no_name_decides_what_is_done():
  assert counts.decided_by_names(sources.read(counts.ROOT)) == []


def test_no_test_takes_a_private_name():
  assert counts.private_names_of_tests(counts.ROOT) == []


def test_nine_signatures_of_ten_are_annotated():
  functions = [
    function
    for source in sources.read(counts.ROOT)
    for function in counts.functions(source.tree)
  ]
  annotated = sum(map(counts.is_annotated, functions))
  assert annotated >= 0.9 * len(functions)


@pytest.mark.parametrize(
  "text, found",
  [
    ("inspect.signature(f)", True),
    ("settings.architecture.startswith('gemma')", True),
    ("config['algorithm']['name'] == 'ipo'", True),
    ("'t5' in name", True),
    ("name in ('ipo', 'other')", True),
    ("name.startswith('tfds:')", False),
    ("name == 'other'", False),
    ("aggregation == 'ipo'", False),
  ],
)
def test_a_decision_by_name_is_found(text, found):
  nodes = ast.walk(ast.parse(text))
  assert any(counts.decides_by_name(node, KEYS) for node in nodes) == found


def test_a_binder_may_read_a_signature_and_nobody_else(tmp_path):
  room = tmp_path / sources.PACKAGE / "judges"
  room.mkdir(parents=True)
  (room / "__init__.py").write_text(
    "def _built():\n  inspect.signature(f)\ndef g():\n  inspect.signature(f)\n",
    "utf-8",
  )
  assert counts.decided_by_names(sources.read(tmp_path)) == [
    "judges:4: inspect.signature"
  ]


def test_a_private_name_that_a_test_takes_is_found(tmp_path):
  (tmp_path / "tests").mkdir()
  (tmp_path / "tests" / "test_a.py").write_text(
    "from alignment_jax.data import _read, sources\nimport os\n"
    "sources._split\nsources.__name__\nsources.split\nos._exit\nself._x\n",
    "utf-8",
  )
  assert counts.private_names_of_tests(tmp_path) == [
    "test_a.py: _read",
    "test_a.py:3: sources._split",
  ]


@pytest.mark.parametrize(
  "text, annotated",
  [
    ("def f() -> None: pass", True),
    ("def f(self, x: int, *a: int, y: int = 1, **k: int) -> int: pass", True),
    ("def f(x) -> None: pass", False),
    ("def f(x: int): pass", False),
    ("def f(*a) -> None: pass", False),
    ("def f(*, y) -> None: pass", False),
    ("def f(**k) -> None: pass", False),
  ],
)
def test_a_signature_is_annotated_when_all_of_it_is(text, annotated):
  (function,) = counts.functions(ast.parse(text))
  assert counts.is_annotated(function) == annotated


def test_comments_are_counted_and_strings_are_not():
  assert counts.comments('# one\nx = "# two"  # three\n"""# four"""\n') == 2
