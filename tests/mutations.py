"""Small mistakes that a source file could hold, one expression at a time.

Not among them: docstrings, annotations, decorators, imports, error messages,
and guards of shapes, which the checked signatures shadow in the tests.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ARITHMETIC = {
  ast.Add: ast.Sub,
  ast.Sub: ast.Add,
  ast.Mult: ast.Div,
  ast.Div: ast.Mult,
  ast.FloorDiv: ast.Mult,
  ast.Mod: ast.FloorDiv,
  ast.Pow: ast.Mult,
  ast.BitAnd: ast.BitOr,
  ast.BitOr: ast.BitAnd,
}
COMPARISONS = {
  ast.Lt: ast.LtE,
  ast.LtE: ast.Lt,
  ast.Gt: ast.GtE,
  ast.GtE: ast.Gt,
  ast.Eq: ast.NotEq,
  ast.NotEq: ast.Eq,
  ast.Is: ast.IsNot,
  ast.IsNot: ast.Is,
  ast.In: ast.NotIn,
  ast.NotIn: ast.In,
}
OPPOSITES = {
  **{"minimum": "maximum", "min": "max", "argmin": "argmax", "any": "all"},
  **{"fmin": "fmax", "logical_and": "logical_or", "zeros": "ones"},
  **{"zeros_like": "ones_like", "mean": "sum", "floor": "ceil"},
}
OPPOSITES |= {opposite: name for name, opposite in OPPOSITES.items()}
SHAPE_GUARDS = {"same_shape_floats", "floats_of_shape", "flags_of_shape"}


class Mutant(NamedTuple):
  """One change: bytes `start` to `end` of a file become `text`."""

  path: Path  # below the root
  line: int
  operator: str
  start: int
  end: int
  text: str


def expression_changes(node: ast.AST) -> Iterator[tuple[str, str]]:
  """Operator and new text of each way to change an expression."""
  if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
    op = ARITHMETIC[type(node.op)]()
    yield "arithmetic", unparse(ast.BinOp(node.left, op, node.right))
  elif isinstance(node, ast.Compare):
    for index, op in enumerate(node.ops):
      ops = list(node.ops)
      ops[index] = COMPARISONS[type(op)]()
      yield "comparison", unparse(ast.Compare(node.left, ops, node.comparators))
  elif isinstance(node, ast.BoolOp):
    op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield "boolean", unparse(ast.BoolOp(op, node.values))
  elif isinstance(node, ast.UnaryOp):
    yield "dropped sign or not", unparse(node.operand)
  elif isinstance(node, ast.IfExp):
    swapped = ast.IfExp(node.test, node.orelse, node.body)
    yield "swapped branches", unparse(swapped)
  elif isinstance(node, ast.Constant):
    yield from (("constant", text) for text in other_constants(node.value))
  elif isinstance(node, ast.Call):
    yield from call_changes(node)


def other_constants(value: object) -> list[str]:
  if isinstance(value, bool):
    return [str(not value)]
  if isinstance(value, int):
    return [str(value + 1), str(value - 1)]
  if isinstance(value, float):
    return [str(value + 1), str(-value) if value else "-1.0"]
  return []


def call_changes(node: ast.Call) -> Iterator[tuple[str, str]]:
  function = node.func
  name = getattr(function, "attr", getattr(function, "id", ""))
  if name == "stop_gradient" and len(node.args) == 1:
    yield "dropped stop_gradient", unparse(node.args[0])
  if name in OPPOSITES:
    if isinstance(function, ast.Attribute):
      other = ast.Attribute(function.value, OPPOSITES[name])
    else:
      other = ast.Name(OPPOSITES[name])
    yield "opposite", unparse(ast.Call(other, node.args, node.keywords))
  plain = not any(isinstance(arg, ast.Starred) for arg in node.args)
  for index in range(len(node.args) - 1 if plain else 0):
    args = list(node.args)
    args[index : index + 2] = args[index + 1], args[index]
    yield "swapped arguments", unparse(ast.Call(function, args, node.keywords))
  for index, keyword in enumerate(node.keywords):
    if keyword.arg in ("axis", "where", "initial", "keepdims"):
      kept = [*node.keywords[:index], *node.keywords[index + 1 :]]
      changed = ast.Call(function, node.args, kept)
      yield f"dropped {keyword.arg}", unparse(changed)


def statement_changes(node: ast.AST) -> Iterator[tuple[str, str]]:
  """Operator and new text of each way to change a statement."""
  if isinstance(node, ast.AugAssign) or (
    isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
  ):
    yield "removed statement", "pass"
  elif isinstance(node, ast.If) and all(
    isinstance(child, ast.Raise) for child in node.body
  ):
    if not node.orelse:
      yield "removed check", "pass"


def unparse(node: ast.AST) -> str:
  """Source in brackets, so that it may stand where another expression did."""
  text = ast.unparse(ast.fix_missing_locations(node))
  is_atom = isinstance(node, (ast.Name, ast.Constant, ast.Call, ast.Attribute))
  return text if is_atom else f"({text})"


def is_unseen(node: ast.AST) -> bool:
  """Whether no test could see a change: text, messages, imports, types."""
  if isinstance(node, ast.Expr):
    return isinstance(node.value, ast.Constant) or (
      isinstance(node.value, ast.Call)
      and getattr(node.value.func, "attr", "") in SHAPE_GUARDS
    )
  if isinstance(node, ast.If):
    return "TYPE_CHECKING" in ast.dump(node.test)
  unseen = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.Assert)
  return isinstance(node, unseen)


def sites(node: ast.AST) -> Iterator[ast.AST]:
  """The nodes below `node` whose change a test could see."""
  skipped: set[ast.AST | None] = set()
  if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
    skipped.update(node.decorator_list)
    skipped.add(node.returns)
  elif isinstance(node, ast.ClassDef):
    skipped.update([*node.decorator_list, *node.bases])
  elif isinstance(node, (ast.arg, ast.AnnAssign)):
    skipped.add(node.annotation)
  for child in ast.iter_child_nodes(node):
    if child not in skipped and not is_unseen(child):
      yield child
      yield from sites(child)


def special_constants(tree: ast.AST) -> dict[ast.AST, str]:
  """The operators of constants that are more than a number in a formula."""
  special: dict[ast.AST, str] = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.arguments):
      for default in (*node.defaults, *filter(None, node.kw_defaults)):
        special[default] = "default"
    elif isinstance(node, ast.keyword) and node.arg == "axis":
      special.update(dict.fromkeys(ast.walk(node.value), "axis"))
  return special


def mutants_of(path: Path, text: str) -> list[Mutant]:
  """Every mutant of a file that still parses."""
  lines = text.encode().splitlines(keepends=True)
  starts = [0]
  for line in lines:
    starts.append(starts[-1] + len(line))
  found = []
  tree = ast.parse(text)
  special = special_constants(tree)
  for node in sites(tree):
    if not hasattr(node, "lineno"):
      continue
    start = starts[node.lineno - 1] + node.col_offset
    end = starts[node.end_lineno - 1] + node.end_col_offset
    for operator, new in (*expression_changes(node), *statement_changes(node)):
      operator = special.get(node, operator)
      mutant = Mutant(path, node.lineno, operator, start, end, new)
      try:
        ast.parse(mutated(text, mutant))
      except SyntaxError:
        continue
      found.append(mutant)
  return found


def mutated(text: str, mutant: Mutant) -> str:
  data = text.encode()
  return (
    data[: mutant.start] + mutant.text.encode() + data[mutant.end :]
  ).decode()
