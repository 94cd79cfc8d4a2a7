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
# What the tests of a file show of a loss; the first that applies counts.
PROOFS = {
  "descended to its optimum": (
    "test_closed_forms_of_pairs.py",
    "test_closed_forms_of_rewards.py",
    "test_closed_forms_of_two_responses.py",
  ),
  "identified with another loss or an exact gradient": (
    "test_identities.py",
    "test_special_cases.py",
  ),
  "tested for its properties": (
    "test_structured.py",
    "test_tokens.py",
    "test_weights.py",
  ),
}
UNPROVED = "checked against float64 formulas only"
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
dtypes, jit, vmap, sharding and log-probabilities of ten thousand nats. The
tests named below each loss prove what it means.

COUNTED

Which library uses which form: [library_forms.md](library_forms.md). The
examples assume `import jax`, `import jax.numpy as jnp` and `from alignment_jax
import losses`.

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


def proofs() -> dict[str, dict[str, list[str]]]:
  """Name of a function -> what is shown of it -> tests, as `file::test`."""
  proofs: dict[str, dict[str, list[str]]] = {}
  for kind, names in PROOFS.items():
    for name in names:
      tree = ast.parse((ROOT / "tests" / "losses" / name).read_text())
      for test, functions in _functions_by_test(tree):
        for function in sorted(functions):
          kinds = proofs.setdefault(function, {})
          kinds.setdefault(kind, []).append(f"{name}::{test}")
  return proofs


def _functions_by_test(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
  """Each test, but for those of refusals, and the losses that it calls.

  A loss may be called by a helper of the file or stand in one of its tables.
  """
  calls: dict[str, set[str]] = {}  # of each top-level name
  mentions: dict[str, set[str]] = {}
  for node in tree.body:
    if isinstance(node, ast.FunctionDef):
      names = [node.name]
    elif isinstance(node, ast.Assign):
      names = [ast.unparse(target) for target in node.targets]
    else:
      continue
    inside = list(ast.walk(node))
    for name in names:
      calls[name] = {
        part.attr
        for part in inside
        if isinstance(part, ast.Attribute)
        and ast.unparse(part.value) == "losses"
      }
      mentions[name] = {
        part.id for part in inside if isinstance(part, ast.Name)
      }
  for test in calls:
    if not test.startswith("test_") or "refuse" in test:
      continue
    seen, new = set(), {test}
    while new:
      seen |= new
      new = {m for name in new for m in mentions[name] & calls.keys()} - seen
    yield test, set().union(*(calls[name] for name in seen))


def proof_counts() -> dict[str, list[str]]:
  """The best that is shown of each loss -> the losses, in the page's order."""
  shown = proofs()
  counts: dict[str, list[str]] = {kind: [] for kind in (*PROOFS, UNPROVED)}
  for modules in LOSSES.values():
    for module in modules.split():
      for name, _ in functions_of(module):
        if name.endswith("_loss"):
          counts[next(iter(shown.get(name, {UNPROVED: []})))].append(name)
  return counts


def _counted() -> str:
  """The counts in words."""
  counts = proof_counts()
  total = sum(map(len, counts.values()))
  optimum, identified = (len(counts[kind]) for kind in list(PROOFS)[:2])
  properties = counts["tested for its properties"]
  text = (
    f"Of {total} losses, {optimum} are descended to an optimum that is known,"
    f" in worlds small enough to enumerate, and {identified} more are"
    " identified, value and gradient, with another loss or an exact gradient."
  )
  if properties:
    text += f" Tested for their properties: {_code(properties)}."
  if counts[UNPROVED]:
    text += f" {UNPROVED.capitalize()}: {_code(counts[UNPROVED])}."
  return textwrap.fill(text, 80, break_on_hyphens=False) + "\n"


def _code(names: list[str]) -> str:
  return ", ".join(f"`{name}`" for name in names)


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
  shown = proofs()
  parts = [LOSSES_HEAD.replace("COUNTED\n", _counted())]
  for title, modules in LOSSES.items():
    parts.append(f"## {title}\n")
    for module in modules.split():
      for name, function in functions_of(module):
        parts.append(entry(name, function, last=_proof_of(shown.get(name))))
  return "\n".join(parts)


def _proof_of(kinds: dict[str, list[str]] | None) -> str:
  if kinds is None:
    return f"Proof: {UNPROVED}, `test_golden.py`"
  return "\n".join(
    f"- {kind.capitalize()}: {_code(tests)}" for kind, tests in kinds.items()
  )


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
