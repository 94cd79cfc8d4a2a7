"""Tokenizers of the Hugging Face hub, behind the same interface as ours."""

import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from alignment_jax import errors
from alignment_jax.data import tokenizers

FILE, CONFIG, MODEL_CONFIG = (
  "tokenizer.json",
  "tokenizer_config.json",
  "config.json",
)


class HubTokenizer:
  """A `tokenizer.json`, with the special tokens of the files beside it.

  Attributes:
    pad_id: fills batches; masks say where it does.
    eos_id: ends a response.
    prompt_prefix: what the tokenizer itself puts before a text, such as bos.
    prompt_suffix: what it puts behind one, such as T5's eos.
    vocabulary_size: ids are below this.

  Raises:
    UserError: the description does not make a tokenizer.
  """

  def __init__(self, described: Mapping[str, Any]):
    library = _library()
    try:
      self._tokenizer = library.Tokenizer.from_str(
        json.dumps(described["tokenizer"])
      )
      self.eos_id: int = int(described["eos_id"])
      self.pad_id: int = int(described["pad_id"])
    except Exception as error:  # the library raises plain Exception
      raise errors.UserError(f"this is no tokenizer: {error}") from error
    self._tokenizer.no_truncation()
    self._tokenizer.no_padding()
    self.described = dict(described)
    self.vocabulary_size: int = 1 + max(
      self._tokenizer.get_vocab(with_added_tokens=True).values()
    )
    bare = self.encode("a")
    dressed = self._tokenizer.encode("a").ids
    place = next(
      (
        start
        for start in range(len(dressed))
        if dressed[start : start + len(bare)] == bare
      ),
      0,
    )
    self.prompt_prefix: list[int] = dressed[:place]
    self.prompt_suffix: list[int] = dressed[place + len(bare) :]

  @classmethod
  def from_folder(cls, folder: pathlib.Path) -> "HubTokenizer":
    """The tokenizer of a model's folder.

    Raises:
      UserError: there is no `tokenizer.json`, or nothing says which token ends
        a text.
    """
    if not (folder / FILE).is_file():
      raise errors.UserError(
        f"no {FILE} in {folder}; save the tokenizer there with transformers'"
        " AutoTokenizer.from_pretrained(...).save_pretrained(...)"
      )
    tokenizer = _read(folder / FILE)
    config = _read(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    model = _read(folder / MODEL_CONFIG)
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}

    def special(name):
      token = config.get(f"{name}_token")
      token = token.get("content") if isinstance(token, dict) else token
      if token in ids:
        return ids[token]
      found = model.get(f"{name}_token_id")
      return found[0] if isinstance(found, list) else found

    eos = special("eos")
    if eos is None:
      raise errors.UserError(
        f"neither {CONFIG} nor {MODEL_CONFIG} in {folder} says which token"
        " ends a text (eos_token)"
      )
    pad = special("pad")
    return cls(
      {
        "tokenizer": tokenizer,
        "config": config,
        "eos_id": eos,
        "pad_id": eos if pad is None else pad,
      }
    )

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes the tokenizer as one file, whole or not at all."""
    tokenizers.write_whole(
      pathlib.Path(path), json.dumps(self.described).encode("utf-8")
    )

  def save_to_folder(self, folder: pathlib.Path) -> None:
    """Writes the files that transformers reads."""
    for name, part in ((FILE, "tokenizer"), (CONFIG, "config")):
      tokenizers.write_whole(
        folder / name,
        json.dumps(self.described[part], indent=2, ensure_ascii=False).encode(
          "utf-8"
        ),
      )

  def encode(self, text: str) -> list[int]:
    """Token ids of a text, without special tokens."""
    return self._tokenizer.encode(text, add_special_tokens=False).ids

  def decode(self, ids: Iterable[int] | np.ndarray) -> str:
    """The text of token ids; special tokens have none."""
    return self._tokenizer.decode(
      [int(i) for i in ids if 0 <= i < self.vocabulary_size],
      skip_special_tokens=True,
    )


def load_tokenizer(
  path: pathlib.Path,
) -> "HubTokenizer | tokenizers.SentencePieceTokenizer":
  """The tokenizer in a file that this library wrote, of either kind.

  Raises:
    UserError: the file is missing or holds no tokenizer.
  """
  try:
    with path.open("rb") as file:
      described = file.read(1) == b"{"
  except OSError as error:
    raise errors.UserError(
      f"cannot read the tokenizer {path}: {error.strerror}"
    ) from error
  if described:
    return HubTokenizer(_read(path))
  return tokenizers.SentencePieceTokenizer.load(path)


def _read(path):
  try:
    return json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise errors.UserError(f"cannot read {path}: {error}") from error


def _library():
  try:
    import tokenizers as library
  except ImportError as error:
    raise errors.UserError(
      "tokenizers is not installed: pip install 'alignment-jax[hf]'"
    ) from error
  return library
