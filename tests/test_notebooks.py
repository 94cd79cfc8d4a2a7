"""The lessons in notebooks/ run, show pictures, and teach the library's names.

Each runs in a fresh kernel, without the strict numerics of conftest.py and
with warnings as they are: as a reader would run it.
"""

import ast
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

from alignment_jax import losses, tabular

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Not a possible name of an account, so that nobody can take it.
PLACEHOLDER = "__OWNER__/alignment_jax"
SECONDS = 180  # for one cell

each_notebook = pytest.mark.parametrize(
  "path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS]
)


def read(path: Path) -> nbformat.NotebookNode:
  return nbformat.read(path, as_version=4)


def repository() -> str:
  """Owner and name as CITATION.cff states them, the placeholder if not."""
  stated = re.search(
    r"^repository-code:\s*[\"']?https://github\.com/([\w.-]+/[\w.-]+)",
    (ROOT / "CITATION.cff").read_text("utf-8"),
    re.MULTILINE,
  )
  return stated[1].removesuffix(".git") if stated else PLACEHOLDER


def defined_names(notebook: nbformat.NotebookNode) -> set[str]:
  """Functions, classes and variables that hold a lambda, at any depth."""
  names = set()
  for cell in notebook.cells:
    if cell.cell_type != "code":
      continue
    # A line magic is no Python, and may be all that a block has.
    source = re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.M)
    for node in ast.walk(ast.parse(source)):
      if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names.add(node.name)
      elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
        names.update(x.id for x in node.targets if isinstance(x, ast.Name))
  return names


def test_there_are_four_lessons():
  assert [path.name[:3] for path in NOTEBOOKS] == ["01_", "02_", "03_", "04_"]


@each_notebook
def test_runs_without_error_and_shows_pictures(path, tmp_path, monkeypatch):
  for name, value in {
    "JAX_PLATFORMS": "cpu",
    # Pictures go into the notebook, whatever backend the tests were given.
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # Kernels and settings of the user's own stay out.
    "IPYTHONDIR": tmp_path / "ipython",
    "JUPYTER_CONFIG_DIR": tmp_path / "config",
    "JUPYTER_DATA_DIR": tmp_path / "data",
    "JUPYTER_RUNTIME_DIR": tmp_path / "runtime",
  }.items():
    monkeypatch.setenv(name, str(value))
  monkeypatch.delenv("PYTHONWARNINGS", raising=False)

  notebook = read(path)
  nbclient.NotebookClient(
    notebook,
    timeout=SECONDS,
    kernel_name="python3",
    resources={"metadata": {"path": str(tmp_path)}},
  ).execute()  # raises what a cell raises

  outputs = [
    output
    for cell in notebook.cells
    if cell.cell_type == "code"
    for output in cell.outputs
  ]
  assert not [x for x in outputs if x.output_type == "error"]
  pictures = [x for x in outputs if "image/png" in x.get("data", {})]
  assert len(pictures) >= 2


@each_notebook
def test_is_stored_without_outputs(path):
  notebook = read(path)
  nbformat.validate(notebook)
  assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
  assert notebook.metadata.kernelspec.name == "python3"
  for cell in notebook.cells:
    if cell.cell_type == "code":
      assert cell.outputs == []
      assert cell.execution_count is None


@each_notebook
def test_badge_and_installation_point_to_this_repository(path):
  title, install, *rest = read(path).cells
  address = "https://colab.research.google.com/github/"
  links = re.findall(rf"\({address}([^)]*)\)", title.source)
  assert links == [f"{repository()}/blob/main/notebooks/{path.name}"]
  sources = re.findall(r"git\+https://github\.com/(\S+)", install.source)
  assert sources == [repository()]
  assert 'if "google.colab" in sys.modules:' in install.source
  assert not [cell for cell in rest if "pip install" in cell.source]


@each_notebook
def test_defines_nothing_that_the_library_has(path):
  library = {*vars(losses), *vars(tabular)}
  assert defined_names(read(path)) & library == set()


def test_definitions_are_found_at_any_depth_and_around_magics():
  source = "if x:\n  %pip install y\n  def ipo_loss(): pass\nkl = lambda: 0"
  cell = nbformat.v4.new_code_cell(source)
  notebook = nbformat.v4.new_notebook(cells=[cell])
  assert defined_names(notebook) == {"ipo_loss", "kl"}
