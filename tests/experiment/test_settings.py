"""A config that cannot work is one clear error before anything runs."""

import importlib
import json
import pathlib
import re

import ml_collections
import pytest

from alignment_jax import errors, experiment
from alignment_jax.experiment import folder, reading
from configs import online_dpo, quickstart, rloo

CONFIGS = sorted(
  path.stem
  for path in (pathlib.Path(__file__).parents[2] / "configs").glob("*.py")
  if path.stem not in ("__init__", "base")
)


@pytest.mark.parametrize("size", ["", "tiny"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_can_be_read(name, size):
  config = importlib.import_module(f"configs.{name}")
  read = reading.read(config.get_config(size))
  assert read.main.training.steps >= 1


def changed(path, value, config=None):
  config = (config or quickstart.get_config("tiny")).unlock()
  *sections, last = path.split(".")
  section = config
  for name in sections:
    section = section[name]
  with section.ignore_type():
    section[last] = value
  return config


@pytest.mark.parametrize(
  ("path", "value", "message"),
  [
    ("algorithm.name", "ip0", "no algorithm 'ip0'; available: "),
    ("model.name", "gpt9", "no model 'gpt9'; available: decoder, decoder_mini"),
    ("evaluation.judge", "me", "no judge 'me'; available: "),
    ("algorithm.tua", 0.1, "no setting of algorithm 'ipo' 'tua'"),
    ("algorithm.aggregation", "max", "no aggregation 'max'; available: mean"),
    ("algorithm.tau", "big", "algorithm 'ipo': tau must be of type float"),
    ("training.stepz", 3, "no field in config.training 'stepz'"),
    ("training.steps", "ten", "config.training.steps must be of type int"),
    ("training.steps", 0, "config.training.steps must be >= 1, got 0"),
    ("training.steps", True, "config.training.steps must be of type int"),
    ("training.log_every", 0, "config.training.log_every must be >= 1"),
    ("data.prompt_length", 0, "config.data.prompt_length must be >= 1"),
    ("sft.algorithm.name", "dpo", "config.sft.algorithm.name must be 'sft'"),
    ("data.min_probability", 2.0, "min_probability must be in [0, 1], got 2.0"),
    ("sampling", {"samples": 2}, "config.sampling.judge needs a 'name'"),
    ("surprise", 1, "no field in config 'surprise'"),
    ("lora.rank", -1, "config.lora.rank must be >= 0, got -1"),
    ("lora.rank", 2.5, "config.lora.rank must be of type int"),
    ("lora.alpha", 0.0, "config.lora.alpha must be > 0, got 0.0"),
    ("lora.targets", "*/kernel", "config.lora.targets must be a tuple of"),
    ("lora.targets", (), "config.lora.targets must be a tuple of"),
    ("lora.strength", 1, "no field in config.lora 'strength'"),
    ("mesh", 8, "config.mesh must hold the fields data, fsdp, tensor"),
    ("init_from", 3, "config.init_from must be of type str, got 3"),
  ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(path, value, message):
  with pytest.raises(errors.UserError) as caught:
    reading.read(changed(path, value))
  assert message in str(caught.value)


@pytest.mark.parametrize(
  ("path", "value", "message"),
  [
    ("algorithm.tau", -1.0, "tau must be > 0, got -1"),
    ("optimizer.name", "adamx", "no optimizer 'adamx'; available: adafactor"),
    ("optimizer.schedule", "wavy", "no schedule 'wavy'; available: constant"),
    ("optimizer.learning_rate", 0.0, "learning_rate must be > 0"),
    (
      "reference_update.name",
      "never",
      "no reference update 'never'; available: elastic_reset",
    ),
    (
      "reference_update.decay",
      0.9,
      "no setting of reference update 'frozen' 'decay'",
    ),
    ("model.width", -3, "model 'decoder_tiny' with"),
    ("model.wide", 3, "no setting of decoder_tiny 'wide'; available: "),
  ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_is_written(
  tmp_path, source, path, value, message
):
  config = changed(path, value)
  config.data.source = str(source)
  with pytest.raises(errors.UserError) as caught:
    experiment.train(config, str(tmp_path / "run"))
  assert message in str(caught.value)
  assert not (tmp_path / "run").exists()


def adapting(**changes):
  config = quickstart.get_config("tiny")
  config.lora.rank = 2
  config.lora.update(changes)
  return config


def test_a_target_that_no_kernel_has_lists_the_kernels(source):
  config = adapting(targets=("*/attention/keys",))
  config.data.source = str(source)
  with pytest.raises(errors.UserError) as caught:
    experiment.plan(config)
  assert (
    "no kernel '*/attention/keys'; available: blocks/attention/key/kernel"
    in str(caught.value)
  )


def test_adapters_need_a_trained_policy_to_adapt():
  config = adapting()
  config.sft.training.steps = 0
  with pytest.raises(errors.UserError, match="nothing is there to adapt"):
    reading.read(config)
  config.init_from = "some/stage"
  assert reading.read(config).lora.rank == 2


def test_a_config_from_json_reads_as_the_one_it_was_written_from():
  config = adapting()
  plain = json.loads(json.dumps(config.to_dict()))
  assert reading.read(ml_collections.ConfigDict(plain)) == reading.read(config)


def test_a_reset_of_the_policy_does_not_go_with_adapters(source):
  config = adapting().unlock()
  config.data.source = str(source)
  config.reference_update = ml_collections.ConfigDict(
    dict(name="elastic_reset", decay=0.9, period=5)
  )
  with pytest.raises(errors.UserError, match="adapters cannot follow"):
    experiment.plan(config)
  config.reference_update = ml_collections.ConfigDict(
    dict(name="ema", decay=0.9)
  )
  *_, main = experiment.plan(config).stages
  assert main.adapts and main.algorithm.replaces == {"reference"}


def test_the_folder_of_an_earlier_version_is_read_as_what_it_did(tmp_path):
  config = quickstart.get_config("tiny")
  old = config.to_dict()
  for name in ("lora", "reference_update", "sampling"):
    del old[name]
  for part in (old, old["sft"], old["reward_model"]):
    del part["training"]["epochs"], part["training"]["minibatches"]
  (tmp_path / "config.json").write_text(json.dumps(old))
  read = folder.read_config(tmp_path)
  assert reading.read(ml_collections.ConfigDict(read)) == reading.read(config)
  folder.claim(tmp_path, config.to_dict())
  config.lora.rank = 3
  with pytest.raises(errors.UserError, match="lora.rank is 0 there and 3 now"):
    folder.claim(tmp_path, config.to_dict())


@pytest.mark.parametrize(
  "old, new", [("reference_ema", "ema"), ("reference_copy", "periodic_copy")]
)
def test_the_folder_of_an_earlier_version_is_read_under_todays_names(
  tmp_path, old, new
):
  config = online_dpo.get_config("tiny").to_dict()
  config["refresh"] = {**config.pop("reference_update"), "name": old}
  *_, old_keyword = "algorithm.wants".split(".")
  config["algorithm"][old_keyword] = config["algorithm"].pop("feedback")
  config["init_from"], config["algorithm"]["kl_target"] = "", 0.0
  (tmp_path / "config.json").write_text(json.dumps(config))
  read = folder.read_config(tmp_path)
  assert read["reference_update"] == {"name": new}
  assert read["algorithm"]["feedback"] == "reward"
  assert "refresh" not in read and old_keyword not in read["algorithm"]
  assert read["init_from"] is read["algorithm"]["kl_target"] is None


def test_a_norm_of_zero_clips_nothing():
  read = reading.read(changed("optimizer.clip_norm", 0.0))
  assert read.main.optimizer.clip_norm is None
  assert reading.read(quickstart.get_config()).main.optimizer.clip_norm == 1.0


def test_a_kill_while_the_config_is_written_locks_no_folder(
  tmp_path, monkeypatch
):
  config = quickstart.get_config("tiny").to_dict()

  def killed(source, target):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    # As a kill does, it leaves what was written so far.
    patch.setattr("os.replace", killed)
    patch.setattr("shutil.rmtree", lambda *args, **kwargs: None)
    folder.claim(tmp_path, config)
  assert [path.name for path in tmp_path.iterdir()] != []
  folder.claim(tmp_path, config)
  assert folder.read_config(tmp_path)["seed"] == config["seed"]


def test_a_folder_with_files_of_others_is_not_taken(tmp_path):
  (tmp_path / "thesis.txt").write_text("mine")
  with pytest.raises(errors.UserError, match="holds files but no config.json"):
    folder.claim(tmp_path, quickstart.get_config("tiny").to_dict())
  assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_missing_field_is_named():
  config = quickstart.get_config("tiny").unlock()
  del config.training.batch_size
  with pytest.raises(errors.UserError, match="lacks the field 'batch_size'"):
    reading.read(config)


def test_a_setting_that_a_method_needs_is_named():
  config = quickstart.get_config("tiny").unlock()
  del config.algorithm.tau
  with pytest.raises(errors.UserError, match="needs the setting 'tau'"):
    reading.read(config)


@pytest.mark.parametrize(
  ("path", "value", "message"),
  [
    ("sampling", None, "algorithm 'rloo' learns from its own samples"),
    ("sampling.staleness", -1, "config.sampling.staleness must be >= 0"),
    ("sampling.judge.name", "mum", "no judge 'mum'; available: "),
    (
      "sampling.judge.name",
      "reward_model",
      "the 'reward_model' of this run, but the run trains none",
    ),
  ],
)
def test_sampling_that_cannot_be_is_one_clear_error(path, value, message):
  with pytest.raises(errors.UserError, match=re.escape(message)):
    reading.read(changed(path, value, rloo.get_config("tiny")))


@pytest.mark.parametrize(
  ("path", "value", "message"),
  [
    ("sampling.samples", 1, "rloo needs sampling.samples >= 2, got 1"),
    ("sampling.samples", 0, "config.sampling: samples and max_tokens must be"),
    ("sampling.temperature", 0.0, "config.sampling: temperature must be > 0"),
  ],
)
def test_numbers_of_sampling_are_checked_with_the_method(
  source, path, value, message
):
  config = changed(path, value, rloo.get_config("tiny"))
  config.data.source = str(source)
  with pytest.raises(errors.UserError, match=re.escape(message)):
    experiment.plan(config)


def test_sampling_is_refused_where_nothing_is_sampled():
  config = quickstart.get_config("tiny")
  config.sampling = rloo.get_config("tiny").sampling
  with pytest.raises(errors.UserError, match="'ipo' learns from the data as"):
    reading.read(config)


def test_a_policy_that_is_given_needs_no_sft():
  config = quickstart.get_config("tiny")
  assert "sft" in reading.read(config).trained()
  config.init_from = "runs/somewhere/sft"
  assert list(reading.read(config).trained()) == ["reward_model", "main"]
