"""Rated texts become demonstrations, preferences and scored responses."""

import collections
import itertools

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.data import human_ratings


@pytest.fixture
def parsed(make_rating_files):
  def parse(**rated):
    return human_ratings.parse(make_rating_files(rated))

  return parse


@pytest.fixture
def one_split(monkeypatch):
  """Puts every text into the training split."""
  monkeypatch.setattr(human_ratings, "split_of", lambda text: "train")


@pytest.fixture
def texts(parsed):
  """Many texts with few openings, in two domains."""
  rng = np.random.default_rng(0)
  words = "good bad dull bright slow quick warm cold".split()
  rated = [
    (
      " ".join(["It was", *rng.choice(words, 4), str(i)]),
      rng.integers(-4, 5, size=rng.integers(2, 6)).tolist(),
    )
    for i in range(400)
  ]
  return parsed(movie=rated, news=rated[:100])


def test_text_and_ratings_are_read(parsed):
  (text,) = parsed(movie=[("A fine film.", [1, 2, 4, -4])])
  assert (text.domain, text.text) == ("movie", "A fine film.")
  assert text.ratings.tolist() == [1, 2, 4, -4]
  assert text.mean == 0.75  # (1 + 2 + 4 - 4) / 4


def test_the_mean_comes_from_the_ratings_not_from_the_file(make_rating_files):
  files = make_rating_files({"tweet": [("So very nice", [1, 2])]})
  files = {k: v.replace(b"\t1.5\t", b"\t-3.0\t") for k, v in files.items()}
  (text,) = human_ratings.parse(files)
  assert text.mean == 1.5


@pytest.mark.parametrize(
  "raw, clean",
  [
    ("Q &amp; A", "Q & A"),
    ("Q &amp;amp; A", "Q & A"),  # escaped twice
    ("it&#39;s", "it's"),
    ("x?a=1&copy=2", "x?a=1&copy=2"),  # a link, no entity
    ("  two \u00a0 spaces ", "two spaces"),
    ("caf\u00e9 \u2013 yes", "caf\u00e9 \u2013 yes"),
  ],
)
def test_text_is_cleaned(parsed, raw, clean):
  assert parsed(tweet=[(raw, [0])])[0].text == clean


def test_a_line_that_is_not_utf8_is_read_as_latin1(make_rating_files):
  files = make_rating_files({"movie": [("caf\u00e9 one", [1]), ("two", [1])]})
  name = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
  files[name] = files[name].decode("utf-8").encode("latin-1")
  assert human_ratings.parse(files)[0].text == "caf\u00e9 one"


def test_a_byte_order_mark_is_no_part_of_a_name(make_rating_files):
  files = make_rating_files({"movie": [("a film", [1])]})
  name = "hutto_ICWSM_2014/movieReviewSnippets_anonDataRatings.txt"
  files[name] = b"\xef\xbb\xbf" + files[name]
  assert human_ratings.parse(files)[0].text == "a film"


def test_equal_texts_are_merged_with_all_their_ratings(parsed):
  merged = parsed(movie=[("A  Film", [1]), ("a film", [3, 4])])
  assert [(t.text, t.ratings.tolist(), t.copies) for t in merged] == [
    ("A Film", [1, 3, 4], 2)
  ]


def test_equal_texts_of_two_domains_stay_apart_in_one_split(parsed):
  one, two = parsed(movie=[("a film", [1])], news=[("A film", [2])])
  assert (one.domain, two.domain) == ("movie", "news")
  assert one.split == two.split


@pytest.mark.parametrize(
  "listed",
  [
    b"[5]",
    b"[1.5]",
    b"['1']",
    b"__import__('os').abort()",
    b"1",
    b'{"a": 1}',
    b"[true]",
    b"[]",
    b"[1",
  ],
)
def test_ratings_that_are_no_list_of_ratings_are_refused(
  make_rating_files, listed
):
  files = make_rating_files({"movie": [("a film", [1])]})
  name = "hutto_ICWSM_2014/movieReviewSnippets_anonDataRatings.txt"
  files[name] = files[name].replace(b"[1]", listed)
  with pytest.raises(errors.UserError, match="movieReviewSnippets 1"):
    human_ratings.parse(files)


def test_a_line_with_too_few_columns_is_named(make_rating_files):
  files = make_rating_files({"movie": [("a film", [1]), ("two", [1])]})
  name = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
  files[name] = files[name].replace(b"\ttwo", b"")
  with pytest.raises(errors.UserError, match="GroundTruth.txt line 2"):
    human_ratings.parse(files)


def test_a_text_without_ratings_is_an_error(make_rating_files):
  files = make_rating_files({"movie": [("a film", [1]), ("two", [1])]})
  name = "hutto_ICWSM_2014/movieReviewSnippets_anonDataRatings.txt"
  files[name] = files[name].splitlines(keepends=True)[0]
  with pytest.raises(errors.UserError, match="text 2"):
    human_ratings.parse(files)


def test_splits_have_the_shares_that_are_stated():
  counts = collections.Counter(
    human_ratings.split_of(f"text {i}") for i in range(20000)
  )
  for split, share in {"train": 0.85, "validation": 0.05, "test": 0.1}.items():
    # Five standard deviations of a binomial share: 5 sqrt(p (1 - p) / n).
    assert abs(counts[split] / 20000 - share) < 5 * np.sqrt(
      share * (1 - share) / 20000
    )


def test_a_split_depends_on_neither_casing_nor_spaces():
  for i in range(50):
    assert human_ratings.split_of(f"A  Text {i}") == human_ratings.split_of(
      f"a text {i}"
    )


