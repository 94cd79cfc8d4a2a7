"""The lab through the trainer, judged by the gold reward."""

import json

import pytest

from alignment_jax import experiment
from alignment_jax.experiment import reading
from configs import lab


@pytest.mark.parametrize("name", [*lab.ONLINE, *lab.OFFLINE])
def test_every_method_of_the_lab_can_be_read(name):
  for text in (name, f"{name},tiny", f"tiny,{name}"):
    settings = reading.read(lab.get_config(text))
    assert settings.main.algorithm["name"] == name
    assert (settings.sampling is None) == (name in lab.OFFLINE)
    assert (settings.main.training.steps == 8) == ("tiny" in text)


@pytest.mark.parametrize("text", ["big", "dpo,ipo", "tiny,big"])
def test_another_lab_is_refused(text):
  with pytest.raises(ValueError, match=f"no lab '{text}'; available: tiny"):
    lab.get_config(text)


def test_the_lab_trains_on_the_proxy_and_is_judged_by_gold(tmp_path):
  config = lab.get_config("tiny")
  config.data.source = "lab:rows=64"
  for part in (config, config.sft):
    part.training.update(steps=2, log_every=2)
  experiment.train(config, str(tmp_path / "run"))
  result = json.loads((tmp_path / "run" / "evaluation.json").read_text())
  (rate,) = result["win_rates"]
  assert rate["judge"] == "lab_gold"
  # An eighth of 64 rows are held out.
  assert rate["count"] == 8
  lines = (tmp_path / "run" / "rloo" / "metrics.jsonl").read_text().splitlines()
  assert json.loads(lines[-1])["step"] == 2
