"""Tokenizers of the Hugging Face hub, behind the same interface as ours."""

import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from alignment_jax import errors
from alignment_jax.data import tokenizers

FILE, CONFIG, MODEL_CONFIG = (
  "tokenizer.json",
  "tokenizer_config.json",
  "config.json",
)


_CONTROL = 3  # GGUF's type of a token that stands for no text


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
      token = _content(config.get(f"{name}_token"))
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

  def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
    """Messages in the model's chat template, up to where it is to answer.

    The template is a program of the checkpoint: it runs in a sandbox that can
    read its arguments and nothing else.

    Args:
      messages: each with a `role` and its `content`.

    Raises:
      UserError: the tokenizer has no template, or it fails.
    """
    from jinja2 import exceptions, sandbox

    template = self.described["config"].get("chat_template")
    if not template:
      raise errors.UserError("the tokenizer has no chat template")

    def refuse(message):
      raise exceptions.TemplateError(message)

    environment = sandbox.ImmutableSandboxedEnvironment(
      trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["raise_exception"] = refuse
    special = {
      name: _content(value)
      for name, value in self.described["config"].items()
      if name in ("bos_token", "eos_token", "pad_token")
    }
    try:
      return environment.from_string(template).render(
        messages=list(messages), add_generation_prompt=True, **special
      )
    except Exception as error:  # whatever a template does
      raise errors.UserError(
        f"the chat template cannot take these messages: {error}"
      ) from error

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


def _content(token):
  """A special token as text; it is written plainly or with its settings."""
  return token.get("content") if isinstance(token, dict) else token


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
