"""Texts that people rated from -4 to 4, and what can be learned from them.

Hutto and Gilbert, ICWSM 2014 (VADER): 10,605 movie-review snippets, 3,708
product-review snippets, 5,190 snippets of news editorials and 4,200 tweets,
each with every single rating. They ship in the source distribution of
vaderSentiment 3.3.2 (MIT licence).

A text's domain and opening words are the prompt, the rest is the response. Two
texts of one domain with the same opening are a pair, and the probability that
one is preferred is read off the raters, not off a model.

A half of the raters (`RATERS`) judges the same texts again: the ratings of each
text at even positions are the first half, those at odd ones the second. A judge
that learns from one half has seen no rating of the other, though the texts are
the same. Whether the same person stands at the same position of two texts is
not published.
"""

import collections
import hashlib
import html
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from alignment_jax import errors
from alignment_jax.data import fetch

PACKAGE = {
  "name": "vaderSentiment",
  "version": "3.3.2",
  "sha256": "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
}
SPLITS = {"train": 0.85, "validation": 0.05, "test": 0.10}
PARTNERS = 3  # of each text, in pairs
CLEAR = 1.0  # mean ratings this far apart have a clear order

# With the semicolon: `html.unescape` alone also turns a link's `&copy=` into a
# sign.
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|\w+);")
_FOLDER = "hutto_ICWSM_2014"
_INNER = f"vaderSentiment-3.3.2/additional_resources/{_FOLDER}.tar.gz"
_FILES = {
  "movie": "movieReviewSnippets",
  "product": "amazonReviewSnippets",
  "news": "nytEditorialSnippets",
  "tweet": "tweets",
}
DOMAINS = tuple(_FILES)
RATERS = ("first", "second")


class RatedText(NamedTuple):
  """One text and its ratings.

  Attributes:
    domain: movie, product, news or tweet.
    text: with single spaces.
    ratings: integers from -4 to 4, one per rater.
    split: train, validation or test.
    copies: how many equal texts were merged into this one.
  """

  domain: str
  text: str
  ratings: np.ndarray
  split: str
  copies: int = 1

  @property
  def mean(self) -> float:
    """The mean rating."""
    return float(self.ratings.mean())


def read_source(directory: pathlib.Path) -> list[RatedText]:
  """All texts, from the source distribution in `directory` or from pip.

  Raises:
    UserError: it cannot be had, or is not what it should be.
  """
  path = fetch.source_distribution(directory, **PACKAGE)
  inner = fetch.members(path.read_bytes(), [_INNER])[_INNER]
  names = [
    f"{_FOLDER}/{stem}_{part}.txt"
    for stem in _FILES.values()
    for part in ("GroundTruth", "anonDataRatings")
  ]
  return parse(fetch.members(inner, names))


def parse(files: Mapping[str, bytes]) -> list[RatedText]:
  """The texts of the ratings' files, equal texts merged, in a fixed order.

  Raises:
    UserError: a line is not as expected, or a text lacks ratings.
  """
  merged: dict[tuple[str, str], tuple[str, list[int]]] = {}
  copies: collections.Counter = collections.Counter()
  for domain, stem in _FILES.items():
    texts = dict(_rows(files, f"{_FOLDER}/{stem}_GroundTruth.txt", 3))
    ratings = dict(_rows(files, f"{_FOLDER}/{stem}_anonDataRatings.txt", 4))
    if texts.keys() != ratings.keys():
      odd = sorted(texts.keys() ^ ratings.keys())[0]
      raise errors.UserError(
        f"{stem}: text {odd} lacks its text or its ratings"
      )
    for name, raw in texts.items():
      text = " ".join(_unescaped(raw).split())
      key = (domain, _normal(text))
      copies[key] += 1
      merged.setdefault(key, (text, []))[1].extend(
        _numbers(ratings[name], f"{stem} {name}")
      )
  return [
    RatedText(
      domain,
      text,
      np.asarray(ratings),
      split_of(normal),
      copies[domain, normal],
    )
    for (domain, normal), (text, ratings) in merged.items()
  ]


def of_raters(texts: Iterable[RatedText], half: str) -> list[RatedText]:
  """The texts with the ratings of one half of their raters.

  The two halves of a text share no rating and together hold all. A text with a
  single rating is left out of both.

  Args:
    texts: with all ratings.
    half: one of `RATERS`.
  """
  start = RATERS.index(half)
  return [
    text._replace(ratings=text.ratings[start :: len(RATERS)])
    for text in texts
    if len(text.ratings) >= len(RATERS)
  ]


def split_of(text: str) -> str:
  """The split that a text belongs to, by its hash alone."""
  position = _uniform("split", _normal(text))
  for split, share in SPLITS.items():
    if position < share:
      return split
    position -= share
  return "test"


class Framed(NamedTuple):
  """A rated text cut into prompt and response.

  Attributes:
    source: the text.
    prompt: its domain and opening words, as written.
    response: the rest of its words.
    group: what it shares with the texts that it can be paired with: split,
      domain and the opening words in any casing.
    shared_prompt: the prompt in the casing that is most frequent in its group.
  """

  source: RatedText
  prompt: str
  response: str
  group: tuple[str, str, str]
  shared_prompt: str


