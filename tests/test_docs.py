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


def test_every_loss_of_a_pair_or_response_has_a_proof_of_its_own():
  make = _make_pages()
  proofs = make.proofs()
  without = {
    name
    for modules in make.LOSSES.values()
    for module in modules.split()
    for name, _ in make.functions_of(module)
    if name.endswith("_loss") and name not in proofs
  }
  # Their value and gradient are compared with float64 formulas; their papers
  # give no optimum in closed form.
  assert without <= {
    "apo_down_loss",
    "apo_zero_loss",
    "bco_pair_loss",
    "bco_unpaired_loss",
    "discopop_loss",
    "flex_dpo_loss",
    "hinge_loss",
    "jbond_loss",
    "nca_loss",
    "orpo_loss",
    "proximal_rloo_loss",
    "simpo_loss",
    "slic_loss",
    "sppo_loss",
    "bradley_terry_loss",
    "xpo_loss",
  }


@pytest.mark.parametrize(
  "name", ["losses.md", "algorithms.md", "library_forms.md"]
)
def test_links_between_pages_lead_somewhere(name):
  text = (DOCS / name).read_text()
  for target in text.split("](")[1:]:
    target = target.split(")")[0]
    if not target.startswith("http"):
      assert (DOCS / target.split("#")[0]).exists(), target
