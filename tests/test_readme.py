"""README and docs name what exists: targets, scripts, configs, flags, links."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignment_jax.algorithms import ALGORITHMS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [
  *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
  ROOT / "notebooks" / "README.md",
  *sorted((ROOT / "docs").rglob("*.md")),
]

# Flags that absl gives every script.
ABSL_FLAGS = {"help", "helpfull", "helpshort", "logtostderr", "verbosity"}


def commands(markdown: str) -> Iterator[list[str]]:
  """The words of every command in the fenced bash blocks."""
  for block in re.findall(r"^```bash\n(.*?)^```", markdown, re.S | re.M):
    for line in block.replace("\\\n", " ").splitlines():
      lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
      lexer.whitespace_split = True
      words: list[str] = []
      for word in (*lexer, ";"):
        if word and not word.strip("|;&"):
          if words:
            yield words
          words = []
        elif word != "$":
          words.append(word)


def is_defined_in_makefile(word: str, makefile: str) -> bool:
  """Whether a word after `make` is a target, or sets a variable that exists."""
  name, is_variable, _ = word.partition("=")
  after = r"\s*[?:]?=" if is_variable else r":(?!=)"
  return bool(re.search(rf"^{re.escape(name)}{after}", makefile, re.M))


def defined_flags(script: str) -> set[str]:
  """The names in `flags.DEFINE_x("name", ...)`, wherever the line breaks."""
  names = re.findall(r"DEFINE_\w+\(\s*['\"](\w+)['\"]", script)
  return ABSL_FLAGS.union(names, (f"no{name}" for name in names))


def problems(markdown: str, root: Path) -> list[str]:
  """What the commands of a README name and the tree does not have."""
  makefile = (root / "Makefile").read_text("utf-8")
  setup = (root / "setup.py").read_text("utf-8")
  found = []
  for words in commands(markdown):
    line = " ".join(words)
    script = None
    for i, word in enumerate(words):
      if "make" in words[:i] and re.fullmatch(r"[\w.-]+(=.*)?", word):
        if not is_defined_in_makefile(word, makefile):
          found.append(f"{line}: the Makefile has no '{word}'")
      for name in re.findall(
        r"(?:experiments|configs)/[\w/.-]*\.(?:py|sh)", word
      ):
        if not (root / name).exists():
          found.append(f"{line}: there is no {name}")
        elif name.startswith("experiments/") and name.endswith(".py"):
          script = (root / name).read_text("utf-8")
      if re.fullmatch(r"experiments(\.\w+)+", word):
        name = word.replace(".", "/") + ".py"
        if not (root / name).exists():
          found.append(f"{line}: there is no {name}")
      if script is not None and (flag := re.match(r"--([\w]+)", word)):
        if flag[1] not in defined_flags(script):
          found.append(f"{line}: the script has no --{flag[1]}")
      if extras := re.match(r"(?:\.|alignment-jax)\[([\w,]+)\]", word):
        for extra in extras[1].split(","):
          if f'"{extra}": [' not in setup:
            found.append(f"{line}: setup.py has no extra '{extra}'")
  return found


def broken_links(page: Path) -> list[str]:
  """Links to files that are not there, and paths in backticks likewise."""
  text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)
  links = re.findall(r"\]\(([^)\s]+)\)", text)
  files = [link.split("#")[0] for link in links if "://" not in link]
  found = [file for file in files if file and not (page.parent / file).exists()]
  named = re.findall(
    r"`((?:alignment_jax|configs|docs|experiments|tests)/[\w/.]+)[`:]", text
  )
  return found + [
    file for file in named if "NAME" not in file and not (ROOT / file).exists()
  ]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_commands_of_a_page_exist(page):
  assert problems(page.read_text("utf-8"), ROOT) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page):
  assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path):
  page = tmp_path / "page.md"
  page.write_text(
    "[a](page.md) [b](gone.md#x) [c](https://x.org/y) `tests/gone.py`\n"
    "`tests/conftest.py:3`\n```\n[d](gone.md)\n```\n",
    "utf-8",
  )
  assert broken_links(page) == ["gone.md", "tests/gone.py"]


def test_the_readme_is_short_and_has_the_two_commands():
  lines = README.splitlines()
  assert len(lines) <= 130
  title = lines.index("## Train, in two commands")
  assert lines[title + 2 : title + 6] == [
    "```bash",
    "make quickstart",
    "make test",
    "```",
  ]


def test_the_loss_of_the_readme_prints_what_it_says(capsys):
  (example,) = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)
  exec(compile(example, "README.md", "exec"), {})
  (line,) = capsys.readouterr().out.splitlines()
  assert line == example.rstrip().rpartition("  # ")[2]


def test_the_readme_lists_every_method_in_its_section():
  table = README.split("## Methods")[1].split("##")[0]
  for name, method in ALGORITHMS.items():
    learns_from = method.section.removeprefix("From ")
    (row,) = re.findall(rf"^\| {learns_from} \|.*$", table, re.M)
    assert f" `{name}` " in row
  rows = re.findall(r"^\| \w.*$", table, re.M)
  names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
  assert sorted(names) == sorted(ALGORITHMS)


@pytest.fixture
def tree(tmp_path):
  (tmp_path / "experiments").mkdir()
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs" / "x.py").touch()
  (tmp_path / "Makefile").write_text("A ?= 1\ntest: a\n", "utf-8")
  (tmp_path / "setup.py").write_text('EXTRAS = {"viz": []}\n', "utf-8")
  (tmp_path / "experiments" / "train.py").write_text(
    'flags.DEFINE_string(\n  "workdir", None, "")\n'
    'config_flags.DEFINE_config_file("config")\n',
    "utf-8",
  )
  return tmp_path


@pytest.mark.parametrize(
  "command",
  [
    "make test A=2",
    "python experiments/train.py --config=configs/x.py:tiny --workdir=runs/x",
    "python experiments/train.py \\\n  --config.optimizer.learning_rate=1e-5",
    "pip install -e '.[viz]'  # --nothing configs/none.py",
  ],
)
def test_a_command_that_exists_passes(command, tree):
  assert problems(f"```bash\n{command}\n```\n", tree) == []


@pytest.mark.parametrize(
  "command",
  [
    "make tset",
    "make A",
    "make test B=2",
    "cd x && make tset",
    "echo 'a|b' | make tset",
    "python experiments/tarin.py",
    "python -m experiments.studies.tarin",
    "python experiments/train.py --config=configs/y.py",
    "python experiments/train.py \\\n  --workdri=runs/x",
    "pip install -e '.[vis]'",
  ],
)
def test_a_command_that_does_not_exist_is_found(command, tree):
  assert len(problems(f"```bash\n{command}\n```\n", tree)) == 1


def test_an_error_names_packages_that_an_extra_of_setup_brings():
  setup = ast.parse((ROOT / "setup.py").read_text("utf-8"))
  extras = next(
    ast.literal_eval(node.value)
    for node in setup.body
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXTRAS"
  )
  advice = [
    (ast.literal_eval(node.args[0]), ast.literal_eval(node.keywords[0].value))
    for path in (ROOT / "alignment_jax").rglob("*.py")
    if path.name != "errors.py"
    for node in ast.walk(ast.parse(path.read_text("utf-8")))
    if isinstance(node, ast.Call)
    and getattr(node.func, "attr", "") in ("not_installed", "how_to_install")
  ]
  assert ("gguf", "hf") in advice
  for package, extra in advice:
    assert package in [re.split(r"[<>=]", line)[0] for line in extras[extra]]


def test_nothing_tells_to_install_this_library_by_a_name():
  # It is on no index: an install is from a checkout or an address.
  for folder in ("alignment_jax", "experiments", "configs", "notebooks"):
    for path in (ROOT / folder).rglob("*.*"):
      if path.suffix in (".py", ".ipynb", ".md"):
        text = path.read_text("utf-8")
        assert not re.search(r"pip install [\"']?alignment", text), path
