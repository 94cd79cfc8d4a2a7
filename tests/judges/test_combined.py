import numpy as np
import pytest

from alignment_jax import errors, judges
from alignment_jax.judges import combined


def _table(*rewards):
  """Gives the n-th response, by its text, the n-th reward."""

  def judge(prompts, responses, references=None):
    return np.asarray([rewards[int(text)] for text in responses], np.float32)

  return judge


def _rewards(judge, count=2):
  rewards = judge(["p"] * count, [str(i) for i in range(count)])
  assert rewards.dtype == np.float32
  return rewards


ONE, TWO, THREE = _table(1.0, 5.0), _table(3.0, 5.0), _table(8.0, 2.0)


def test_a_weighted_sum_weighs_each_judge():
  judge = combined.weighted_sum([ONE, TWO], [2.0, -0.5])
  # 2 * 1 - 3 / 2 and 2 * 5 - 5 / 2.
  np.testing.assert_array_equal(_rewards(judge), [0.5, 7.5])


def test_an_ensemble_is_its_mean_or_its_worst():
  ensemble = [ONE, TWO, THREE]
  np.testing.assert_array_equal(
    _rewards(combined.ensemble_mean(ensemble)), [4, 4]
  )
  np.testing.assert_array_equal(
    _rewards(combined.ensemble_worst(ensemble)), [1, 2]
  )


def test_disagreement_costs_by_variance_or_deviation():
  ensemble = [ONE, TWO]  # means 2 and 5, deviations 1 and 0
  wide = [ONE, _table(5.0, 5.0)]  # means 3 and 5, deviations 2 and 0
  for judges_, variance, deviation in [(ensemble, 1, 1), (wide, 4, 2)]:
    mean = _rewards(combined.ensemble_mean(judges_))[0]
    np.testing.assert_array_equal(
      _rewards(combined.ensemble_less_variance(judges_, coefficient=0.5)),
      [mean - 0.5 * variance, 5],
    )
    np.testing.assert_array_equal(
      _rewards(combined.ensemble_less_deviation(judges_, coefficient=0.5)),
      [mean - 0.5 * deviation, 5],
    )


def test_a_centred_judge_is_zero_on_average_on_its_demonstrations():
  judge = combined.centred(ONE, ["p", "p", "p"], ["0", "1", "1"])
  # The demonstrations have 1, 5 and 5.
  np.testing.assert_allclose(_rewards(judge), [1 - 11 / 3, 5 - 11 / 3])


def test_rewards_are_clipped_on_both_sides_and_nan_stays():
  judge = combined.clipped(_table(-3.0, 0.5, 9.0, np.nan), low=-1.0, high=1.0)
  np.testing.assert_array_equal(_rewards(judge, 4), [-1, 0.5, 1, np.nan])


def test_references_reach_every_judge():
  rouge = judges.JUDGES["rouge"]()
  exact = judges.JUDGES["exact_match"]()
  judge = combined.weighted_sum([rouge, exact], [1.0, 1.0])
  # "b" is one of two words of each: 2 * 1 / (2 + 2), and no exact match.
  np.testing.assert_array_equal(
    judge(["p"] * 2, ["a b", "a b"], ["a b", "b c"]), [2, 0.5]
  )
  centred = combined.centred(rouge, ["p"], ["a"], ["a"])
  np.testing.assert_array_equal(centred(["p"], ["a"], ["a"]), [0])


def test_nothing_is_judged_of_an_empty_batch():
  for judge in (
    combined.ensemble_worst([ONE]),
    combined.weighted_sum([ONE], [1.0]),
    combined.clipped(ONE, low=0.0, high=1.0),
  ):
    assert judge([], []).shape == (0,)


def test_wrong_settings_are_named():
  with pytest.raises(errors.UserError, match="at least one judge"):
    combined.ensemble_mean([])
  with pytest.raises(errors.UserError, match="2 judges need as many"):
    combined.weighted_sum([ONE, TWO], [1.0])
  with pytest.raises(errors.UserError, match="finite weights, got"):
    combined.weighted_sum([ONE], [np.inf])
  for less in (
    combined.ensemble_less_variance,
    combined.ensemble_less_deviation,
  ):
    with pytest.raises(errors.UserError, match="at least 0, got -1"):
      less([ONE], coefficient=-1.0)
  with pytest.raises(errors.UserError, match="low must be below high"):
    combined.clipped(ONE, low=1.0, high=1.0)
  with pytest.raises(errors.UserError, match="on demonstrations, got none"):
    combined.centred(ONE, [], [])


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
    ({"judges": {"ruge": {}}}, "no judge 'ruge'; available: "),
    ({"judges": {"length": {"unit": "miles"}}}, "no unit of length 'miles'"),
    ({"judges": {"sum": {"judges": {}}}}, "no judge 'sum'; available: "),
  ],
)
def test_a_sum_that_cannot_be_built_is_named(settings, message):
  with pytest.raises(errors.UserError) as caught:
    judges.build_all("sum", **settings)
  assert message in str(caught.value)
