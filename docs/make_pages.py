"""Writes `losses.md` and `algorithms.md` from docstrings, signatures and tests.

    python docs/make_pages.py

`tests/test_docs.py` fails when a page is not what this writes.
"""

import ast
import inspect
import pathlib
import re
import textwrap
import typing
from collections.abc import Callable, Iterator

from alignment_jax import algorithm, algorithms, losses

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROOFS = (
  "test_closed_forms_of_pairs.py",
  "test_closed_forms_of_rewards.py",
  "test_identities.py",
  "test_special_cases.py",
  "test_structured.py",
  "test_tokens.py",
  "test_weights.py",
)
# What a section is called, and the modules of `losses` in it.
LOSSES = {
  "Pairs, with a reference": (
    "dpo robust_dpo ipo psipo slic exo nca bco sppo aot apo discopop f_dpo"
    " flex_dpo srpo inpo dno online_ipo xpo ld_dpo wpo"
  ),
  "Pairs, without a reference": "simpo cpo orpo",
  "Single responses": "dro kto",
  "Policy updates": "reinforce rloo ppo grpo gspo copg nash_md jbond",
  "Imitation": "cross_entropy soft_q gail",
  "Reward and preference models": "bradley_terry preference_model rcfd",
  "Weights of models": "ema elastic_reset warp",
}
LOSSES_HEAD = """\
# Losses

Written by `docs/make_pages.py` from the code. Every function is pure: arrays
in, one number per pair, response or token out. None is reduced, so weights and
masks stay yours. `tests/losses/test_golden.py` compares value and gradient of
each with formulas in float64, `tests/losses/test_contract.py` checks shapes,
dtypes, jit, vmap, sharding and ten thousand nats; the tests named below are the
proof of what each one means. Which library uses which form:
[library_forms.md](library_forms.md).

A loss in somebody else's loop, with nothing of this library but the loss:

```python
import jax, optax
from alignment_jax import losses

def objective(params, batch):  # batch: sequence log-probs of a frozen reference
  chosen = logprobs(params, batch["chosen"])        # [B], yours
  rejected = logprobs(params, batch["rejected"])    # [B], yours
  return losses.ipo_loss(
    chosen, rejected, batch["ref_chosen"], batch["ref_rejected"], tau=0.1
  ).mean()

gradients = jax.grad(objective)(params, batch)
```
"""

# Tests of an algorithm that has no file of its own.
SHARED = {
  "soft_q_online": "test_soft_q.py",
  **dict.fromkeys("grpo dr_grpo dapo gspo".split(), "test_groups.py"),
  **dict.fromkeys("sft reward_model dpo ipo dro".split(), "test_algorithms.py"),
}
ALGORITHMS_HEAD = """\
# Algorithms

Written by `docs/make_pages.py` from the code. An algorithm says which arrays go
to which loss; `config.algorithm` holds its name and its settings, and
`config.sampling` how those that sample do it. With
`--config.reference_update.name` the reference of any of them follows the
policy. The names of the tests say what is shown; those on expected gradients
enumerate every response of a small world and compare with the exact gradient.
"""


def functions_of(module: str) -> Iterator[tuple[str, Callable]]:
  """The public functions of a module of `losses`, in the order of the file."""
  source = (ROOT / "alignment_jax" / "losses" / f"{module}.py").read_text()
  for node in ast.parse(source).body:
    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
      yield node.name, inspect.unwrap(getattr(losses, node.name))


def proofs() -> dict[str, list[str]]:
  """Name of a function -> the tests that use it, as `file::test`."""
  found: dict[str, list[str]] = {}
  for name in PROOFS:
    tree = ast.parse((ROOT / "tests" / "losses" / name).read_text())
    for test in tree.body:
      if not isinstance(test, ast.FunctionDef):
        continue
      used = {
        node.attr
        for node in ast.walk(test)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "losses"
      }
      if test.name.startswith("test_"):
        for function in sorted(used):
          found.setdefault(function, []).append(f"{name}::{test.name}")
  return found


