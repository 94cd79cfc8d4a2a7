"""What lies in a run's folder, and that it belongs to one config.

config.json           the resolved config
tokenizer.model       trained on the text, or taken from `init_from`
tokenizer_probe.json  the ids that it gave a fixed text
sft/, ipo/, ...       one folder per stage:
  checkpoints/        to resume from
  metrics.jsonl, tensorboard/
  final/              the parameters at the end
  model.json          which network they are for
  tokenizer.model, tokenizer_probe.json   so that the folder stands alone
evaluation.json, answers.jsonl, report.html
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from alignment_jax import data, errors, files
from alignment_jax.experiment import renamed

CONFIG, MODEL, TOKENIZER = "config.json", "model.json", "tokenizer.model"
PROBE = "tokenizer_probe.json"

# Fields that folders of earlier versions lack, with what those versions did.
_TRAINING = {"training": {"epochs": 1, "minibatches": 1}}
_SINCE = {
  **_TRAINING,
  "data": {"min_probability": 0.0},
  "lora": {"rank": 0, "alpha": 16.0, "targets": ["*/attention/*/kernel"]},
  "preference_model": None,
  "reference_update": {"name": "frozen"},
  "reward_model": _TRAINING,
  "sampling": None,
  "sft": _TRAINING,
}


def claim(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Makes the folder this config's, or checks that it already is.

  Raises:
    UserError: it belongs to another config (names the fields that differ), it
      holds other files, or it cannot be written.
  """
  path = workdir / CONFIG
  if path.exists():
    _compare(workdir, read_config(workdir), json.loads(json.dumps(config)))
    return
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    # What a kill left of the config is no file of anybody's.
    if any(not path.name.startswith(CONFIG) for path in workdir.iterdir()):
      raise errors.UserError(
        f"{workdir} holds files but no {CONFIG}, so it is not a run of ours;"
        " choose an empty or new --workdir"
      )
    files.write_json(path, config)
  except OSError as error:
    raise errors.UserError(
      f"cannot write to {workdir}: {error.strerror}; choose another --workdir"
    ) from error


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
  """The config that a folder was made with.

  Raises:
    UserError: it is missing or damaged.
  """
  config = files.read_json(
    workdir / CONFIG,
    next_step="name the folder of a run, or use a new --workdir",
  )
  return _filled(renamed.updated(config), _SINCE)


def read_model(stage: pathlib.Path) -> dict[str, Any]:
  """What `model.json` in the folder of a stage says.

  Raises:
    UserError: it is missing or damaged.
  """
  return files.read_json(
    stage / MODEL, next_step=f"is {stage} the folder of a stage?"
  )


def write_tokenizer(
  directory: pathlib.Path, tokenizer: data.Tokenizer, content: bytes
) -> None:
  """Writes a tokenizer's file, and how it tokenizes.

  Args:
    directory: of a run or stage.
    tokenizer: that reads the file.
    content: of the file.
  """
  # First: a tokenizer is there only with what it is checked against.
  write_probe(directory, tokenizer)
  files.write_bytes(directory / TOKENIZER, content)


def write_probe(directory: pathlib.Path, tokenizer: data.Tokenizer) -> None:
  """Writes how a tokenizer tokenizes, for `load_tokenizer` to compare."""
  files.write_json(directory / PROBE, data.tokenizer_fingerprint(tokenizer))


def load_tokenizer(directory: pathlib.Path) -> data.Tokenizer:
  """The tokenizer of a run or stage.

  Raises:
    UserError: there is none, it is damaged, or it tokenizes otherwise than when
      it was written, as it may under other versions of its libraries.
  """
  path, probe = directory / TOKENIZER, directory / PROBE
  if not path.is_file():
    raise errors.UserError(
      f"{path} is missing; give the folder of a finished stage, such as"
      " runs/quickstart/ipo"
    )
  tokenizer = data.load_tokenizer(path)
  if probe.exists():  # folders of earlier versions have none
    expected = files.read_json(probe, next_step="restore it, or delete it")
    if data.tokenizer_fingerprint(tokenizer) != expected:
      raise errors.UserError(
        f"{path} gives a text other tokens than when it was written; install"
        " the versions of transformers, tokenizers and sentencepiece of then"
      )
  return tokenizer


def _compare(
  workdir: pathlib.Path, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
  there, now = _flat(old), _flat(new)
  missing = object()
  different = [
    name
    for name in sorted(there.keys() | now.keys())
    if there.get(name, missing) != now.get(name, missing)
  ]
  if different:
    shown = "; ".join(
      f"{name} is {there.get(name)!r} there and {now.get(name)!r} now"
      for name in different[:3]
    )
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    raise errors.UserError(
      f"{workdir} was made with another config: {shown}{more}; use a new"
      " --workdir, or the config it was made with"
    )


def _filled(
  value: Mapping[str, Any], since: Mapping[str, Any]
) -> dict[str, Any]:
  """`value` with the fields that it lacks."""
  filled = {**since, **value}
  for name, part in since.items():
    if isinstance(part, Mapping) and isinstance(filled[name], Mapping):
      filled[name] = _filled(filled[name], part)
  return filled


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
  """Dotted path -> leaf."""
  if not isinstance(value, Mapping):
    return {prefix[:-1]: value}
  return {
    name: leaf
    for key, inner in value.items()
    for name, leaf in _flat(inner, f"{prefix}{key}.").items()
  }
