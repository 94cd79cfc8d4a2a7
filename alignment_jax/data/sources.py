"""Where rows come from: published texts, the lab, a file, or a TFDS name."""

import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from alignment_jax import errors
from alignment_jax.data import builder, human_ratings, rows, xsum
from alignment_jax.synthetic import lab_rows

SPLITS = ("train", "validation", "test")
FORMS = (
  "human_ratings[:RATERS][/DOMAIN]",
  "xsum[:WORDS]",
  "lab[:SETTING=NUMBER,...]",
  "FILE.jsonl",
  "FILE.parquet",
  "tfds:NAME[/CONFIG]",
)

# What is not a file, by what its name begins with.
_NAMED = ("human_ratings", "xsum", "lab", "tfds")

_VIEWS = {
  "demonstration": "demonstrations",
  "preference": "preferences",
  "feedback": "feedback",
  "prompt": "demonstrations",
}


class Source:
  """A place that rows come from, opened once.

  A file is read and parsed when its first rows are asked for, and not again:
  its rows are checked once for each kind, and `rows` returns the same object
  each time. Its first row has the columns.

  Files, and TFDS datasets without the split asked for, are split by a hash of
  the prompt: about 80, 10 and 10 %, all rows of a prompt together, and no split
  empty; `xsum` is so by its documents. A TFDS dataset that has only some splits
  keeps them, and gives up rows of `train` for the others.

  Args:
    name: one of `FORMS`; a domain is one of `human_ratings.DOMAINS`, and raters
      are a half of them, one of `human_ratings.RATERS`; words are how many of
      a document are kept at most, as `xsum.prompt` keeps them; for settings of
      the lab see `synthetic.lab_rows`.
    data_dir: where prepared data are kept.

  Raises:
    UserError: there is no such source.
  """

  def __init__(self, name: str, *, data_dir: str):
    self.name = name
    self._data_dir = data_dir
    self._form = name.partition("/")[0].partition(":")[0]
    self._reader = _READERS.get(pathlib.Path(name).suffix)
    if self._form not in _NAMED and self._reader is None:
      raise errors.unknown("data source", name, FORMS)
    self._opened: dict[tuple[str, str], Sequence[dict[str, Any]]] = {}

  def rows(self, kind: str, split: str) -> Sequence[dict[str, Any]]:
    """Rows of one kind from one split, by random access.

    Args:
      kind: a key of `rows.NEEDED`.
      split: one of `SPLITS`.

    Raises:
      UserError: a row cannot be used; names the file and the line.
    """
    if kind not in rows.NEEDED:
      raise errors.unknown("kind of data", kind, rows.NEEDED)
    if split not in SPLITS:
      raise errors.unknown("split", split, SPLITS)
    if (kind, split) not in self._opened:
      self._opened |= {
        (kind, part): table for part, table in self._open(kind, split).items()
      }
    return self._opened[kind, split]

  def _open(
    self, kind: str, split: str
  ) -> Mapping[str, Sequence[dict[str, Any]]]:
    """Split -> rows, of `split` and of those that are read along with it."""
    setting = self.name.partition(":")[2]
    match self._form:
      case "human_ratings":
        table = _human_ratings(self.name, kind, split, self._data_dir)
        return {split: table}
      case "lab":
        drawn = lab_rows.rows(setting, kind, split)
        return {split: [rows.canonical(row, kind, self.name) for row in drawn]}
      case "tfds":
        return {split: _from_tfds(setting, kind, split, self._data_dir)}
      case "xsum":
        return _xsum(self.name, kind, self._data_dir)
    table = [rows.canonical(row, kind, where) for where, row in self._parsed]
    indices = split_by_prompt([r["prompt"] for r in table], SPLITS, self.name)
    return {part: [table[i] for i in indices[part]] for part in SPLITS}

  @functools.cached_property
  def _parsed(self) -> list[tuple[str, Any]]:
    """The rows of the file as they stand there, each with its place."""
    assert self._reader is not None  # a source that is not named is a file
    try:
      return list(self._reader(pathlib.Path(self.name)))
    except OSError as error:
      reason = error.strerror or str(error).splitlines()[0]
      raise errors.UserError(f"cannot read {self.name}: {reason}") from error


