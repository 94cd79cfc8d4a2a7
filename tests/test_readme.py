"""The commands in README.md exist: targets, scripts, configs, flags, extras."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Flags that absl gives every script.
ABSL_FLAGS = {"help", "helpfull", "helpshort", "logtostderr", "verbosity"}


def commands(markdown: str) -> Iterator[list[str]]:
  """The words of every command in the fenced bash blocks."""
  for block in re.findall(r"^```bash\n(.*?)^```", markdown, re.S | re.M):
    for line in block.replace("\\\n", " ").splitlines():
      for command in re.split(r"&&|\|\||[;|]", line):
        if words := shlex.split(command.removeprefix("$ "), comments=True):
          yield words


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
      if script is not None and (flag := re.match(r"--([\w]+)", word)):
        if flag[1] not in defined_flags(script):
          found.append(f"{line}: the script has no --{flag[1]}")
      if extras := re.fullmatch(r"(?:\.|alignment-jax)\[([\w,]+)\]", word):
        for extra in extras[1].split(","):
          if f'"{extra}": [' not in setup:
            found.append(f"{line}: setup.py has no extra '{extra}'")
  return found


def test_the_commands_of_the_readme_exist():
  assert problems((ROOT / "README.md").read_text("utf-8"), ROOT) == []


def test_the_readme_shows_how_to_run_it():
  words = list(commands((ROOT / "README.md").read_text("utf-8")))
  assert ["make", "quickstart"] in words


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
    "python experiments/tarin.py",
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
