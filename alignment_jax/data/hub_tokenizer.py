"""Tokenizers of the Hugging Face hub, behind the same interface as ours."""

import base64
import functools
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from alignment_jax import errors
from alignment_jax.data import chat, sentencepiece_file, tokenizers

FILE, CONFIG, MODEL_CONFIG = (
  "tokenizer.json",
  "tokenizer_config.json",
  "config.json",
)
SPECIAL, ADDED = "special_tokens_map.json", "added_tokens.json"
TEMPLATE, GENERATION = "chat_template.jinja", "generation_config.json"

_CONTROL = 3  # GGUF's type of a token that stands for no text


class HubTokenizer:
  """A tokenizer of the hub, with the special tokens of the files beside it.

  Attributes:
    pad_id: fills batches; masks say where it does.
    eos_id: ends a response.
    prompt_prefix: what the tokenizer itself puts before a text, such as bos.
    prompt_suffix: what it puts behind one, such as T5's eos.
    vocabulary_size: ids are below this.
    has_template: whether it knows how to write a conversation.

  Raises:
    UserError: the description does not make a tokenizer.
  """

  def __init__(self, described: Mapping[str, Any]):
    library = _library()
    try:
      # With offsets that hold the spaces of a token; ids are the same.
      self._tokenizer = library.Tokenizer.from_str(
        json.dumps(_untrimmed(described["tokenizer"]))
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
    self.has_template: bool = bool(chat.template_of(described["config"]))
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
    """The tokenizer of a model's folder: `tokenizer.json` or SentencePiece.

    Of several ids that end a text, the one that the chat template puts behind
    an answer counts, if the model's own config has it among them.

    Raises:
      UserError: there is no tokenizer, or nothing says which token ends a text.
    """
    found = sentencepiece_file.find(folder)
    if not (folder / FILE).is_file() and found is None:
      raise errors.UserError(
        f"no {FILE} and no {' or '.join(sentencepiece_file.NAMES)} in {folder};"
        " save the tokenizer there with transformers'"
        " AutoTokenizer.from_pretrained(...).save_pretrained(...)"
      )
    config = {**_read_if(folder / SPECIAL), **_read_if(folder / CONFIG)}
    if (folder / TEMPLATE).is_file():
      config["chat_template"] = (folder / TEMPLATE).read_text("utf-8")
    model = _read(folder / MODEL_CONFIG)
    kept = [CONFIG, SPECIAL, ADDED, TEMPLATE]
    if (folder / FILE).is_file():
      tokenizer = _read(folder / FILE)
    else:
      t5 = found.name == sentencepiece_file.T5_NAME or str(
        model.get("model_type")
      ) in ("t5", "mt5", "umt5")
      kept.append(found.name)
      try:
        tokenizer, config = sentencepiece_file.described(
          found.read_bytes(), config, _read_if(folder / ADDED), t5=t5
        )
      except errors.UserError as error:
        raise errors.UserError(f"{found}: {error}") from error
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}

    def listed(name):
      """The ids of the model's own config, as it generates if that is there."""
      found = _read_if(folder / GENERATION).get(
        f"{name}_token_id", model.get(f"{name}_token_id")
      )
      return found if isinstance(found, list) else [found]

    def special(name):
      return ids.get(_content(config.get(f"{name}_token")), listed(name)[0])

    eos = special("eos")
    if eos is None:
      raise errors.UserError(
        f"neither {CONFIG} nor {MODEL_CONFIG} in {folder} says which token"
        " ends a text (eos_token)"
      )
    pad = special("pad")
    made = cls(
      {
        "tokenizer": tokenizer,
        "config": config,
        "eos_id": eos,
        "pad_id": eos if pad is None else pad,
        "files": {
          name: base64.b64encode((folder / name).read_bytes()).decode("ascii")
          for name in kept
          if (folder / name).is_file()
        },
      }
    )
    turn = chat.end_of_turn(made) if made.has_template else None
    if turn is not None and turn in listed("eos"):
      made.eos_id = made.described["eos_id"] = turn
    return made

  @classmethod
  def from_gguf(cls, metadata: Mapping[str, Any]) -> "HubTokenizer":
    """The tokenizer that a GGUF file describes.

    Args:
      metadata: of the file, by key.

    Raises:
      UserError: a kind of tokenizer that this library cannot build.
    """
    library = _library()

    def field(name, default=None):
      return metadata.get(f"tokenizer.ggml.{name}", default)

    kinds = (("gpt2", "smollm"), ("gpt2", "gpt-2"))
    kind = field("model"), field("pre", "gpt-2")
    if kind not in kinds:
      raise errors.unknown(
        "kind of GGUF tokenizer", "/".join(map(str, kind)), map("/".join, kinds)
      )
    tokens = field("tokens")
    made = library.Tokenizer(
      library.models.BPE(
        vocab={token: place for place, token in enumerate(tokens)},
        merges=[tuple(merge.split(" ")) for merge in field("merges")],
      )
    )
    bytes_ = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind[1] == "smollm":
      digits = library.pre_tokenizers.Digits(individual_digits=True)
      bytes_ = library.pre_tokenizers.Sequence([digits, bytes_])
    made.pre_tokenizer = bytes_
    made.decoder = library.decoders.ByteLevel()
    control = [
      token
      for token, type_ in zip(tokens, field("token_type"), strict=True)
      if type_ == _CONTROL
    ]
    made.add_special_tokens(control)
    bos, eos = field("bos_token_id"), field("eos_token_id")
    if field("add_bos_token", False):
      made.post_processor = library.processors.TemplateProcessing(
        single=f"{tokens[bos]} $A", special_tokens=[(tokens[bos], bos)]
      )
    config = {
      "eos_token": tokens[eos],
      "tokenizer_class": "PreTrainedTokenizerFast",
    }
    if bos is not None:
      config["bos_token"] = tokens[bos]
    if "tokenizer.chat_template" in metadata:
      config["chat_template"] = metadata["tokenizer.chat_template"]
    return cls(
      {
        "tokenizer": json.loads(made.to_str()),
        "config": config,
        "eos_id": eos,
        "pad_id": field("padding_token_id", eos),
      }
    )

  @functools.cached_property
  def template(self) -> chat.Template:
    """How this model writes a conversation.

    Raises:
      UserError: it has no template, or one that does not compile.
    """
    return chat.Template(self.described["config"])

  def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
    """Messages in the model's chat template, up to where it is to answer.

    Args:
      messages: each with a `role` and its `content`.

    Raises:
      UserError: the tokenizer has no template, or it fails.
    """
    return self.template.render(messages, answer=True)

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes the tokenizer as one file, whole or not at all."""
    tokenizers.write_whole(
      pathlib.Path(path), json.dumps(self.described).encode("utf-8")
    )

  def save_to_folder(self, folder: pathlib.Path) -> None:
    """Writes the files that transformers reads; those read, byte for byte."""
    files = {
      name: base64.b64decode(content)
      for name, content in self.described.get("files", {}).items()
    }
    if not any(name in files for name in sentencepiece_file.NAMES):
      files[FILE] = _json(self.described["tokenizer"])
    files.setdefault(CONFIG, _json(self.described["config"]))
    for name, content in files.items():
      tokenizers.write_whole(folder / name, content)

  def encode(self, text: str) -> list[int]:
    """Token ids of a text, without special tokens."""
    return self._tokenizer.encode(text, add_special_tokens=False).ids

  def encode_from(self, text: str, place: int) -> list[int]:
    """The tokens of a text from a place in it, where it goes on from a prompt.

    They are those that the whole text has there. What a token that reaches over
    the place holds behind it is encoded by itself, for the prompt has its own
    part already.
    """
    whole = self._tokenizer.encode(text, add_special_tokens=False)
    first = len(whole.ids)
    while first and whole.offsets[first - 1][0] >= place:
      first -= 1
    if not first or whole.offsets[first - 1][1] <= place:
      return whole.ids[first:]
    end = whole.offsets[first][0] if first < len(whole.ids) else len(text)
    part = self._continuing.encode(text[place:end], add_special_tokens=False)
    return [*part.ids, *whole.ids[first:]]

  @functools.cached_property
  def _continuing(self):
    """The tokenizer without the space that it puts before a text."""
    return _library().Tokenizer.from_str(
      json.dumps(_without_prefix(self.described["tokenizer"]))
    )

  def decode(self, ids: Iterable[int] | np.ndarray) -> str:
    """The text of token ids; special tokens have none."""
    return self._tokenizer.decode(
      [int(i) for i in ids if 0 <= i < self.vocabulary_size],
      skip_special_tokens=True,
    )


def open_tokenizer(
  folder: pathlib.Path,
) -> "HubTokenizer | tokenizers.SentencePieceTokenizer":
  """The tokenizer of a folder of the hub.

  A SentencePiece model with pad, bos and eos and no file about its special
  tokens beside it is one of ours.

  Raises:
    UserError: there is none, or it cannot be used.
  """
  found = sentencepiece_file.find(folder)
  about = (FILE, CONFIG, SPECIAL, ADDED, TEMPLATE)
  if found and not any((folder / name).is_file() for name in about):
    if sentencepiece_file.has_special(found.read_bytes()):
      return tokenizers.SentencePieceTokenizer.load(found)
  return HubTokenizer.from_folder(folder)


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


def _content(token):
  """A special token as text; it is written plainly or with its settings."""
  return token.get("content") if isinstance(token, dict) else token


def _json(value):
  return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8")


def _untrimmed(tokenizer):
  return {
    **tokenizer,
    "post_processor": _changed(
      tokenizer.get("post_processor"), {"trim_offsets": False}
    ),
  }


def _without_prefix(tokenizer):
  normalizer = tokenizer.get("normalizer") or {}
  steps = normalizer.get("normalizers", [normalizer] if normalizer else [])
  return {
    **tokenizer,
    "normalizer": {
      "type": "Sequence",
      "normalizers": [step for step in steps if step["type"] != "Prepend"],
    },
    "pre_tokenizer": _changed(
      tokenizer.get("pre_tokenizer"),
      {"add_prefix_space": False, "prepend_scheme": "never"},
    ),
  }


def _changed(part, settings):
  """Part of a description with these settings wherever it has them."""
  if isinstance(part, list):
    return [_changed(inner, settings) for inner in part]
  if not isinstance(part, dict):
    return part
  return {
    name: settings[name] if name in settings else _changed(inner, settings)
    for name, inner in part.items()
  }


def _read_if(path):
  return _read(path) if path.is_file() else {}


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
