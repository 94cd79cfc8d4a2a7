"""What a SentencePiece model of the hub says of itself."""

import pathlib
from typing import Any

from alignment_jax import errors

# Its name says which family wrote it; T5's has no bos and has extra ids.
T5_NAME, LLAMA_NAME = NAMES = ("spiece.model", "tokenizer.model")


def puts_space_first(content: bytes) -> bool:
  """Whether the model puts a space before a text, as Llama's and T5's do.

  Raises:
    UserError: it is not a SentencePiece model.
  """
  return _parsed(content).normalizer_spec.add_dummy_prefix


def has_special(content: bytes) -> bool:
  """Whether a model has pad, bos and eos of its own.

  Raises:
    UserError: it is not a SentencePiece model.
  """
  trainer = _parsed(content).trainer_spec
  return min(trainer.pad_id, trainer.bos_id, trainer.eos_id) >= 0


def find(folder: pathlib.Path) -> pathlib.Path | None:
  """The SentencePiece model in a folder, if there is one."""
  return next((folder / n for n in NAMES if (folder / n).is_file()), None)


def _parsed(content: bytes) -> Any:
  try:
    from sentencepiece import sentencepiece_model_pb2
  except ImportError as error:
    raise errors.not_installed("sentencepiece", extra="data") from error
  # Any: protobuf makes the classes of this module when it is imported.
  format_: Any = sentencepiece_model_pb2
  proto = format_.ModelProto()
  try:
    proto.ParseFromString(content)
  except Exception as error:  # protobuf's own, which is no dependency
    raise errors.UserError("this is not a SentencePiece model") from error
  if not proto.pieces:
    raise errors.UserError("this is not a SentencePiece model")
  return proto
