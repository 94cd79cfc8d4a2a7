"""Tokenizers from the hub's files: a model's folder or a GGUF file."""

import pathlib
from collections.abc import Mapping
from typing import Any

from alignment_jax import errors, files
from alignment_jax.data import chat, hub_tokenizer, sentencepiece_file
from alignment_jax.data.hub_tokenizer import CONFIG, FILE, HubTokenizer
from alignment_jax.data.tokenizers import SentencePieceTokenizer

SPECIAL, ADDED = "special_tokens_map.json", "added_tokens.json"
TEMPLATE = "chat_template.jinja"
MODEL_CONFIG, GENERATION = "config.json", "generation_config.json"

T5_FAMILY = ("t5", "mt5", "umt5")
SPACE = "\u2581"  # SentencePiece's sign of a space

_CONTROL = 3  # GGUF's type of a token that stands for no text


def open_tokenizer(
  folder: pathlib.Path,
) -> HubTokenizer | SentencePieceTokenizer:
  """The tokenizer of a folder of the hub: `tokenizer.json` or SentencePiece.

  A SentencePiece model with pad, bos and eos and no file about its special
  tokens beside it is one of ours. Of several ids that end a text, the one that
  the chat template puts behind a response counts, if the model's own config
  has it among them.

  Raises:
    UserError: there is no tokenizer, it cannot be used, or nothing says which
      token ends a text.
  """
  source = folder / FILE
  found = {
    name: (folder / name).read_bytes()
    for name in (CONFIG, SPECIAL, ADDED, TEMPLATE)
    if (folder / name).is_file()
  }
  if source.is_file():
    transformers, _ = hub_tokenizer.libraries()
    fast = _pretrained(folder, transformers.PreTrainedTokenizerFast)
  else:
    source = sentencepiece_file.find(folder)
    if source is None:
      raise errors.UserError(
        f"no {FILE} and no {' or '.join(sentencepiece_file.NAMES)} in"
        f" {folder}; save the tokenizer there with transformers'"
        " AutoTokenizer.from_pretrained(...).save_pretrained(...)"
      )
    if not found and sentencepiece_file.has_special(source.read_bytes()):
      return SentencePieceTokenizer.load(source)
    fast = _from_sentencepiece(source)
  model = {**_read(folder / MODEL_CONFIG), **_read_if(folder / GENERATION)}
  # A model may list several tokens that end a text; the first one is meant.
  eos_ids = _listed(model.get("eos_token_id"))
  eos, *_ = [*_listed(fast.eos_token_id), *eos_ids, None]
  pad, *_ = [
    *_listed(fast.pad_token_id),
    *_listed(model.get("pad_token_id")),
    eos,
  ]
  if eos is None:
    raise errors.UserError(
      f"neither {CONFIG} nor {MODEL_CONFIG} in {folder} says which token"
      " ends a text (eos_token)"
    )
  tokenizer = HubTokenizer(
    fast,
    eos_id=eos,
    pad_id=pad,
    folder_files={**found, source.name: source.read_bytes()},
  )
  turn = chat.end_of_turn(tokenizer) if tokenizer.has_template else None
  if turn in eos_ids:
    tokenizer.eos_id = turn
  return tokenizer


def tokenizer_from_gguf(metadata: Mapping[str, Any]) -> HubTokenizer:
  """The tokenizer that a GGUF file describes.

  Args:
    metadata: of the file, by key.

  Raises:
    UserError: a kind of tokenizer that this library cannot build.
  """

  def field(name: str, default: Any = None) -> Any:
    return metadata.get(f"tokenizer.ggml.{name}", default)

  transformers, parts = hub_tokenizer.libraries()
  kinds = (("gpt2", "smollm"), ("gpt2", "gpt-2"))
  kind = field("model"), field("pre", "gpt-2")
  if kind not in kinds:
    raise errors.unknown(
      "kind of GGUF tokenizer", "/".join(map(str, kind)), map("/".join, kinds)
    )
  tokens = field("tokens")
  backend = parts.Tokenizer(
    parts.models.BPE(
      vocab={token: token_id for token_id, token in enumerate(tokens)},
      merges=[tuple(merge.split(" ")) for merge in field("merges")],
    )
  )
  splitter = parts.pre_tokenizers.ByteLevel(add_prefix_space=False)
  if kind[1] == "smollm":
    digits = parts.pre_tokenizers.Digits(individual_digits=True)
    splitter = parts.pre_tokenizers.Sequence([digits, splitter])
  backend.pre_tokenizer = splitter
  backend.decoder = parts.decoders.ByteLevel()
  types = zip(tokens, field("token_type"), strict=True)
  backend.add_special_tokens([token for token, t in types if t == _CONTROL])
  bos, eos = field("bos_token_id"), field("eos_token_id")
  fast = transformers.PreTrainedTokenizerFast(
    tokenizer_object=backend,
    eos_token=tokens[eos],
    bos_token=None if bos is None else tokens[bos],
    add_bos_token=bool(field("add_bos_token", False)),
    chat_template=metadata.get("tokenizer.chat_template"),
  )
  return HubTokenizer(fast, eos_id=eos, pad_id=field("padding_token_id", eos))


def _pretrained(folder: pathlib.Path, cls: Any, **settings: Any) -> Any:
  try:
    return cls.from_pretrained(
      folder, local_files_only=True, trust_remote_code=False, **settings
    )
  except Exception as error:  # tokenizers raises plain Exception
    raise errors.UserError(
      f"cannot read the tokenizer in {folder}: {error}"
    ) from error


def _from_sentencepiece(path: pathlib.Path) -> Any:
  """A SentencePiece model with the special tokens of the files beside it.

  transformers converts it; what the model itself says of its family counts, and
  where a legacy Llama puts a space before a text, it is SentencePiece's.
  """
  folder = path.parent
  config = {**_read_if(folder / SPECIAL), **_read_if(folder / CONFIG)}
  model_type = str(_read(folder / MODEL_CONFIG).get("model_type"))
  t5 = path.name == sentencepiece_file.T5_NAME or model_type in T5_FAMILY
  transformers, library = hub_tokenizer.libraries()
  try:
    prefixed = sentencepiece_file.puts_space_first(path.read_bytes())
  except errors.UserError as error:
    raise errors.UserError(f"{path}: {error}") from error
  family = "T5" if t5 else "Llama" if prefixed else "Gemma"
  fast = _pretrained(
    folder,
    getattr(transformers, f"{family}Tokenizer"),
    vocab_file=str(path),
    # As published; the conversion alone would put no bos there.
    **({} if t5 else {"add_bos_token": config.get("add_bos_token", True)}),
  )
  if family == "Llama" and config.get("legacy"):
    # transformers 5 drops a space of the text where it puts one itself.
    normalizers = library.normalizers
    fast.backend_tokenizer.normalizer = normalizers.Sequence(
      [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    fast.backend_tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace(
      replacement=SPACE, prepend_scheme="never", split=False
    )
  for content, token_id in _read_if(folder / ADDED).items():
    placed = fast.convert_tokens_to_ids(content)
    if placed != token_id:
      raise errors.UserError(
        f"{path}: the added token '{content}' has the id {token_id}, but the"
        f" tokens before it end at {placed - 1}"
      )
  return fast


def _listed(token_ids: int | list[int] | None) -> list[int]:
  if token_ids is None:
    return []
  return token_ids if isinstance(token_ids, list) else [token_ids]


def _read_if(path: pathlib.Path) -> dict[str, Any]:
  return _read(path) if path.is_file() else {}


def _read(path: pathlib.Path) -> dict[str, Any]:
  return files.read_json(path, next_step="save the tokenizer there again")
