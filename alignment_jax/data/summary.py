"""What a source holds: counts, agreement between raters, samples."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from alignment_jax.data import builder, human_ratings, rows, sources

_SCALE = np.arange(-4, 5)
_ROWS_AT_ONCE = 512  # of the matrix of all pairs: 512 x 10,603 float64, 43 MB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
  """Counts of the human ratings and of what is made of them.

  Attributes:
    read: texts in the files, by domain.
    merged: texts that were left out as copies of another, by domain; their
      ratings are kept.
    short: texts that were left out as too short for a prompt and a response.
    ratings: single ratings.
    rows: view -> split -> domain -> rows.
    agreement: share of rater pairs that order two texts as their mean ratings
      do, by domain; see `agreement`.
    samples: view -> its first row for training.
  """

  read: Mapping[str, int]
  merged: Mapping[str, int]
  short: int
  ratings: int
  rows: Mapping[str, Mapping[str, Mapping[str, int]]]
  agreement: Mapping[str, float]
  samples: Mapping[str, Mapping[str, Any]]

  def lines(self) -> Iterator[str]:
    """The summary as a person reads it."""
    domains = list(self.read)
    columns = " ".join(f"{name:>8}" for name in domains)
    yield f"{'':28} {columns}    total"
    yield _counts("texts read", domains, self.read)
    yield _counts("copies merged", domains, self.merged)
    for view, splits in self.rows.items():
      for split, counts in splits.items():
        yield _counts(f"{view} {split}", domains, counts)
    shares = " ".join(f"{self.agreement[name]:>8.1%}" for name in domains)
    yield f"{'raters agree':28} {shares}"
    yield (
      f"{self.ratings:,} single ratings; {self.short} texts too short for a"
      " prompt and a response"
    )
    for view, row in self.samples.items():
      yield f"{view}: {dict(row)}"


def describe(name: str, *, data_dir: str) -> Iterator[str]:
  """Checks a source whole and says what is in it, line by line.

  Args:
    name: what `sources.open_source` takes.
    data_dir: where prepared data are kept.

  Raises:
    UserError: there is no such source, or a row of it cannot be used.
  """
  if name == "human_ratings":
    yield from prepare(data_dir).lines()
    return
  for kind in rows.NEEDED:  # demonstrations first: every source has them
    try:
      opened = {
        split: sources.open_source(name, kind, split, data_dir=data_dir)
        for split in sources.SPLITS
      }
    except rows.MissingColumns as error:
      if kind == "demonstration":
        raise
      yield f"no {kind}: {error}"
      continue
    counts = ", ".join(
      f"{split} {len(part):,}" for split, part in opened.items()
    )
    yield f"{kind}: {counts}; the first: {dict(opened['train'][0])}"


def prepare(data_dir: str) -> Summary:
  """Fetches and builds every view of the human ratings, and counts.

  What is already there is not made again.

  Raises:
    UserError: the data cannot be fetched, or `data_dir` cannot be written.
  """
  sources = {
    view: builder.open_view(view, "train", data_dir=data_dir)
    for view in human_ratings.VIEWS
  }
  texts = human_ratings.read_source(pathlib.Path(data_dir))
  framed = human_ratings.frame(texts)
  return Summary(
    read=_by_domain(texts, lambda text: text.copies),
    merged=_by_domain(texts, lambda text: text.copies - 1),
    short=len(texts) - len(framed),
    ratings=sum(len(text.ratings) for text in texts),
    rows={
      view: {
        split: dict(
          collections.Counter(
            row["domain"]
            for row in make([t for t in framed if t.source.split == split])
          )
        )
        for split in human_ratings.SPLITS
      }
      for view, make in human_ratings.VIEWS.items()
    },
    agreement={
      domain: agreement([t.ratings for t in texts if t.domain == domain])
      for domain in _by_domain(texts, lambda text: 1)
    },
    samples={
      view: builder.decoded(source[0])
      for view, source in sources.items()
      if len(source)
    },
  )


def agreement(ratings: Iterable[np.ndarray]) -> float:
  """How often two raters order two texts as the mean ratings order them.

  Over all pairs of texts whose means differ by `human_ratings.CLEAR` or more:
  draw a rater of each text until the two ratings differ; the share of draws in
  which the text of higher mean has the higher rating. It is the accuracy that a
  perfect model of the means reaches on single opinions.

  Args:
    ratings: integers from -4 to 4, one array per text.

  Returns:
    A share in [0, 1]; NaN when no two means differ by so much.
  """
  counts = np.array([(r[:, None] == _SCALE).sum(0) for r in ratings], float)
  if not len(counts):
    return float("nan")
  means = (counts @ _SCALE) / counts.sum(1)
  shares = counts / counts.sum(1, keepdims=True)
  below = np.cumsum(shares, axis=1) - shares  # P(rating < each value)
  total = pairs = 0.0
  for start in range(0, len(shares), _ROWS_AT_ONCE):
    some = slice(start, start + _ROWS_AT_ONCE)
    clear = means[some, None] - means[None, :] >= human_ratings.CLEAR
    wins = shares[some] @ below.T  # P(a rater of the row's text rates higher)
    losses = below[some] @ shares.T
    decided = np.where(clear, wins + losses, 1.0)
    total += float(np.where(clear, wins / decided, 0.0).sum())
    pairs += float(clear.sum())
  return total / pairs if pairs else float("nan")


def _by_domain(texts, count):
  counts: dict[str, int] = {}
  for text in texts:
    counts[text.domain] = counts.get(text.domain, 0) + count(text)
  return counts


def _counts(name, domains, counts):
  numbers = " ".join(f"{counts.get(domain, 0):>8,}" for domain in domains)
  return f"{name:28} {numbers} {sum(counts.values()):>8,}"
