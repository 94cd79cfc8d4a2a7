"""Pages that are written from the code are what the code says now."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


def _make_losses():
  spec = importlib.util.spec_from_file_location(
    "make_losses", DOCS / "make_losses.py"
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_the_page_of_losses_is_current():
  assert (DOCS / "losses.md").read_text() == _make_losses().page(), (
    "run: python docs/make_losses.py"
  )


def test_every_loss_of_a_pair_or_response_has_a_proof_of_its_own():
  make = _make_losses()
  proofs = make.proofs()
  without = {
    name
    for modules in make.SECTIONS.values()
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


@pytest.mark.parametrize("name", ["losses.md", "library_forms.md"])
def test_links_between_pages_lead_somewhere(name):
  text = (DOCS / name).read_text()
  for target in text.split("](")[1:]:
    target = target.split(")")[0]
    if not target.startswith("http"):
      assert (DOCS / target.split("#")[0]).exists(), target
