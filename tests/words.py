"""Words that were ours alone, and the identifiers that still hold one.

The field has a word for each: CONTRIBUTING's glossary. Tests are named as
sentences, so the names of test functions are prose and may hold any word.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("alignment_jax", "experiments", "configs", "benchmarks", "tests")

# What to say in their place.
RETIRED = {
  "wants": "feedback",
  "referee": "feedback",
  "referees": "feedback",
  "feeds": "batch sources",
  "place": "index, step, token_id, layer, offset or sharding_fn",
  "places": "indices, steps, token_ids, layers or offsets",
  "about": "metadata or data_stats",
  "said": "the thing that was said: text, response",
  "theirs": "the opponent's or the library's name of it",
  "ours": "the policy's or our name of it",
  "written": "demonstration, text",
  "adapted": "with_lora",
  "sketch": "abstract_model",
  "refreshed": "what is returned",
  "strength": "reward_scale",
  "strengths": "mean_win_rates",
}
# Verbs and nouns of Python too, so only as whole names.
RETIRED_WHOLE = {
  "Collect": "Rollouts",
  "Judged": "ScoredRollout",
  "Feed": "BatchSource",
  "FeedError": "BatchSourceError",
}


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
  """Line and text of every name that a file defines, binds or asks for."""
  for node in ast.walk(tree):
    line = getattr(node, "lineno", 1)
    if isinstance(node, ast.Name):
      yield line, node.id
    elif isinstance(node, ast.Attribute):
      yield line, node.attr
    elif isinstance(node, (ast.arg, ast.keyword)) and node.arg:
      yield line, node.arg
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
      if not node.name.startswith("test_"):
        yield line, node.name
    elif isinstance(node, ast.ClassDef):
      yield line, node.name
    elif isinstance(node, ast.alias):
      yield from ((line, part) for part in node.name.split("."))
      if node.asname:
        yield line, node.asname
    elif isinstance(node, (ast.MatchAs, ast.MatchStar, ast.ExceptHandler)):
      if node.name:
        yield line, node.name
    elif isinstance(node, ast.Dict):
      for key in node.keys:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
          if key.value.isidentifier():
            yield key.lineno, key.value
    elif isinstance(node, ast.Subscript):
      index = node.slice
      if isinstance(index, ast.Constant) and isinstance(index.value, str):
        if index.value.isidentifier():
          yield line, index.value


def words_of(identifier: str) -> list[str]:
  """`places_of` and `PlacesOf` are both `places` and `of`."""
  spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier)
  return [word.lower() for word in spaced.split("_") if word]


def retired_words(identifier: str) -> list[str]:
  if identifier in RETIRED_WHOLE:
    return [identifier]
  return [word for word in words_of(identifier) if word in RETIRED]


def settings_fields(root: Path) -> set[str]:
  """The fields of the dataclasses that hold the checked settings of a run."""
  path = root / "alignment_jax" / "experiment" / "settings.py"
  return {
    node.target.id
    for node in ast.walk(ast.parse(path.read_text("utf-8")))
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
  }


def chosen_settings(tree: ast.AST, fields: set[str]) -> Iterator[int]:
  """The lines where `chosen` is read as settings, not a preferred response."""
  for node in ast.walk(tree):
    if (
      isinstance(node, ast.Attribute)
      and isinstance(node.value, ast.Name)
      and node.value.id == "chosen"
      and node.attr in fields
    ):
      yield node.lineno


def problems(root: Path) -> list[str]:
  """Where a retired word still stands, as `file:line: name`."""
  fields = settings_fields(root)
  found = []
  for folder in FOLDERS:
    for path in sorted((root / folder).rglob("*.py")):
      name = str(path.relative_to(root))
      if name == "tests/words.py":
        continue  # it holds the list itself
      found += [
        f"{name}: the file"
        for part in path.relative_to(root).with_suffix("").parts
        if retired_words(part)
      ]
      tree = ast.parse(path.read_text("utf-8"), name)
      found += [
        f"{name}:{line}: {identifier}"
        for line, identifier in identifiers(tree)
        if retired_words(identifier)
      ]
      if "experiment" in path.parts:  # elsewhere it is a preferred response
        found += [
          f"{name}:{line}: chosen, of settings"
          for line in chosen_settings(tree, fields)
        ]
  return found
