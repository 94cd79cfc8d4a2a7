"""Text to token ids and back."""

import io
import os
import pathlib
from collections.abc import Iterable, Sequence

from alignment_jax import errors


class SentencePieceTokenizer:
  """A SentencePiece unigram model; any text survives the round trip.

  Characters that the model has not seen become bytes, so nothing is unknown.

  Attributes:
    pad_id: fills batches; never in a text.
    bos_id: starts a prompt.
    eos_id: ends a response.
    vocabulary_size: how many pieces there are.
  """

  def __init__(self, model: bytes):
    self._processor = _sentencepiece().SentencePieceProcessor(model_proto=model)
    self.pad_id: int = self._processor.pad_id()
    self.bos_id: int = self._processor.bos_id()
    self.eos_id: int = self._processor.eos_id()
    self.vocabulary_size: int = self._processor.get_piece_size()

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
    except RuntimeError as error:
      raise errors.UserError(
        f"{path} is not a SentencePiece model; delete it to train a new one"
      ) from error

  @classmethod
  def train(
    cls,
    texts: Iterable[str],
    path: str | os.PathLike[str],
    *,
    vocabulary_size: int,
  ) -> "SentencePieceTokenizer":
    """Trains a model and writes it to `path`, whole or not at all.

    The same texts give the same model.

    Args:
      texts: what to learn pieces from.
      path: of the model.
      vocabulary_size: at most this many pieces; fewer if the texts are few,
        and never fewer than the 256 bytes and the special pieces need.

    Raises:
      UserError: there is no text.
    """
    lines = [line for text in texts for line in text.split("\n") if line]
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
      max_sentence_length=1 << 16,
      minloglevel=2,
    )
    path = pathlib.Path(path)
    part = path.with_name(path.name + ".part")
    part.write_bytes(model.getvalue())
    os.replace(part, path)
    return cls(model.getvalue())

  def encode(self, text: str) -> list[int]:
    """Token ids of a text, without special tokens."""
    return self._processor.encode(text)

  def decode(self, ids: Sequence[int]) -> str:
    """The text of token ids; special tokens have none."""
    special = (self.pad_id, self.bos_id, self.eos_id)
    return self._processor.decode([i for i in ids if i not in special])


def _sentencepiece():
  try:
    import sentencepiece
  except ImportError as error:
    raise errors.UserError(
      "sentencepiece is not installed: pip install 'alignment-jax[data]'"
    ) from error
  return sentencepiece
