"""Which finished stage judges, where a trained model does."""

import pathlib

from alignment_jax import errors
from alignment_jax.experiment import folder, stage_folder
from alignment_jax.experiment.settings import TRAINED_JUDGES, Settings
from alignment_jax.experiment.stage_folder import StageRef


def stage_of(settings: Settings, name: str) -> StageRef:
  """The stage of the judge of this name, of another run or of this one.

  Of several that judge together the first.
  """
  paths = other_runs(settings)
  if paths and settings.need_sampling().judge["name"] == name:
    return StageRef(name, paths[0])
  return StageRef(name)


def other_runs(settings: Settings) -> tuple[pathlib.Path, ...]:
  """The stages of other runs that judge; none if the config names none."""
  if settings.sampling is None or "path" not in settings.sampling.judge:
    return ()
  if settings.sampling.judge["name"] not in TRAINED_JUDGES:
    return ()  # a setting of a rule
  path = settings.sampling.judge["path"]
  paths = (path,) if isinstance(path, str) else tuple(path)
  return tuple(map(pathlib.Path, paths))


def check(settings: Settings) -> None:
  """Refuses a judge of another run that is not there, before any work.

  Raises:
    UserError: the folder holds no finished stage, or one of another kind.
  """
  for path in other_runs(settings):
    name = settings.need_sampling().judge["name"]
    if not stage_folder.is_finished(path):
      raise errors.UserError(
        f"config.sampling.judge.path {path} is not the folder of a finished"
        f" stage; give that of a '{name}', such as runs/quickstart/{name}"
      )
    trained = folder.read_model(path)["algorithm"]["name"]
    if trained != name:
      raise errors.UserError(
        f"config.sampling.judge.path {path} holds a stage of '{trained}', but"
        f" config.sampling.judge.name is '{name}'; give the folder of a"
        f" '{name}'"
      )


def check_tokens(settings: Settings, tokenizer_file: bytes) -> None:
  """Refuses a judge of another run that reads other tokens than this run's.

  Raises:
    UserError: the tokenizers differ.
  """
  for path in other_runs(settings):
    if (path / folder.TOKENIZER).read_bytes() != tokenizer_file:
      raise errors.UserError(
        f"the judge in {path} reads other tokens than this run; start both from"
        " one policy with config.init_from, or train both on the same"
        " config.data and config.tokenizer, in a new --workdir"
      )
