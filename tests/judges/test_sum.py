"""A judge whose reward is a weighted sum of others'."""

import numpy as np
import pytest

from alignment_jax import errors, judges


def test_a_sum_is_built_from_names_settings_and_weights():
  given = {
    "length": {"weight": -0.5, "unit": "characters"},
    "rouge": {"variant": "rouge1"},
  }
  built = judges.build_all("sum", judges=given)
  # Three characters; one word of two in common.
  rewards = [judge(["p"], ["a b"], ["b c"]).item() for judge in built]
  assert rewards == [-1.5, 0.5]
  (alone,) = judges.build_all("length", unit="words")
  assert alone(["p"], ["a b"]).item() == 2


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({}, "has one setting, judges: the name of each judge"),
    ({"judges": {}}, "has one setting, judges"),
    ({"judges": ["rouge"]}, "has one setting, judges"),
    ({"judges": {"rouge": {}}, "weights": [1.0]}, "got {'weights': [1.0]}"),
    ({"judges": {"rouge": 2.0}}, "settings of the judge 'rouge' in a sum must"),
    (
      {"judges": {"rouge": {"weight": "2"}}},
      "'rouge' must be a number, got '2'",
    ),
    ({"judges": {"rouge": {"weight": np.inf}}}, "'rouge' must be finite, got"),
    ({"judges": {"ruge": {}}}, "no judge 'ruge'; available: "),
    ({"judges": {"length": {"unit": "miles"}}}, "no unit of length 'miles'"),
    ({"judges": {"sum": {"judges": {}}}}, "no judge 'sum'; available: "),
  ],
)
def test_a_sum_that_cannot_be_built_is_named(settings, message):
  with pytest.raises(errors.UserError) as caught:
    judges.build_all("sum", **settings)
  assert message in str(caught.value)


def test_references_reach_every_judge_of_a_sum():
  built = judges.build_all(
    "sum", judges={"rouge": {}, "exact_match": {"weight": 2.0}}
  )
  # "b" is one of two words of each: 2 * 1 / (2 + 2), and no exact match.
  rewards = [
    judge(["p"] * 2, ["a b", "a b"], ["a b", "b c"]).tolist() for judge in built
  ]
  assert rewards == [[1, 0.5], [2, 0]]
