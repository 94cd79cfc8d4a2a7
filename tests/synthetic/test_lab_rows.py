"""The lab's rows follow from a seed, and its raters from the gold reward."""

import re

import numpy as np
import pytest

from alignment_jax import errors, judges
from alignment_jax.data import sources
from alignment_jax.synthetic import lab_rows

SPLITS = ("train", "validation", "test")


def rows(settings="", kind="preference", split="train"):
  name = f"lab:{settings}" if settings else "lab"
  return sources.open_source(name, kind, split, data_dir="")


def test_a_seed_makes_the_same_rows_and_another_makes_others():
  made = rows("rows=64,seed=1")
  lab_rows.draw.cache_clear()
  assert made == rows("rows=64,seed=1")
  assert made != rows("rows=64,seed=2")
  held_out = (rows("rows=64,seed=1", split=split) for split in SPLITS[1:])
  assert next(held_out) != next(held_out)


def test_the_splits_have_the_rows_that_are_asked_for():
  assert [len(rows("rows=64", split=split)) for split in SPLITS] == [64, 8, 8]


def test_every_kind_has_its_columns():
  for kind in ("prompt", "demonstration"):
    assert rows("rows=8", kind)[0].keys() == {"prompt", "response"}
  row = rows("rows=8", "feedback")[0]
  assert row.keys() == {"prompt", "response", "reward"}
  (reward,) = judges.build("lab_gold")([row["prompt"]], [row["response"]])
  assert row["reward"] == pytest.approx(reward)


def test_feedback_is_what_biased_raters_go_by():
  plain, biased = (
    rows(f"rows=64{more}", "feedback") for more in ("", ",length_bias=2")
  )
  for one, two in zip(plain, biased, strict=True):
    words = len(one["response"].split())
    assert two["reward"] == pytest.approx(one["reward"] + 2 * words, abs=1e-5)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def margins(made):
  return np.array(
    [row["chosen_reward"] - row["rejected_reward"] for row in made]
  )


def test_all_raters_together_are_bradley_and_terry_of_the_gold():
  made = rows("rows=256,votes=0")
  gold = judges.build("lab_gold")
  prompts, chosen, rejected = (
    [row[name] for row in made] for name in ("prompt", "chosen", "rejected")
  )
  margin = gold(prompts, chosen) - gold(prompts, rejected)
  np.testing.assert_allclose(margins(made), margin, atol=1e-5)
  stated = np.array([row["probability"] for row in made])
  np.testing.assert_allclose(stated, sigmoid(margin), atol=1e-5)
  assert all(one != two for one, two in zip(chosen, rejected, strict=True))


def test_flipped_labels_move_the_probability():
  made = rows("rows=256,votes=0,flip=0.3")
  stated = np.array([row["probability"] for row in made])
  # 0.7 s(d) + 0.3 s(-d) = 0.3 + 0.4 s(d)
  np.testing.assert_allclose(
    stated, 0.3 + 0.4 * sigmoid(margins(made)), atol=1e-5
  )


@pytest.mark.parametrize("flip", [0.0, 0.3])
def test_single_labels_are_wrong_as_often_as_they_should_be(flip):
  made = rows(f"rows=4096,flip={flip}")
  assert {row["probability"] for row in made} == {1.0}
  margin = margins(made)
  against = np.mean(margin < 0)
  # The rater's own doubt, and the flipped labels on top.
  doubt = sigmoid(-np.abs(margin))
  expected = (1 - flip) * doubt + flip * (1 - doubt)
  error = np.sqrt(np.sum(expected * (1 - expected))) / len(made)
  assert abs(against - expected.mean()) < 4 * error


def test_several_raters_give_shares_with_the_right_mean():
  made = rows("rows=4096,votes=5")
  shares = np.array([row["probability"] for row in made])
  np.testing.assert_allclose(shares * 5, np.round(shares * 5), atol=1e-9)
  assert shares.min() >= 0.5
  # P(the better one) = share where it is chosen, 1 - share where it is not.
  margin = margins(made)
  for_better = np.where(margin > 0, shares, 1 - shares)
  p = sigmoid(np.abs(margin))
  error = np.sqrt(np.sum(p * (1 - p) / 5)) / len(made)
  assert abs(for_better.mean() - p.mean()) < 4 * error


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ("flop=1", "no setting of the source 'lab' 'flop'; available: flip"),
    ("flip=0.7", "flip must be in [0, 1/2], got 0.7"),
    ("flip", "flip of the source 'lab' must be a number, got ''"),
    ("noise=-1", "noise must be a finite number, at least 0"),
    ("noise=nan", "noise of the source 'lab' must be a number, got 'nan'"),
    ("rows=2", "rows of the source 'lab' must be an integer of at least 8"),
    ("votes=1.5", "votes of the source 'lab' must be an integer of at least 0"),
  ],
)
def test_a_wrong_setting_is_named(settings, message):
  with pytest.raises(errors.UserError, match=re.escape(message)):
    rows(settings)