def test_the_opening_is_two_words_where_another_text_shares_them(
  parsed, one_split
):
  framed = human_ratings.frame(
    parsed(
      movie=[
        ("The film is good.", [1]),
        ("the FILM was very bad.", [1]),
        ("The plot was thin.", [1]),
      ]
    )
  )
  assert [(f.prompt, f.response) for f in framed] == [
    ("movie: The film", "is good."),
    ("movie: the FILM", "was very bad."),
    ("movie: The", "plot was thin."),
  ]


def test_openings_are_not_shared_across_domains(parsed, one_split):
  framed = human_ratings.frame(
    parsed(movie=[("The film is good.", [1])], news=[("The film is bad.", [1])])
  )
  assert [f.prompt for f in framed] == ["movie: The", "news: The"]


def test_texts_too_short_for_two_more_words_are_left_out(parsed, one_split):
  framed = human_ratings.frame(
    parsed(tweet=[("Nice", [1]), ("So nice", [1]), ("So very nice", [1])])
  )
  assert [(f.prompt, f.response) for f in framed] == [
    ("tweet: So", "very nice")
  ]


def test_a_pair_has_the_more_frequent_casing_in_its_prompt(parsed, one_split):
  framed = human_ratings.frame(
    parsed(
      movie=[
        ("the film is a", [1]),
        ("The film is b", [1]),
        ("The film is c", [1]),
      ]
    )
  )
  pairs = list(human_ratings.preferences(framed))
  assert {row["prompt"] for row in pairs} == {"movie: The film"}
  rows = list(human_ratings.demonstrations(framed))
  assert rows[0]["prompt"] == "movie: the film"  # as written


def test_feedback_carries_the_mean_rating(parsed, one_split):
  framed = human_ratings.frame(parsed(news=[("He said no more.", [-1, -2])]))
  assert list(human_ratings.feedback(framed)) == [
    {
      "prompt": "news: He",
      "response": "said no more.",
      "domain": "news",
      "reward": -1.5,
    }
  ]


def test_no_text_and_no_pair_crosses_a_split(texts):
  framed = human_ratings.frame(texts)
  splits = collections.defaultdict(set)
  for split in human_ratings.SPLITS:
    own = [text for text in framed if text.source.split == split]
    assert own
    for row in human_ratings.demonstrations(own):
      splits[row["response"]].add(split)
    for row in human_ratings.preferences(own):
      splits[row["chosen"]].add(split)
      splits[row["rejected"]].add(split)
  assert {len(found) for found in splits.values()} == {1}


def test_pairs_of_all_splits_together_are_those_of_each(texts):
  framed = human_ratings.frame(texts)
  together = list(human_ratings.preferences(framed))
  apart = [
    row
    for split in human_ratings.SPLITS
    for row in human_ratings.preferences(
      [text for text in framed if text.source.split == split]
    )
  ]
  assert sorted(map(repr, together)) == sorted(map(repr, apart))


def test_pairs_are_of_one_domain_and_come_once(texts):
  rated = {(t.domain, t.text.split(" ", 2)[2]): t for t in texts}
  seen = set()
  rows = list(human_ratings.preferences(human_ratings.frame(texts)))
  for row in rows:
    for name in ("chosen", "rejected"):
      assert (row["domain"], row[name]) in rated
    key = (row["domain"], frozenset((row["chosen"], row["rejected"])))
    assert len(key[1]) == 2 and key not in seen
    seen.add(key)


def test_each_text_draws_three_partners(texts):
  framed = human_ratings.frame(texts)
  met = collections.Counter()
  rows = list(human_ratings.preferences(framed))
  for row in rows:
    for name in ("chosen", "rejected"):
      met[row["domain"], row[name]] += 1
  sizes = collections.Counter(text.group for text in framed)
  for text in framed:
    partners = min(3, sizes[text.group] - 1)
    assert met[text.source.domain, text.response] >= partners
  assert len(rows) <= 3 * len(framed)


def test_pairs_do_not_depend_on_the_order_of_the_texts(texts):
  rows = list(human_ratings.preferences(human_ratings.frame(texts)))
  backwards = list(human_ratings.preferences(human_ratings.frame(texts[::-1])))
  assert sorted(map(repr, rows)) == sorted(map(repr, backwards))


def test_probability_is_the_share_of_rater_pairs(texts):
  rated = {(t.domain, t.text.split(" ", 2)[2]): t.ratings for t in texts}
  for row in human_ratings.preferences(human_ratings.frame(texts)):
    wins = ties = count = 0
    for a, b in itertools.product(
      rated[row["domain"], row["chosen"]], rated[row["domain"], row["rejected"]]
    ):
      wins, ties, count = wins + (a > b), ties + (a == b), count + 1
    # 1 - p is rounded once.
    assert abs(row["probability"] - (wins + ties / 2) / count) < 1e-15
    assert row["probability"] >= 0.5


def test_chosen_is_what_more_raters_prefer_whatever_the_means_say():
  one, two = np.array([1, 1, 1, -4]), np.array([0, 0, 0, 0])
  # 3 of 4 raters of `one` are above every rater of `two`; its mean is below.
  assert human_ratings.preference_probability(one, two) == 0.75
  assert one.mean() < two.mean()


def test_the_halves_of_the_raters_share_none_and_hold_all(parsed):
  texts = parsed(movie=[("A fine film.", [1, 2, 3, 4, 0]), ("So so.", [1])])
  first, second = (
    human_ratings.of_raters(texts, half) for half in ("first", "second")
  )
  assert [text.ratings.tolist() for text in first] == [[1, 3, 0]]
  assert [text.ratings.tolist() for text in second] == [[2, 4]]
  assert first[0].split == texts[0].split and first[0].text == texts[0].text
