"""Pages that are written from the code are what the code says now."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


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
