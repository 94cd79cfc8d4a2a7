"""Which finished stage judges, where a trained model does."""

import pathlib

from alignment_jax import errors
from alignment_jax.experiment import folder, stage_folder
from alignment_jax.experiment.settings import TRAINED_JUDGES, Settings
from alignment_jax.experiment.stage_folder import StageRef


def stage_of(settings: Settings, name: str) -> StageRef:
  """The stage of the judge of this name, of another run or of this one."""
  path = other_run(settings)
  if path is not None and settings.need_sampling().judge["name"] == name:
    return StageRef(name, path)
  return StageRef(name)


def other_run(settings: Settings) -> pathlib.Path | None:
  """The stage of another run that judges; None if the config names none."""
  if settings.sampling is None or "path" not in settings.sampling.judge:
    return None
  if settings.sampling.judge["name"] not in TRAINED_JUDGES:
    return None  # a setting of a rule
  return pathlib.Path(settings.sampling.judge["path"])


def check(settings: Settings) -> None:
  """Refuses a judge of another run that is not there, before any work.

  Raises:
    UserError: the folder holds no finished stage, or one of another kind.
  """
  path = other_run(settings)
  if path is None:
    return
  name = settings.need_sampling().judge["name"]
  if not stage_folder.is_finished(path):
    raise errors.UserError(
      f"config.sampling.judge.path {path} is not the folder of a finished"
      f" stage; give that of a '{name}', such as runs/quickstart/{name}"
    )
  found = folder.read_model(path)["algorithm"]["name"]
  if found != name:
    raise errors.UserError(
      f"config.sampling.judge.path {path} holds a stage of '{found}', but"
      f" config.sampling.judge.name is '{name}'; give the folder of a '{name}'"
    )


def check_tokens(settings: Settings, tokenizer_file: bytes) -> None:
  """Refuses a judge of another run that reads other tokens than this run's.

  Raises:
    UserError: the tokenizers differ.
  """
  path = other_run(settings)
  if path is None:
    return
  if (path / folder.TOKENIZER).read_bytes() != tokenizer_file:
    raise errors.UserError(
      f"the judge in {path} reads other tokens than this run; start both from"
      " one policy with config.init_from, or train both on the same"
      " config.data and config.tokenizer, in a new --workdir"
    )
