"""The figures of the real data: texts of each domain, and how far people agree.

The source distribution is taken from `data/` where it lies there, else pip
fetches it.
"""

import collections
import pathlib

import pytest

from alignment_jax.data import human_ratings, summary

DATA = pathlib.Path(__file__).resolve().parents[2] / "data"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
  there = DATA / "vaderSentiment-3.3.2.tar.gz"
  directory = DATA if there.is_file() else tmp_path_factory.mktemp("data")
  return human_ratings.read_source(directory)


@pytest.mark.network
def test_the_published_texts_are_all_read(texts):
  counts = collections.Counter()
  for text in texts:
    counts[text.domain] += text.copies
  assert counts == {
    "movie": 10_605,
    "product": 3_708,
    "news": 5_190,
    "tweet": 4_200,
  }


@pytest.mark.network
@pytest.mark.parametrize(
  "domain, share",
  [("movie", 0.94), ("product", 0.96), ("news", 0.90), ("tweet", 0.93)],
)
def test_raters_agree_on_clear_pairs(texts, domain, share):
  ratings = [text.ratings for text in texts if text.domain == domain]
  # Percent are rounded, and the count there kept equal texts apart.
  assert abs(summary.agreement(ratings) - share) < 0.01
