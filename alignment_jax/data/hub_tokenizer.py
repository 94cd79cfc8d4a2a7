"""Tokenizers of the Hugging Face hub, behind the same interface as ours.

transformers reads the files, encodes and renders chat templates. What is here
is what it lacks: tokens on either side of the border between a prompt and a
response, the tokenizer inside a GGUF file, and one file that holds it all.
"""

import base64
import datetime
import functools
import json
import os
import pathlib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from alignment_jax import errors, files
from alignment_jax.data import tokenizers

Messages = Sequence[Mapping[str, Any]]

FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"

# The date that Llama 3's templates name where there is no clock.
TEMPLATE_DATE = datetime.datetime(2024, 7, 26)


class HubTokenizer:
  """A tokenizer of the hub.

  Args:
    fast: a `transformers.PreTrainedTokenizerFast`.
    eos_id: ends a response.
    pad_id: fills batches; masks say where it does.
    folder_files: the files that it came from, which `save_to_folder` writes
      again byte for byte.

  Attributes:
    fast: the tokenizer of transformers, for what is not offered here.
    prompt_prefix: what the tokenizer itself puts before a text, such as bos.
    prompt_suffix: what it puts behind one, such as T5's eos.
    vocabulary_size: ids are below this.
    has_template: whether it has a chat template.
  """

  def __init__(
    self,
    fast: Any,
    *,
    eos_id: int,
    pad_id: int,
    folder_files: Mapping[str, bytes] | None = None,
  ):
    self.fast = fast
    self._backend = fast.backend_tokenizer
    self._backend.no_truncation()
    self._backend.no_padding()
    self._folder_files = dict(folder_files or {})
    self.eos_id = eos_id
    self.pad_id = pad_id
    self.vocabulary_size: int = 1 + max(fast.get_vocab().values())
    template = fast.chat_template  # of several, the default one counts
    if isinstance(template, Mapping):
      template = template.get("default")
    self._template: str | None = template or None
    self.has_template: bool = self._template is not None
    bare, dressed = self.encode("a"), self._backend.encode("a").ids
    starts = range(len(dressed) - len(bare) + 1)
    start = next((i for i in starts if dressed[i : i + len(bare)] == bare), 0)
    self.prompt_prefix: list[int] = dressed[:start]
    self.prompt_suffix: list[int] = dressed[start + len(bare) :]

  @classmethod
  def from_description(cls, description: Mapping[str, Any]) -> "HubTokenizer":
    """The tokenizer that `save` has written.

    Args:
      description: `tokenizer` (a `tokenizer.json`), `config` (special tokens
        and `chat_template`), `eos_id`, `pad_id`, and `files` in base64.

    Raises:
      UserError: it does not describe a tokenizer.
    """
    transformers, rust = libraries()
    try:
      return cls(
        transformers.PreTrainedTokenizerFast(
          tokenizer_object=rust.Tokenizer.from_str(
            json.dumps(description["tokenizer"])
          ),
          **named(description["config"]),
        ),
        eos_id=int(description["eos_id"]),
        pad_id=int(description["pad_id"]),
        folder_files={
          name: base64.b64decode(content)
          for name, content in description.get("files", {}).items()
        },
      )
    except Exception as error:  # tokenizers raises plain Exception
      raise errors.UserError(f"this is no tokenizer: {error}") from error

  def chat(
    self, messages: Messages, *, add_generation_prompt: bool = True
  ) -> str:
    """Messages in the model's chat template.

    transformers renders it, in a sandbox that can read its arguments and
    nothing else. A template that asks for today's date (`strftime_now`) reads
    `TEMPLATE_DATE`: the same row is the same text on every day.

    Args:
      messages: each with a `role` and its `content`.
      add_generation_prompt: whether to go on up to where the model responds.

    Raises:
      UserError: the tokenizer has no template, or it does not compile, or it
        does not take these messages.
    """
    if self._template is None:
      raise errors.UserError("the tokenizer has no chat template")
    try:
      return self.fast.apply_chat_template(
        [dict(message) for message in messages],
        chat_template=_clock() + self._template,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
      )
    except Exception as error:  # whatever a template does
      problem = (
        "does not compile"
        if type(error).__name__ == "TemplateSyntaxError"
        else "cannot take these messages"
      )
      raise errors.UserError(f"the chat template {problem}: {error}") from error

  def description(self) -> dict[str, Any]:
    """The tokenizer as a value of JSON; see `from_description`."""
    return {
      "tokenizer": json.loads(self._backend.to_str()),
      "config": {
        **named(self.fast.special_tokens_map),
        **({"chat_template": self._template} if self._template else {}),
      },
      "eos_id": self.eos_id,
      "pad_id": self.pad_id,
      "files": {
        name: base64.b64encode(content).decode("ascii")
        for name, content in self._folder_files.items()
      },
    }

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes the tokenizer as one file, whole or not at all."""
    files.write_text(pathlib.Path(path), json.dumps(self.description()))

  def save_to_folder(self, folder: pathlib.Path) -> None:
    """Writes the files that transformers reads; those read, byte for byte."""
    parts = self.description()
    # Not `save_pretrained`: transformers 4 lacks the class that it names.
    config = {**parts["config"], "tokenizer_class": "PreTrainedTokenizerFast"}
    contents = self._folder_files or {
      FILE: _json(parts["tokenizer"]),
      CONFIG: _json(config),
    }
    for name, content in contents.items():
      files.write_bytes(folder / name, content)

  def encode(self, text: str) -> list[int]:
    """Token ids of a text, without special tokens."""
    return self._backend.encode(text, add_special_tokens=False).ids

  def encode_from(self, text: str, start: int) -> list[int]:
    """The tokens of a text from `start` on, where it goes on from a prompt.

    They are those that the whole text has there. A token that reaches over
    `start` is taken apart: what it holds behind is encoded by itself, for the
    prompt has its own part already.
    """
    whole = self._offsets.encode(text, add_special_tokens=False)
    first = len(whole.ids)
    while first and whole.offsets[first - 1][0] >= start:
      first -= 1
    if not first or whole.offsets[first - 1][1] <= start:
      return whole.ids[first:]
    end = whole.offsets[first][0] if first < len(whole.ids) else len(text)
    part = self._continuing.encode(text[start:end], add_special_tokens=False)
    return [*part.ids, *whole.ids[first:]]

  def decode(self, ids: Iterable[int] | np.ndarray) -> str:
    """The text of token ids; special tokens have none."""
    return self._backend.decode(
      [int(i) for i in ids if 0 <= i < self.vocabulary_size],
      skip_special_tokens=True,
    )

  @functools.cached_property
  def _offsets(self) -> Any:
    """The tokenizer with offsets that hold the spaces of a token.

    A post-processor may trim them; without it ids are the same.
    """
    return self._changed({"post_processor": None})

  @functools.cached_property
  def _continuing(self) -> Any:
    """The tokenizer without the space that it puts before a text."""
    parts = json.loads(self._backend.to_str())
    normalizer = parts["normalizer"] or {}
    steps = normalizer.get("normalizers", [normalizer] if normalizer else [])
    return self._changed(
      {
        "normalizer": {
          "type": "Sequence",
          "normalizers": [step for step in steps if step["type"] != "Prepend"],
        },
        "pre_tokenizer": _without_prefix(parts["pre_tokenizer"]),
      }
    )

  def _changed(self, parts: Mapping[str, Any]) -> Any:
    return type(self._backend).from_str(
      json.dumps({**json.loads(self._backend.to_str()), **parts})
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
      is_json = file.read(1) == b"{"
  except OSError as error:
    raise errors.UserError(
      f"cannot read the tokenizer {path}: {error.strerror}"
    ) from error
  if is_json:
    return HubTokenizer.from_description(_read(path))
  return tokenizers.SentencePieceTokenizer.load(path)


def named(config: Mapping[str, Any]) -> dict[str, Any]:
  """The named special tokens of a config, as texts, and its template."""
  names = [f"{name}_token" for name in ("bos", "eos", "unk", "pad")]
  tokens = {name: config.get(name) for name in names}
  return {
    **{
      name: token["content"] if isinstance(token, Mapping) else str(token)
      for name, token in tokens.items()
      if token is not None
    },
    **{k: v for k, v in config.items() if k == "chat_template"},
  }


@functools.cache
def _clock() -> str:
  """A Jinja macro that stands for `strftime_now`, on one day for ever.

  transformers hands templates the clock itself, and gives no way to set it;
  what the template defines comes before that.
  """
  filters = "".join(
    f"|replace('%{code}','{TEMPLATE_DATE.strftime(f'%{code}')}')"
    for code in "aAbBdHIjmMpSUwWyYZ"
  )
  return (
    "{%- macro strftime_now(format) -%}{{- format" + filters + " -}}"
    "{%- endmacro -%}"
  )


def _json(value: Any) -> bytes:
  return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8")


def _without_prefix(part: Any) -> Any:
  """A pre-tokenizer's description that puts no space before a text."""
  never = {"add_prefix_space": False, "prepend_scheme": "never"}
  if isinstance(part, list):
    return [_without_prefix(inner) for inner in part]
  if not isinstance(part, dict):
    return part
  return {k: never.get(k, _without_prefix(inner)) for k, inner in part.items()}


def _read(path: pathlib.Path) -> dict[str, Any]:
  return files.read_json(path, next_step="save the tokenizer there again")


def libraries() -> tuple[types.ModuleType, types.ModuleType]:
  """transformers and tokenizers, imported when they are first needed.

  It takes about a second. `PreTrainedTokenizerFast` needs no torch and imports
  none; `AutoTokenizer` would import it where it is installed.

  Raises:
    UserError: they are not installed.
  """
  try:
    # Its advice is that models need torch, and no model of it is used here.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    import tokenizers as rust
    import transformers
  except ImportError as error:
    raise errors.not_installed("transformers", extra="hf") from error
  return transformers, rust
