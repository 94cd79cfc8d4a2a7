"""Where rows come from: the human ratings, a user's file, or any TFDS name."""

import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from alignment_jax import errors
from alignment_jax.data import builder, rows

SPLITS = ("train", "validation", "test")
FORMS = ("human_ratings", "FILE.jsonl", "FILE.parquet", "tfds:NAME[/CONFIG]")

_VIEWS = {
  "demonstration": "demonstrations",
  "preference": "preferences",
  "feedback": "feedback",
}


def open_source(
  name: str, kind: str, split: str, *, data_dir: str
) -> Sequence[dict[str, Any]]:
  """Rows of one kind from one split, by random access.

  A file is read and checked whole. Files, and TFDS datasets without the split
  asked for, are split by a hash of the prompt: about 80, 10 and 10 %, all rows
  of a prompt together, and no split empty.

  Args:
    name: one of `FORMS`.
    kind: a key of `rows.NEEDED`.
    split: one of `SPLITS`.
    data_dir: where prepared data are kept.

  Raises:
    UserError: there is no such source, or a row of it cannot be used; names
      the file and the line.
  """
  if kind not in rows.NEEDED:
    raise errors.unknown("kind of data", kind, rows.NEEDED)
  if split not in SPLITS:
    raise errors.unknown("split", split, SPLITS)
  if name == "human_ratings":
    return _View(builder.open_view(_VIEWS[kind], split, data_dir=data_dir), kind)
  if name.startswith("tfds:"):
    return _from_tfds(name.removeprefix("tfds:"), kind, split, data_dir)
  reader = _READERS.get(pathlib.Path(name).suffix)
  if reader is None:
    raise errors.unknown("data source", name, FORMS)
  path = pathlib.Path(name)
  try:
    table = [
      rows.canonical(row, kind, where) for where, row in reader(path)
    ]
  except OSError as error:
    raise errors.UserError(f"cannot read {path}: {error.strerror}") from error
  return _split_by_prompt(table, split, name)


class _View(Sequence):
  """Rows of a TFDS data source, decoded when asked for."""

  def __init__(self, source: Any, kind: str):
    self._source = source
    self._kind = kind

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index):
    row = {
      name: value.decode("utf-8") if isinstance(value, bytes) else value
      for name, value in self._source[index].items()
    }
    extra = {"domain": row["domain"]} if "domain" in row else {}
    return {**rows.canonical(row, self._kind, f"row {index}"), **extra}


def _from_tfds(name, kind, split, data_dir):
  library = builder.tfds()
  try:
    made = library.builder(name, data_dir=str(pathlib.Path(data_dir) / "tfds"))
    present = list(made.info.splits)
    if split in present:
      return _View(made.as_data_source(split=split), kind)
    every = _View(made.as_data_source(split="train"), kind)
  except Exception as error:  # tfds raises many kinds, none of them its own
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise errors.UserError(
      f"no prepared TFDS dataset '{name}' with random access under"
      f" {data_dir}/tfds: {reason[:200]}"
    ) from error
  return _split_by_prompt([every[i] for i in range(len(every))], split, name)


def _split_by_prompt(table, split, name):
  """Deals prompts out by hash; small files give each split one at least."""
  if not table:
    raise errors.UserError(f"{name} holds no rows")
  prompts = sorted({row["prompt"] for row in table}, key=_place)
  if len(prompts) < len(SPLITS):
    raise errors.UserError(
      f"{name} has {len(prompts)} different prompts; at least {len(SPLITS)} are"
      " needed, so that some are held out"
    )
  held_out = max(1, sum(_place(prompt) < 0.1 for prompt in prompts))
  second = max(1, sum(0.1 <= _place(prompt) < 0.2 for prompt in prompts))
  cut = {
    "test": prompts[:held_out],
    "validation": prompts[held_out : held_out + second],
    "train": prompts[held_out + second :],
  }
  if not cut["train"]:
    cut["train"] = [cut["test" if len(cut["test"]) > 1 else "validation"].pop()]
  wanted = set(cut[split])
  return [row for row in table if row["prompt"] in wanted]


def _place(prompt):
  digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
  return int.from_bytes(digest[:6], "big") / 2**48


def _jsonl(path) -> Iterator[tuple[str, Any]]:
  with path.open("rb") as file:
    for number, line in enumerate(file, start=1):
      if not line.strip():
        continue
      where = f"{path} line {number}"
      try:
        yield where, json.loads(line.decode("utf-8"))
      except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise errors.UserError(f"{where} is not JSON: {error}") from error


def _parquet(path) -> Iterator[tuple[str, Any]]:
  try:
    import pyarrow
    import pyarrow.parquet
  except ImportError as error:
    raise errors.UserError(
      "pyarrow is not installed: pip install 'alignment-jax[data]'"
    ) from error
  if not path.is_file():
    raise FileNotFoundError(2, "no such file")
  try:
    table = pyarrow.parquet.read_table(path)
  except pyarrow.ArrowException as error:
    reason = str(error).splitlines()[0]
    raise errors.UserError(f"{path} is not Parquet: {reason}") from error
  for number, row in enumerate(table.to_pylist(), start=1):
    yield f"{path} row {number}", row


_READERS: dict[str, Callable[[pathlib.Path], Iterator[tuple[str, Any]]]] = {
  ".jsonl": _jsonl,
  ".parquet": _parquet,
}
