"""The study of summaries' lengths: its arms can be run, its claims can fail."""

from pathlib import Path

import pytest

from alignment_jax.experiment import reading

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "reproduce"


@pytest.fixture
def study(monkeypatch):
  monkeypatch.syspath_prepend(str(FOLDER))
  import xsum_length

  return xsum_length


def test_every_arm_has_a_config_that_can_be_read(study):
  sft = reading.read(study.settings("sft", 0.0, None))
  assert sft.main.algorithm == {"name": "sft"} and sft.sampling is None
  for method, weight in study.ARMS.values():
    chosen = reading.read(study.settings(method, weight, Path("sft")))
    assert chosen.main.algorithm["name"] == method
    assert chosen.sampling.judge["judges"]["length"]["weight"] == weight
    assert chosen.main.algorithm["beta"] == 0  # nothing else holds it back


@pytest.mark.parametrize(
  ("lengths", "holds"),
  [
    ((22.0, 41.0, 9.0), [True, True, True]),
    ((23.0, 40.0, 10.0), [False, False, False]),
    ((17.0, 60.0, 0.0), [False, True, True]),
  ],
)
def test_a_claim_holds_or_not_as_the_lengths_are(
  tmp_path, study, lengths, holds
):
  words = dict(
    zip(["people", "SFT", *study.ARMS], [20, 20, *lengths], strict=True)
  )
  verdicts = [
    {
      "name": name,
      "count": 99,
      "words": float(length),
      "error": 0.5,
      "rouge": 0.125,
      "sample": "It rains.",
    }
    for name, length in words.items()
  ]
  text = study.write_page(verdicts, tmp_path).read_text()
  said = [
    line.endswith("| holds |")
    for line in text.splitlines()
    if line.endswith(("| holds |", "| does not hold |"))
  ]
  assert said == holds
  assert "| SFT | 20.0 ± 0.5 | 0.125 |" in text and "- SFT: It rains." in text
