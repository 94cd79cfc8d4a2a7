"""What a source holds: counts, agreement between raters, samples."""

import collections
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from alignment_jax.data import builder, human_ratings, rows, sources

_SCALE = np.arange(-4, 5)
_LONGEST = 200  # characters of a text in a sample


def summarize(name: str, *, data_dir: str) -> str:
  """What is in a source, for a person to read; builds what is missing.

  Args:
    name: what `sources.Source` takes.
    data_dir: where prepared data are kept.

  Raises:
    UserError: there is no such source, or a row of it cannot be used.
  """
  if name == "human_ratings":
    return "\n".join(_human_ratings(data_dir))
  return "\n".join(_kinds(name, data_dir))


def agreement(ratings: Iterable[np.ndarray]) -> float:
  """How often two raters order two texts as the mean ratings order them.

  The probability that a rater of the text with the higher mean rates higher
  than a rater of the other, a tie counting half, averaged over all pairs of
  texts whose means differ by `human_ratings.CLEAR` or more.

  Args:
    ratings: integers from -4 to 4, one array per text.

  Returns:
    A share in [0, 1]; NaN when no two means differ by so much.
  """
  shares = np.array([(r[:, None] == _SCALE).mean(0) for r in ratings])
  if not len(shares):
    return float("nan")
  shares = shares[np.argsort(shares @ _SCALE, kind="stable")]
  means = shares @ _SCALE
  # P(a rating of the text < each value), a tie counting half; then summed over
  # all texts before an index, so that no pair is visited.
  beaten = np.cumsum(shares, axis=1) - shares / 2
  before = np.concatenate([np.zeros((1, 9)), np.cumsum(beaten, axis=0)])
  # Means are ratios of small integers: 1e-9 only undoes their rounding.
  clear = np.searchsorted(means, means - human_ratings.CLEAR + 1e-9)
  if not clear.any():
    return float("nan")
  return float((shares * before[clear]).sum() / clear.sum())


def _human_ratings(data_dir: str) -> Iterator[str]:
  opened = {
    view: {
      split: builder.open_view(view, split, data_dir=data_dir)
      for split in human_ratings.SPLITS
    }
    for view in human_ratings.VIEWS
  }
  texts = human_ratings.read_source(pathlib.Path(data_dir))
  framed = human_ratings.frame(texts)
  domains = list(dict.fromkeys(text.domain for text in texts))
  read, copies, kept, ratings = (collections.Counter() for _ in range(4))
  for text in texts:
    read[text.domain] += text.copies
    copies[text.domain] += text.copies - 1
    ratings[text.domain] += len(text.ratings)
  for text in framed:
    kept[text.source.domain] += 1
  short = {name: read[name] - copies[name] - kept[name] for name in domains}

  yield _line("texts", [*domains, "total"])
  for title, counts in (
    ("read", read),
    ("left out: copies, merged", copies),
    ("left out: too short", short),
    ("single ratings", ratings),
  ):
    numbers = [counts[name] for name in domains]
    yield _line(title, [f"{number:,}" for number in (*numbers, sum(numbers))])
  shares = {
    name: agreement([text.ratings for text in texts if text.domain == name])
    for name in domains
  }
  yield _line("raters agree", [f"{shares[name]:.1%}" for name in domains])
  yield (
    f"  (two texts whose mean ratings differ by {human_ratings.CLEAR:g} or"
    " more: how often a rater\n  of each puts them in the order of the means; a"
    " tie counts half)"
  )
  yield ""
  yield _line("rows", human_ratings.SPLITS)
  for view, parts in opened.items():
    yield _line(view, [f"{len(part):,}" for part in parts.values()])
  for view, parts in opened.items():
    yield ""
    yield f"{view}, a row: {_shown(builder.decoded(parts['train'][0]))}"


def _kinds(name: str, data_dir: str) -> Iterator[str]:
  source = sources.Source(name, data_dir=data_dir)
  for kind in rows.NEEDED:  # demonstrations first: every source has them
    try:
      opened = {split: source.rows(kind, split) for split in sources.SPLITS}
    except rows.MissingColumns as error:
      if kind == "demonstration":
        raise
      yield f"no {kind}: {error}"
      continue
    counts = ", ".join(
      f"{split} {len(part):,}" for split, part in opened.items()
    )
    yield f"{kind}: {counts}; a row: {_shown(opened['train'][0])}"


def _line(title: str, cells: Iterable[str]) -> str:
  return f"{title:26}" + "".join(f"{cell:>11}" for cell in cells)


def _shown(row: Mapping[str, Any]) -> str:
  """A row as JSON, long texts cut and numbers rounded."""

  def short(value: Any) -> Any:
    if not isinstance(value, str):
      return float(f"{value:.6g}")
    return f"{value[:_LONGEST]}..." if len(value) > _LONGEST else value

  cells = {name: short(value) for name, value in row.items()}
  return json.dumps(cells, ensure_ascii=False)
