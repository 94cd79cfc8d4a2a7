"""The study of all online configs: none is left out, its numbers are means."""

import importlib
import pathlib

import pytest

from alignment_jax.algorithms import ALGORITHMS

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Others of their method: another judge, or other data.
VARIANTS = {"lab", "preference_model", "rcfd_xsum"}


@pytest.fixture
def study(monkeypatch):
  monkeypatch.syspath_prepend(str(ROOT / "experiments" / "reproduce"))
  import online_configs

  return online_configs


def test_every_config_that_samples_is_there(study):
  paths = (ROOT / "configs").glob("*.py")
  names = {path.stem for path in paths} - {"__init__", "base"}
  sampling = {
    name
    for name in names
    if ALGORITHMS[
      importlib.import_module(f"configs.{name}").get_config().algorithm.name
    ].samples
  }
  # SRPO is offline in training, and revises its own answers afterwards.
  assert set(study.OBJECTIVES) == sampling - VARIANTS | {"srpo"}


def test_a_row_has_the_means_of_both_ends_and_the_win_rate(study):
  rate = {"judge": "vader", "low": 0.5, "rate": 0.625, "high": 0.75}
  said = {
    "values": [0.0, 1.0, *range(6), 4.0, 5.0],
    "win_rates": [{**rate, "judge": "other", "rate": 0.0}, rate],
    "numbers": {"KL to the policy before": 1.25, "length after": 20.0},
  }
  last = study.table({"gail": said}).splitlines()[-1]
  assert "(to fall) | 0.500 | 4.500 | 62 (50-75) | 1.2 | 20.0 |" in last
