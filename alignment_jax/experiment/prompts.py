"""Prompts to respond to, from a file."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from alignment_jax import errors
from alignment_jax.data import rows

# A text, or the messages of a conversation.
Prompt = str | Sequence[Mapping[str, Any]]


def read_prompts(path: str) -> list[Prompt]:
  """The prompts in a file.

  Args:
    path: a .jsonl file, each line with `prompt` (a text or messages) or
      `messages`; or any other, each line a prompt. Empty lines are passed over.

  Raises:
    UserError: the file cannot be read or holds no prompt, or a line is not
      JSON or has no prompt.
  """
  try:
    lines = pathlib.Path(path).read_text("utf-8-sig").split("\n")
  except (OSError, UnicodeDecodeError) as error:
    raise errors.UserError(f"cannot read {path}: {error}") from error
  numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
  if not numbered:
    raise errors.UserError(f"{path} holds no prompts")
  if pathlib.Path(path).suffix not in (".jsonl", ".json-lines"):
    return [line.rstrip("\r") for _, line in numbered]
  return [_read_line(line, f"{path} line {n}") for n, line in numbered]


def _read_line(line: str, where: str) -> Prompt:
  try:
    row = json.loads(line)
  except (ValueError, RecursionError) as error:
    raise errors.UserError(f"{where} is not JSON: {error}") from error
  prompt = None
  if isinstance(row, dict):
    prompt = row.get("prompt", row.get("messages"))
  if isinstance(prompt, list):
    prompt = rows.read_messages(prompt, where)
    if prompt and prompt[-1]["role"] == "assistant":
      raise errors.UserError(
        f"{where} ends with an assistant's message; leave out what is to be"
        " generated"
      )
  if not prompt or not isinstance(prompt, list | str):
    raise errors.UserError(
      f"{where} needs 'prompt', a text or a list of messages, or 'messages'"
    )
  return prompt
