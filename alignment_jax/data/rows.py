"""What a row of data must hold, and how a user's row becomes that.

Kinds: `demonstration` (prompt, response), `preference` (prompt, chosen,
rejected, with probability and weight), `feedback` (prompt, response, reward),
`prompt` (prompt, for methods that sample responses themselves; and the response
that a person wrote, where the row has one, for judges that compare with it).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from alignment_jax import errors

NEEDED = {
  "demonstration": ("prompt", "response"),
  "preference": ("prompt", "chosen", "rejected"),
  "feedback": ("prompt", "response", "reward"),
  "prompt": ("prompt",),
}


class MissingColumns(errors.UserError):
  """A row lacks columns that its kind of data needs."""


def canonical(row: Any, kind: str, where: str) -> dict[str, Any]:
  """One row in the form that the loader takes.

  Understands `prompt/chosen/rejected` (with `probability` and `weight` if
  there), `prompt/response` or `prompt/completion` with `reward` or `label`
  (true is 1, false is 0), and `messages`; texts may be lists of chat messages,
  and pairs of whole conversations may leave the prompt out. A demonstration is
  also read off a pair (what was chosen) or off feedback.

  A row whose prompt is a list of messages keeps its messages under `chat`, with
  `where`, for a tokenizer that has a chat template; a response that is a text
  is the assistant's.

  Args:
    row: columns and their values; anything else is an error.
    kind: a key of `NEEDED`.
    where: file and line, for errors.

  Raises:
    MissingColumns: the row cannot give this kind.
    UserError: a text is empty or not a text, a number is not one or out of
      range.
  """
  columns = _columns(row, where)
  if kind in ("demonstration", "prompt") and "chosen" in columns:
    columns.setdefault("response", columns["chosen"])
  missing = [name for name in NEEDED[kind] if name not in columns]
  if missing:
    raise MissingColumns(
      f"{where}: a {kind} needs the columns {', '.join(NEEDED[kind])}; missing"
      f" {', '.join(missing)}, found {', '.join(map(str, row)) or 'none'}"
    )
  result: dict[str, Any] = {
    name: _text(columns[name], f"{where}: '{name}'")
    for name in NEEDED[kind]
    if name != "reward"
  }
  if _is_chat(columns["prompt"]):
    result["chat"] = {
      "where": where,
      **{
        name: list(columns[name])
        if _is_chat(columns[name])
        else [{"role": "assistant", "content": result[name]}]
        for name in result
      },
    }
  if kind == "prompt" and not _is_blank(columns.get("response", "")):
    result["response"] = _text(columns["response"], f"{where}: 'response'")
  if kind == "feedback":
    result["reward"] = _number(columns["reward"], f"{where}: 'reward'")
  if kind == "preference":
    for name, top in (("probability", 1.0), ("weight", math.inf)):
      value = _number(columns.get(name, 1.0), f"{where}: '{name}'")
      if not 0 <= value <= top:
        allowed = "in [0, 1]" if top == 1 else ">= 0"
        raise errors.UserError(
          f"{where}: '{name}' must be {allowed}, got {value}"
        )
      result[name] = value
    for name in ("chosen_reward", "rejected_reward"):
      if name in columns:
        result[name] = _number(columns[name], f"{where}: '{name}'")
  return result


def _columns(row: Any, where: str) -> dict[str, Any]:
  """The row under the names of this module, whichever of the field's it has."""
  if not isinstance(row, Mapping):
    raise errors.UserError(
      f"{where}: expected an object with columns, got {type(row).__name__}"
    )
  columns = {name: value for name, value in row.items() if value is not None}
  if "completion" in columns:
    columns.setdefault("response", columns["completion"])
  if "label" in columns and "reward" not in columns:
    columns["reward"] = columns["label"]
  if isinstance(columns.get("reward"), bool):
    columns["reward"] = float(columns["reward"])
  if "messages" in columns and "response" not in columns:
    messages = read_messages(columns["messages"], f"{where}: 'messages'")
    last = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    if not last or last[-1] == 0:
      raise errors.UserError(
        f"{where}: 'messages' must hold an assistant's message after another"
      )
    columns["prompt"] = messages[: last[-1]]
    columns["response"] = [messages[last[-1]]]
  if (
    "prompt" not in columns
    and "rejected" in columns
    and _is_chat(columns.get("chosen"))
  ):
    _split_conversations(columns, where)
  return columns


def _split_conversations(columns: dict[str, Any], where: str) -> None:
  """Two whole conversations: what they share at the start is the prompt."""
  chosen = read_messages(columns["chosen"], f"{where}: 'chosen'")
  rejected = read_messages(columns["rejected"], f"{where}: 'rejected'")
  shared = 0
  while (
    shared < min(len(chosen), len(rejected)) - 1
    and chosen[shared] == rejected[shared]
  ):
    shared += 1
  if shared == 0:
    raise errors.UserError(
      f"{where}: 'chosen' and 'rejected' share no first message, so there is"
      " no prompt; add a column 'prompt'"
    )
  columns["prompt"] = chosen[:shared]
  columns["chosen"], columns["rejected"] = chosen[shared:], rejected[shared:]


def _is_chat(value: Any) -> bool:
  return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def read_messages(value: Any, where: str) -> list[Mapping[str, Any]]:
  """A list of chat messages.

  Raises:
    UserError: it is something else.
  """
  if not _is_chat(value) or not all(
    isinstance(message, Mapping)
    and isinstance(message.get("role"), str)
    and isinstance(message.get("content"), str)
    for message in value
  ):
    raise errors.UserError(
      f"{where} must be a list of messages with 'role' and 'content'"
    )
  return list(value)


def _text(value: Any, where: str) -> str:
  """A text; one message is its content, several are lines `role: content`."""
  if _is_chat(value):
    messages = read_messages(value, where)
    if len(messages) == 1:
      value = messages[0]["content"]
    else:
      value = "\n".join(f"{m['role']}: {m['content']}" for m in messages)
  if not isinstance(value, str):
    raise errors.UserError(
      f"{where} must be a text, got {type(value).__name__}"
    )
  if any("\ud800" <= character <= "\udfff" for character in value):
    raise errors.UserError(f"{where} holds half a character (a lone surrogate)")
  if not value.strip():
    raise errors.UserError(f"{where} is empty")
  return value


def _is_blank(value: Any) -> bool:
  return isinstance(value, str) and not value.strip()


def _number(value: Any, where: str) -> float:
  try:
    number = math.nan if isinstance(value, str | bool) else float(value)
  except (TypeError, ValueError, OverflowError):
    number = math.nan
  if not math.isfinite(number):
    raise errors.UserError(f"{where} must be a finite number, got {value!r}")
  return number
