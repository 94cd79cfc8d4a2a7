"""Pages that are written from the code are what the code says now."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# A file, and perhaps a test in it, as pages write them; NAME and x stand for
# what the reader brings.
FILE = re.compile(r"`((?:\w+/)*\w+\.py)(?:::(test_\w+))?`")


def _make_pages():
  spec = importlib.util.spec_from_file_location(
    "make_pages", DOCS / "make_pages.py"
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize("name", ["losses", "algorithms"])
def test_a_page_is_current(name):
  page = getattr(_make_pages(), f"{name}_page")()
  assert (DOCS / f"{name}.md").read_text() == page, (
    "run: python docs/make_pages.py"
  )


def test_every_loss_has_a_proof_of_its_own():
  counts = _make_pages().proof_counts()
  # What is proved of these lies outside `losses`: the next test says where.
  assert counts.pop("checked against float64 formulas only") == []
  assert counts.pop("tested for its properties") == []
  assert all(counts.values())


@pytest.mark.parametrize(
  "name", ["losses.md", "algorithms.md", "library_forms.md"]
)
def test_links_between_pages_lead_somewhere(name):
  text = (DOCS / name).read_text()
  for target in text.split("](")[1:]:
    target = target.split(")")[0]
    if not target.startswith("http"):
      assert (DOCS / target.split("#")[0]).exists(), target


@pytest.mark.parametrize(
  "page",
  [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"],
  ids=lambda page: page.name,
)
def test_every_file_and_test_that_a_page_names_is_there(page):
  roots = (ROOT, ROOT / "alignment_jax", ROOT / "tests", ROOT / "experiments")
  for name, test in FILE.findall(page.read_text()):
    if "NAME" in name or "/" not in name and not test:
      continue  # for the reader to fill in; a name alone may be a bad example
    if "/" in name:
      files = [root / name for root in roots if (root / name).is_file()]
    else:
      files = [path for root in roots[1:] for path in root.rglob(name)]
    assert files, name
    if test:
      assert any(f"def {test}(" in file.read_text() for file in files), test
