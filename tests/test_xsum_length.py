"""The study of summaries' lengths: its arms can be run, its claims can fail."""

import re
from pathlib import Path

import pytest

from alignment_jax.experiment import reading
from experiments.studies import xsum_length as study


def test_every_arm_has_a_config_that_can_be_read():
  sft = reading.read(study.settings("sft", 0.0, None))
  assert sft.main.algorithm == {"name": "sft"} and sft.sampling is None
  for method, weight in study.ARMS.values():
    settings = reading.read(study.settings(method, weight, Path("sft")))
    assert settings.main.algorithm["name"] == method
    assert settings.sampling.judge["judges"]["length"]["weight"] == weight
    assert settings.main.algorithm["beta"] == 0  # nothing else holds it back


@pytest.mark.parametrize(
  ("lengths", "holds"),
  [
    ((22.0, 41.0, 9.0), [True, True, True]),
    ((23.0, 40.0, 10.0), [False, False, False]),
    ((17.0, 60.0, 0.0), [False, True, True]),
  ],
)
def test_a_claim_holds_or_not_as_the_lengths_are(tmp_path, lengths, holds):
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
  text = re.sub(" +", " ", study.write_page(verdicts, tmp_path).read_text())
  shown = [
    line.endswith("| holds |")
    for line in text.splitlines()
    if line.endswith(("| holds |", "| does not hold |"))
  ]
  assert shown == holds
  assert "| SFT | 20.0 ± 0.5 | 0.125 |" in text and "- SFT: It rains." in text
