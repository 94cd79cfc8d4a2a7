"""ROUGE by hand and by search."""

import itertools

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.judges import base, rouge


def _score(variant, response, reference):
  judge = rouge.rouge_judge(variant=variant)
  return float(judge(["p"], [response], [reference])[0])


def test_words_are_counted_as_often_as_both_have_them():
  # Shared: the (2 of 3 and 2), cat. P = 3/4, R = 3/6, F1 = 2 * 3 / (4 + 6).
  assert _score(
    "rouge1", "the the the cat", "the cat sat on the mat"
  ) == pytest.approx(0.6)


def test_pairs_are_adjacent_words():
  # Pairs: {the cat, cat on, on mat} and {the cat, cat sat, sat on, on the,
  # the mat}; one is shared: 2 * 1 / (3 + 5).
  assert _score(
    "rouge2", "the cat on mat", "the cat sat on the mat"
  ) == pytest.approx(0.25)


def test_the_longest_subsequence_keeps_the_order():
  # The example of Lin, 2004: with the reference "police kill the gunman" shares
  # "police the gunman", and "the gunman kill police" only "the gunman": P = R =
  # 3/4 and 2/4.
  reference = "police killed the gunman"
  assert _score("rougeL", "police kill the gunman", reference) == 0.75
  assert _score("rougeL", "the gunman kill police", reference) == 0.5


def test_the_longest_subsequence_is_that_of_a_search():
  def search(one, two):
    for size in range(len(one), -1, -1):
      wanted = set(itertools.combinations(one, size))
      if wanted & set(itertools.combinations(two, size)):
        return size

  generator = np.random.default_rng(0)
  for _ in range(50):
    one, two = (
      list("abc"[i] for i in generator.integers(0, 3, generator.integers(1, 8)))
      for _ in range(2)
    )
    assert _score("rougeL", " ".join(one), " ".join(two)) == pytest.approx(
      2 * search(one, two) / (len(one) + len(two))
    )


def test_case_and_punctuation_do_not_count_and_any_letter_does():
  assert _score("rouge1", "The café-CAT, 2_b!", "the café cat 2 b") == 1


@pytest.mark.parametrize("variant", ["rouge1", "rouge2", "rougeL"])
def test_texts_without_words_score_zero(variant):
  for response, reference in [("", "a b"), ("a b", ""), ("", ""), ("!", "?")]:
    assert _score(variant, response, reference) == 0


def test_a_missing_reference_is_named():
  judge = rouge.rouge_judge()
  with pytest.raises(base.JudgeError, match=r"prompt 1 \('q'\) has none"):
    judge(["p", "q"], ["a", "b"], ["c", None])
  with pytest.raises(base.JudgeError, match=r"prompt 0 \('p'\) has none"):
    judge(["p"], ["a"])


def test_a_wrong_variant_is_named():
  with pytest.raises(errors.UserError, match="'rouge3'; available: rouge1"):
    rouge.rouge_judge(variant="rouge3")