def entry(name: str, function: Callable, *, first: str = "", last: str) -> str:
  """One function as Markdown, between two paragraphs."""
  docstring = inspect.getdoc(function)
  summary, _, rest = docstring.partition("\n\n")
  body, *sections = re.split(
    r"^(?=(?:Args|Returns|Raises|Example):$)", rest, flags=re.MULTILINE
  )
  parts = [f"### `{name}`\n", summary.strip() + "\n"]
  if first:
    parts.insert(1, first + "\n")
  if body.strip():
    parts.append(_markdown(body))
  arguments = ", ".join(
    parameter.name
    if parameter.default is parameter.empty
    else f"{parameter.name}={_default(parameter.default)}"
    for parameter in _parameters(function)
  )
  parts.append(f"```python\n{_wrapped(f'{name}({arguments})')}\n```\n")
  parts += [_listed(section) for section in sections]
  return "\n".join([*parts, last + "\n"])


def losses_page() -> str:
  """`losses.md`."""
  listed = " ".join(LOSSES.values()).split()
  folder = ROOT / "alignment_jax" / "losses"
  there = {path.stem for path in folder.glob("*.py")} - {"__init__"}
  if there != set(listed):
    raise ValueError(f"LOSSES and losses/ differ: {there ^ set(listed)}")
  tests = proofs()
  parts = [LOSSES_HEAD]
  for title, modules in LOSSES.items():
    parts.append(f"## {title}\n")
    for module in modules.split():
      for name, function in functions_of(module):
        found = tests.get(name, ["test_golden.py"])
        last = "Proof: " + ", ".join(f"`{test}`" for test in found)
        parts.append(entry(name, function, last=last))
  return "\n".join(parts)


def algorithms_page() -> str:
  """`algorithms.md`."""
  parts = [ALGORITHMS_HEAD]
  for section in typing.get_args(algorithm.Section):
    parts.append(f"## {section}\n")
    for name, method in algorithms.ALGORITHMS.items():
      if method.section != section:
        continue
      file = f"tests/algorithms/{SHARED.get(name, f'test_{name}.py')}"
      last = f"`{file}`"
      if name not in SHARED:
        last += f": {'; '.join(_tests(ROOT / file))}."
      if (ROOT / "configs" / f"{name}.py").exists():
        last = f"`configs/{name}.py`, {last}"
      module = inspect.getmodule(method.factory)
      paper = module.__doc__.partition("\n\n")[0]
      parts.append(entry(name, method.factory, first=paper, last=last))
  return "\n".join(parts)


def _tests(path):
  """The names of its tests, as words."""
  for node in ast.parse(path.read_text()).body:
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
      yield (
        node.name.removeprefix("test_").replace("_s_", "'s ").replace("_", " ")
      )


def _parameters(function):
  star = False
  for parameter in inspect.signature(function).parameters.values():
    if parameter.kind == parameter.KEYWORD_ONLY and not star:
      star = True
      yield inspect.Parameter("_star", inspect.Parameter.POSITIONAL_ONLY)
    yield parameter


def _default(value):
  return "..." if callable(value) else repr(value)


def _wrapped(call):
  return textwrap.fill(call.replace("_star", "*"), 80, subsequent_indent="  ")


def _markdown(text):
  """Indented formulas as code blocks."""
  blocks = []
  for block in re.split(r"\n\n", text.strip("\n")):
    if block.startswith("    "):
      blocks.append(f"```\n{textwrap.dedent(block)}\n```")
    else:
      blocks.append(block)
  return "\n\n".join(blocks) + "\n"


def _listed(section):
  """`Args:` and the like as a list."""
  title, _, text = section.partition("\n")
  title = title.removesuffix(":")
  lines = textwrap.dedent(text).strip("\n")
  if title == "Example":
    return _example(lines)
  if title == "Returns":
    return f"{title}: {' '.join(lines.split())}\n"
  items = [
    " ".join(item.split())
    for item in re.split(r"\n(?=\S)", lines)
    if item.strip()
  ]
  if title == "Raises":
    title = "Raises "
    return title + "; ".join(_named(item) for item in items) + "\n"
  return "\n".join(f"- {_named(item)}" for item in items) + "\n"


def _example(lines: str) -> str:
  """What is computed by hand, and the session that computes it."""
  why, _, session = lines.partition(">>>")
  why = " ".join(why.split())
  return f"Example. {why}".rstrip() + f"\n\n```python\n>>>{session}\n```\n"


def _named(item):
  """`name: what` with the name as code."""
  name, _, what = item.partition(":")
  return f"`{name}`:{what}"


if __name__ == "__main__":
  (ROOT / "docs" / "losses.md").write_text(losses_page())
  (ROOT / "docs" / "algorithms.md").write_text(algorithms_page())
