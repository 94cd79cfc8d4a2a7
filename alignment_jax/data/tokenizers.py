"""Text to token ids and back."""

import io
import os
import pathlib
import types
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np

from alignment_jax import errors, files

# SentencePiece writes a space as this character, and so reads it as one.
_SPACE_MARK = "\u2581"
# Characters. The trainer passes over longer lines in silence.
_LONGEST_LINE = 2**14


class SentencePieceTokenizer:
  """A SentencePiece unigram model; any text survives the round trip.

  Characters that the model has not seen become bytes, so nothing is unknown.

  Attributes:
    pad_id: fills batches; never in a text.
    bos_id: starts a prompt.
    eos_id: ends a response.
    prompt_prefix: what stands before a prompt: bos.
    prompt_suffix: what stands behind one: nothing.
    vocabulary_size: how many pieces there are.
    file: the content of its file.

  Raises:
    UserError: `model` is no SentencePiece model, or has no pad, bos or eos.
  """

  def __init__(self, model: bytes):
    if not model:  # SentencePiece takes it for a model that comes later
      raise errors.UserError("the tokenizer's model is empty")
    try:
      self._processor = _sentencepiece().SentencePieceProcessor(
        model_proto=model
      )
    except RuntimeError as error:
      raise errors.UserError("this is not a SentencePiece model") from error
    self.file = model
    self.pad_id: int = self._processor.pad_id()
    self.bos_id: int = self._processor.bos_id()
    self.eos_id: int = self._processor.eos_id()
    self.vocabulary_size: int = self._processor.get_piece_size()
    for name in ("pad", "bos", "eos"):
      if getattr(self, f"{name}_id") < 0:
        raise errors.UserError(
          f"the tokenizer has no {name} piece; train one with"
          " SentencePieceTokenizer.train"
        )
    self.prompt_prefix: list[int] = [self.bos_id]
    self.prompt_suffix: list[int] = []
    self._special = {
      i
      for i in range(self.vocabulary_size)
      if self._processor.is_control(i) or self._processor.is_unknown(i)
    }
    bytes_ = [f"<0x{byte:02X}>" for byte in _SPACE_MARK.encode("utf-8")]
    self._space_mark = [self._processor.piece_to_id(piece) for piece in bytes_]
    self._line = self._processor.encode("\n")

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> "SentencePieceTokenizer":
    """The tokenizer in a file.

    Raises:
      UserError: the file is missing or is no SentencePiece model.
    """
    try:
      return cls(pathlib.Path(path).read_bytes())
    except OSError as error:
      raise errors.UserError(
        f"cannot read the tokenizer {path}: {error.strerror}"
      ) from error
    except errors.UserError as error:
      raise errors.UserError(
        f"cannot use the tokenizer {path}: {error}; delete it to train a new"
        " one"
      ) from error

  @classmethod
  def train(
    cls,
    texts: Iterable[str],
    path: str | os.PathLike[str] | None,
    *,
    vocabulary_size: int,
  ) -> "SentencePieceTokenizer":
    """Trains a model and writes it to `path`, whole or not at all.

    The same texts give the same model.

    Args:
      texts: what to learn pieces from.
      path: of the model; None keeps it in memory.
      vocabulary_size: at most this many pieces; fewer if the texts are few,
        and never fewer than the 256 bytes, the special pieces and the
        characters in the texts need.

    Raises:
      UserError: there is no text, or `path` cannot be written.
    """
    lines = [
      line[start : start + _LONGEST_LINE]
      for text in texts
      for line in text.replace("\0", "").split("\n")
      if line.strip()
      for start in range(0, len(line), _LONGEST_LINE)
    ]
    if not lines:
      raise errors.UserError("no text to train a tokenizer on")
    model = io.BytesIO()
    characters = len(set("".join(lines)))
    _sentencepiece().SentencePieceTrainer.train(
      sentence_iterator=iter(lines),
      model_writer=model,
      model_type="unigram",
      vocab_size=max(vocabulary_size, 256 + 16 + characters),
      hard_vocab_limit=False,
      byte_fallback=True,
      character_coverage=1.0,
      normalization_rule_name="identity",
      remove_extra_whitespaces=False,
      user_defined_symbols=["\n"],
      pad_id=0,
      bos_id=1,
      eos_id=2,
      unk_id=3,
      num_threads=1,
      max_sentence_length=4 * _LONGEST_LINE,  # bytes
      minloglevel=2,
    )
    if path is not None:
      try:
        files.write_bytes(pathlib.Path(path), model.getvalue())
      except OSError as error:
        raise errors.UserError(
          f"cannot write the tokenizer {path}: {error.strerror}"
        ) from error
    return cls(model.getvalue())

  def encode(self, text: str) -> list[int]:
    """Token ids of a text, without special tokens."""
    first, *others = text.split(_SPACE_MARK)
    ids = self._processor.encode(first)
    for part in others:
      # SentencePiece puts a space before a text; before a new line it is a
      # piece of its own, which can be taken away.
      after = self._processor.encode("\n" + part)[len(self._line) :]
      ids += self._space_mark + after
    return ids

  def decode(self, ids: Iterable[int] | np.ndarray) -> str:
    """The text of token ids.

    Special tokens have none, nor have ids beyond the vocabulary, which a model
    with a padded output layer can sample.
    """
    return self._processor.decode(
      [
        int(i)
        for i in ids
        if 0 <= i < self.vocabulary_size and int(i) not in self._special
      ]
    )


# Scripts, spaces, digits, lines, an emoji of several code points and what
# looks like a special token: where versions of tokenizers have parted.
PROBE = (
  "The quick fox, isn't it?  Two  spaces\n\n\tline 1234567.89\n"
  " caf\u00e9 cafe\u0301 \u00df \u041f\u0440\u0438\u0432\u0435\u0442"
  " \u65e5\u672c\u8a9e \u0627\u0644\u0639\u0631\u0628 \u0939\u093f"
  " \ufb01 \U0001f469\u200d\U0001f680 <s> \u2581 "
)


@runtime_checkable
class Tokenizer(Protocol):
  """What batches are made with; see `SentencePieceTokenizer`."""

  pad_id: int
  eos_id: int
  prompt_prefix: list[int]
  prompt_suffix: list[int]

  def encode(self, text: str) -> list[int]: ...


def tokenizer_fingerprint(tokenizer: Tokenizer) -> list[int]:
  """Token ids that tell whether a tokenizer still is the one of a run.

  The same file can tokenize differently under another version of the libraries
  that read it, and a model would then be fed tokens that it was not trained on.
  Whoever keeps a tokenizer keeps this list beside it, and compares the two when
  it loads the tokenizer.

  Returns:
    The ids of `PROBE`, between what the tokenizer puts around a prompt, and
    after those the ids of eos and pad.
  """
  return [
    *tokenizer.prompt_prefix,
    *tokenizer.encode(PROBE),
    *tokenizer.prompt_suffix,
    tokenizer.eos_id,
    tokenizer.pad_id,
  ]


def _sentencepiece() -> types.ModuleType:
  try:
    import sentencepiece
  except ImportError as error:
    raise errors.not_installed("sentencepiece", extra="data") from error
  return sentencepiece