def frame(texts: Iterable[RatedText]) -> list[Framed]:
  """Cuts each text after its opening words.

  The opening is two words where another text of the same split and domain
  begins with them too (and has two more words), else one. Texts with fewer than
  two words left are dropped.
  """
  texts = [text for text in texts if len(text.text.split()) >= 3]

  def opening(text: RatedText, words: int) -> tuple[str, str, str]:
    start = " ".join(text.text.split()[:words]).casefold()
    return (text.split, text.domain, start)

  long_enough = [text for text in texts if len(text.text.split()) >= 4]
  shared = collections.Counter(opening(text, 2) for text in long_enough)
  cut = {}
  for index, text in enumerate(texts):
    two = len(text.text.split()) >= 4 and shared[opening(text, 2)] > 1
    cut[index] = 2 if two else 1
  casings: dict[tuple, collections.Counter] = {}
  for index, text in enumerate(texts):
    words = text.text.split()[: cut[index]]
    group = opening(text, cut[index])
    casings.setdefault(group, collections.Counter())[" ".join(words)] += 1
  framed = []
  for index, text in enumerate(texts):
    group = opening(text, cut[index])
    start = max(sorted(casings[group]), key=casings[group].__getitem__)
    words = text.text.split()
    framed.append(
      Framed(
        source=text,
        prompt=f"{text.domain}: {' '.join(words[: cut[index]])}",
        response=" ".join(words[cut[index] :]),
        group=group,
        shared_prompt=f"{text.domain}: {start}",
      )
    )
  return framed


def demonstrations(framed: Iterable[Framed]) -> Iterator[dict[str, Any]]:
  """What people wrote after each opening."""
  for text in framed:
    yield {
      "prompt": text.prompt,
      "response": text.response,
      "domain": text.source.domain,
    }


def feedback(framed: Iterable[Framed]) -> Iterator[dict[str, Any]]:
  """The same with the mean rating as its reward."""
  for row, text in zip(demonstrations(framed), framed, strict=True):
    yield {**row, "reward": text.source.mean}


def preferences(framed: Iterable[Framed]) -> Iterator[dict[str, Any]]:
  """Pairs of texts with the same prompt.

  Each text is paired with the `PARTNERS` texts of its group that are nearest in
  length, so that length says little of what people prefer, and a policy does
  not learn to write more or less instead of better. No pair comes twice. The
  one that more raters prefer is `chosen`; `probability` says how many.
  """
  groups: dict[tuple, list[Framed]] = {}
  for text in framed:
    groups.setdefault(text.group, []).append(text)
  for _, texts in sorted(groups.items()):
    texts = sorted(texts, key=lambda text: _uniform("order", text.response))
    pairs = set()
    lengths = np.array([len(text.response) for text in texts])
    for index in range(len(texts)):
      distance = np.abs(lengths - lengths[index])
      nearest = np.argsort(distance, kind="stable")[: PARTNERS + 1]
      for other in [int(i) for i in nearest if i != index][:PARTNERS]:
        pairs.add((min(index, other), max(index, other)))
    for first, second in sorted(pairs):
      yield _pair(texts[first], texts[second])


def preference_probability(first: np.ndarray, second: np.ndarray) -> float:
  """P(y > y'): over all pairs of their raters, a tie counting half.

  Args:
    first: ratings of y.
    second: ratings of y'.
  """
  difference = first[:, None] - second[None, :]
  return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


VIEWS = {
  "demonstrations": demonstrations,
  "feedback": feedback,
  "preferences": preferences,
}


def _pair(first: Framed, second: Framed) -> dict[str, Any]:
  chosen, rejected = first, second
  probability = preference_probability(
    first.source.ratings, second.source.ratings
  )
  if probability < 0.5:
    chosen, rejected, probability = second, first, 1 - probability
  return {
    "prompt": chosen.shared_prompt,
    "chosen": chosen.response,
    "rejected": rejected.response,
    "probability": probability,
    "chosen_reward": chosen.source.mean,
    "rejected_reward": rejected.source.mean,
    "domain": chosen.source.domain,
  }


def _rows(
  files: Mapping[str, bytes], name: str, columns: int
) -> Iterator[tuple[str, str]]:
  for number, line in enumerate(files[name].splitlines(), start=1):
    try:
      text = line.decode("utf-8")
    except UnicodeDecodeError:
      text = line.decode("latin-1")
    cells = text.lstrip("\ufeff").split("\t")
    if len(cells) != columns:
      raise errors.UserError(
        f"{name} line {number} has {len(cells)} columns, expected {columns}"
      )
    yield cells[0], cells[-1]


def _numbers(text: str, where: str) -> list[int]:
  try:
    numbers = json.loads(text)
  except ValueError:
    numbers = None
  if (
    not isinstance(numbers, list)
    or not numbers
    or not all(type(number) is int and -4 <= number <= 4 for number in numbers)
  ):
    raise errors.UserError(
      f"{where}: ratings must be a list of integers from -4 to 4, got {text!r}"
    )
  return numbers


def _unescaped(text: str) -> str:
  """Without HTML entities; some texts were escaped twice."""
  while (plain := _ENTITY.sub(lambda m: html.unescape(m[0]), text)) != text:
    text = plain
  return text


def _normal(text: str) -> str:
  return " ".join(text.casefold().split())


def _uniform(*parts: str) -> float:
  """A number in [0, 1) that depends on the parts alone."""
  digest = hashlib.sha256("\0".join(parts).encode()).digest()
  return int.from_bytes(digest[:6], "big") / 2**48
