"""Files that are written whole or not at all, and JSON that is read back.

Whoever reads a path sees the old content or the new one, also when the writer
is killed on the way, and when two processes write the same file at once.
"""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from alignment_jax import errors


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a path to write to; what is there replaces `path` at the end.

  It has the same name, in an empty folder beside `path`.
  An exception inside the block leaves `path` as it was.
  """
  # A folder and not a temporary file: the file in it then gets the permissions
  # that the umask grants, and no other process writes into it.
  with tempfile.TemporaryDirectory(
    dir=path.parent, prefix=f"{path.name}.", suffix=".part"
  ) as directory:
    part = pathlib.Path(directory) / path.name
    yield part
    with part.open("rb") as file:
      os.fsync(file.fileno())  # else the new name may outlive its content
    os.replace(part, path)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
  """Writes a file, whole or not at all."""
  with replacing(path) as part:
    part.write_bytes(content)


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file in UTF-8, whole or not at all."""
  write_bytes(path, text.encode("utf-8"))


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a value as indented JSON, whole or not at all."""
  write_text(path, json.dumps(value, indent=2) + "\n")


def copy(source: pathlib.Path, target: pathlib.Path, *, next_step: str) -> None:
  """Copies the content of a file, whole or not at all.

  Args:
    source: the file.
    target: what to replace by it.
    next_step: what the error advises where `source` is missing.

  Raises:
    UserError: there is no such file.
  """
  if not source.is_file():
    raise errors.UserError(f"{source} is missing; {next_step}")
  with replacing(target) as part:
    shutil.copyfile(source, part)


def read_json(path: pathlib.Path, *, next_step: str) -> Any:
  """The value of a JSON file.

  Args:
    path: the file.
    next_step: what the errors advise.

  Raises:
    UserError: the file is missing or damaged.
  """
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError as error:
    raise errors.UserError(f"{path} is missing; {next_step}") from error
  except (OSError, ValueError) as error:
    raise errors.UserError(
      f"cannot read {path}: {error}; {next_step}"
    ) from error