def open_source(
  name: str, kind: str, split: str, *, data_dir: str
) -> Sequence[dict[str, Any]]:
  """Rows of one kind from one split of a `Source` that is asked once.

  Raises:
    UserError: there is no such source, or a row of it cannot be used.
  """
  return Source(name, data_dir=data_dir).rows(kind, split)


def confident(
  source: Sequence[dict[str, Any]], probability: float, name: str
) -> Sequence[dict[str, Any]]:
  """The pairs whose preference is at least so sure, on either side.

  Args:
    source: rows of kind `preference`; read whole.
    probability: least probability of the more likely label, in [0, 1].
    name: of the source, for the error.

  Raises:
    UserError: no pair is so sure.
  """
  if probability <= 0.5:
    return source
  indices = [
    index
    for index, row in enumerate(source)
    if max(row["probability"], 1 - row["probability"]) >= probability
  ]
  if not indices:
    raise errors.UserError(
      f"no pair of {name} has a preference probability of {probability:g} or"
      " more; lower data.min_probability"
    )
  return _Part(source, indices)


def _human_ratings(
  name: str, kind: str, split: str, data_dir: str
) -> Sequence[dict[str, Any]]:
  source, slash, domain = name.partition("/")
  _, colon, raters = source.partition(":")
  if colon and raters not in human_ratings.RATERS:
    raise errors.unknown(
      "half of the raters of human_ratings", raters, human_ratings.RATERS
    )
  if slash and domain not in human_ratings.DOMAINS:
    raise errors.unknown(
      "domain of human_ratings", domain, human_ratings.DOMAINS
    )
  view = builder.open_view(
    _VIEWS[kind], split, data_dir=data_dir, raters=raters
  )
  rated = _View(view, kind, name)
  if not domain:
    return rated
  return _Part(rated, builder.indices_of(view, domain))


def _xsum(
  name: str, kind: str, data_dir: str
) -> dict[str, list[dict[str, Any]]]:
  _, colon, setting = name.partition(":")
  words = int(setting) if setting.isascii() and setting.isdecimal() else 0
  if colon and not words:
    raise errors.UserError(
      f"'{name}': what stands behind 'xsum:' is how many words of a document"
      " are kept at most, at least 1, as in 'xsum:45'"
    )
  articles = xsum.read_source(pathlib.Path(data_dir) / "xsum")
  indices = split_by_prompt([a.document for a in articles], SPLITS, name)

  def row(index: int) -> dict[str, str]:
    document, summary = articles[index]
    return {
      "prompt": xsum.prompt(document, words or None),
      "response": summary,
    }

  return {
    split: [
      rows.canonical(row(index), kind, f"{name} row {number}")
      for number, index in enumerate(indices[split])
    ]
    for split in SPLITS
  }


class _View(Sequence):
  """Rows of a TFDS data source, decoded when asked for."""

  def __init__(self, source: Any, kind: str, name: str):
    self._source = source
    self._kind = kind
    self._name = name

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    # TFDS raises ValueError here, which would not end a `for` loop.
    if not 0 <= index < len(self):
      raise IndexError(f"{self._name} has no row {index}")
    where = f"{self._name} row {index}"
    row = builder.decoded(self._source[index])
    extra = {"domain": row["domain"]} if "domain" in row else {}
    return {**rows.canonical(row, self._kind, where), **extra}


class _Part(Sequence):
  """Some rows of another sequence."""

  def __init__(self, source: Sequence[dict[str, Any]], indices: Sequence[int]):
    self._source = source
    self._indices = indices

  def __len__(self) -> int:
    return len(self._indices)

  def __getitem__(self, index: int) -> dict[str, Any]:
    return self._source[self._indices[index]]


def _from_tfds(
  name: str, kind: str, split: str, data_dir: str
) -> Sequence[dict[str, Any]]:
  library = builder.tfds()
  folder = _prepared(pathlib.Path(data_dir) / "tfds", name)
  try:
    dataset = library.builder_from_directory(str(folder))
    present = [part for part in SPLITS if part in dataset.info.splits]
    opened = {
      part: _View(dataset.as_data_source(split=part), kind, f"tfds:{name}")
      for part in {split, "train"} & set(present)
    }
  except Exception as error:  # tfds raises many kinds, none of them its own
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise errors.UserError(
      f"cannot read {folder}: {reason[:200]}; it must have been prepared with"
      " file_format='array_record'"
    ) from error
  missing = [part for part in SPLITS if part not in present]
  if split in present and (split != "train" or not missing):
    source = opened[split]
    if not len(source):
      raise errors.UserError(f"tfds:{name} holds no rows in '{split}'")
    source[0]  # the columns are checked when opened, the rest when read
    return source
  if "train" not in present:
    raise errors.UserError(
      f"tfds:{name} has neither a split '{split}' nor 'train' to take it from"
    )
  every = opened["train"]
  prompts = [every[index]["prompt"] for index in range(len(every))]
  indices = split_by_prompt(prompts, ("train", *missing), f"tfds:{name}")
  return _Part(every, indices[split])


def _prepared(root: pathlib.Path, name: str) -> pathlib.Path:
  """The folder of the newest version of a dataset, found without its code."""
  dataset = root / name
  if not name or ".." in pathlib.PurePath(name).parts or not dataset.is_dir():
    folders = sorted(path.name for path in root.glob("[!.]*") if path.is_dir())
    folders = [folder for folder in folders if folder != "downloads"]
    raise errors.unknown(
      f"prepared dataset in {root}", name, folders or ["none"]
    )
  versions = sorted(
    (
      info.parent
      for info in dataset.glob("*/dataset_info.json")
      if all(part.isdigit() for part in info.parent.name.split("."))
    ),
    key=lambda path: [int(part) for part in path.name.split(".")],
  )
  if versions:
    return versions[-1]
  configs = sorted(
    {info.parent.parent.name for info in dataset.glob("*/*/dataset_info.json")}
  )
  if configs:
    raise errors.UserError(
      f"tfds:{name} has configs; choose one:"
      f" {', '.join(f'tfds:{name}/{config}' for config in configs)}"
    )
  raise errors.UserError(f"{dataset} holds no prepared version of a dataset")


def split_by_prompt(
  prompts: Sequence[str], splits: Sequence[str], name: str
) -> Mapping[str, list[int]]:
  """Split -> indices of prompts, by a hash of the prompt; no split is empty.

  About 10 % of the prompts go to each split but `train`, at least one and at
  most a quarter, so that few prompts are dealt out sensibly too.
  """
  if not prompts:
    raise errors.UserError(f"{name} holds no rows")
  keys = [" ".join(prompt.casefold().split()) for prompt in prompts]
  ordered = sorted(set(keys), key=_hashed)
  if len(ordered) < len(splits):
    raise errors.UserError(
      f"{name} has {len(ordered)} different prompts; at least {len(splits)} are"
      " needed, so that some are held out"
    )
  most = len(ordered) // 4
  assigned = {}
  # A split's share of the hash's range is fixed: rows that are added later do
  # not move a prompt of a large file into another split.
  for number, split in enumerate(reversed(splits)):
    if split == "train":
      continue
    share = sum(
      0.1 * number <= _hashed(key) < 0.1 * (number + 1) for key in ordered
    )
    for key in ordered[: max(1, min(share, most))]:
      assigned[key] = split
    ordered = [key for key in ordered if key not in assigned]
  indices: dict[str, list[int]] = {split: [] for split in splits}
  for index, key in enumerate(keys):
    indices[assigned.get(key, "train")].append(index)
  return indices


def _hashed(prompt: str) -> float:
  """A number in [0, 1) that depends on the prompt alone."""
  digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
  return int.from_bytes(digest[:6], "big") / 2**48


def _jsonl(path: pathlib.Path) -> Iterator[tuple[str, Any]]:
  with path.open("rb") as file:
    for number, line in enumerate(file, start=1):
      if not line.strip():
        continue
      where = f"{path} line {number}"
      try:
        # utf-8-sig: some editors begin a file with a byte-order mark.
        row = json.loads(line.decode("utf-8-sig"))
      except (ValueError, RecursionError) as error:
        raise errors.UserError(f"{where} is not JSON: {error}") from error
      yield where, row


def _parquet(path: pathlib.Path) -> Iterator[tuple[str, Any]]:
  try:
    import pyarrow
    import pyarrow.parquet
  except ImportError as error:
    raise errors.not_installed("pyarrow", extra="data") from error
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
  ".json-lines": _jsonl,
  ".parquet": _parquet,
}
