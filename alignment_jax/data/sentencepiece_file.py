"""SentencePiece models of the hub as tokenizers with offsets."""

import pathlib
import types
from collections.abc import Mapping
from typing import Any

from alignment_jax import errors

# Its name says which family wrote it; T5's has no bos and has extra ids.
T5_NAME, LLAMA_NAME = NAMES = ("spiece.model", "tokenizer.model")

_UNIGRAM, _BPE = 1, 2
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_SPACE = "\u2581"
# Lower than any piece's: a byte's name in a text is text.
_NEVER = -1e4
# T5's, unless the tokenizer's config says otherwise.
_EXTRA_IDS = 100


def backend(
  library: types.ModuleType, content: bytes, *, legacy: bool
) -> tuple[Any, dict[str, str]]:
  """A SentencePiece model as a `tokenizers.Tokenizer`.

  It encodes as SentencePiece does, and finds special tokens in a text as
  transformers does. (The conversions of transformers 5 part from SentencePiece
  at spaces that begin a text.)

  Args:
    library: the module `tokenizers`.
    content: the model.
    legacy: where the model puts a space before a text, whether it goes before
      every part between special tokens (T5's default), or before the first
      alone, where it merges with a space that is there (the default of all
      others, as in transformers 5).

  Returns:
    The tokenizer, and the special tokens that the model names, such as
    `eos_token`.

  Raises:
    UserError: no SentencePiece model, or of a kind other than unigram and BPE.
  """
  proto = _parsed(content)
  ids = {
    f"{name}_token": getattr(proto.trainer_spec, f"{name}_id")
    for name in ("bos", "eos", "pad", "unk")
  }
  named = {
    name: proto.pieces[token_id].piece
    for name, token_id in ids.items()
    if 0 <= token_id < len(proto.pieces)
  }
  tokenizer = library.Tokenizer(_model(library, proto))
  _set_spaces(library, tokenizer, proto, legacy=legacy)
  tokenizer.add_tokens(
    [
      library.AddedToken(
        piece.piece, normalized=False, special=piece.type == _CONTROL
      )
      for piece in proto.pieces
      if piece.type in (_CONTROL, _USER_DEFINED)
    ]
  )
  return tokenizer, named


def added_tokens(
  config: Mapping[str, Any],
  added: Mapping[str, int],
  named: Mapping[str, Any],
  *,
  size: int,
  t5: bool,
) -> dict[int, dict[str, Any]]:
  """The tokens that the files beside a model add to it, by id.

  Args:
    config: `tokenizer_config.json`, filled up from `special_tokens_map.json`.
    added: `added_tokens.json`.
    named: special tokens by name.
    size: of the model's vocabulary.
    t5: whether it is of T5's family, which has `extra_ids` at the end of the
      vocabulary, counted downwards.

  Returns:
    Settings of `tokenizers.AddedToken`.
  """
  extra = config.get("additional_special_tokens") or []
  special = {_content(token) for token in [*named.values(), *extra]}
  tokens = {
    int(token_id): dict(token)
    for token_id, token in (config.get("added_tokens_decoder") or {}).items()
  }
  for content, token_id in added.items():
    tokens.setdefault(int(token_id), {"content": content})
  if t5 and not tokens:
    listed = [name for name in special if name.startswith("<extra_id_")]
    count = len(listed) or config.get("extra_ids", _EXTRA_IDS)
    tokens = {
      size + i: {"content": f"<extra_id_{count - 1 - i}>", "special": True}
      for i in range(count)
    }
  for token in tokens.values():
    token["special"] = token.get("special") or token["content"] in special
    token["normalized"] = False
  return tokens


def _parsed(content: bytes) -> Any:
  try:
    from sentencepiece import sentencepiece_model_pb2
  except ImportError as error:
    raise errors.not_installed("sentencepiece", extra="data") from error
  format_: Any = (
    sentencepiece_model_pb2  # protobuf makes its classes at run time
  )
  proto = format_.ModelProto()
  try:
    proto.ParseFromString(content)
  except Exception as error:  # protobuf's own, which is no dependency
    raise errors.UserError("this is not a SentencePiece model") from error
  if not proto.pieces:
    raise errors.UserError("this is not a SentencePiece model")
  return proto


def _model(library: types.ModuleType, proto: Any) -> Any:
  trainer = proto.trainer_spec
  if trainer.model_type == _UNIGRAM:
    vocabulary = [
      (p.piece, p.score if p.type in (_NORMAL, _USER_DEFINED) else _NEVER)
      for p in proto.pieces
    ]
    return library.models.Unigram(
      vocabulary, unk_id=trainer.unk_id, byte_fallback=trainer.byte_fallback
    )
  if trainer.model_type != _BPE:
    raise errors.UserError(
      f"a SentencePiece model of kind {trainer.model_type} is neither unigram"
      " nor BPE"
    )
  scores = {p.piece: p.score for p in proto.pieces if p.type == _NORMAL}
  merges = [
    (-score, len(piece[:cut]), piece[:cut], piece[cut:])
    for piece, score in scores.items()
    for cut in range(1, len(piece))
    if piece[:cut] in scores and piece[cut:] in scores
  ]
  return library.models.BPE(
    vocab={p.piece: token_id for token_id, p in enumerate(proto.pieces)},
    merges=[(left, right) for *_, left, right in sorted(merges)],
    unk_token=proto.pieces[trainer.unk_id].piece,
    fuse_unk=True,
    byte_fallback=trainer.byte_fallback,
  )


def _set_spaces(
  library: types.ModuleType, tokenizer: Any, proto: Any, *, legacy: bool
) -> None:
  """What happens to characters and spaces before pieces are sought."""
  normalizers, settings = library.normalizers, proto.normalizer_spec
  steps = []
  if settings.precompiled_charsmap:
    steps.append(normalizers.Precompiled(settings.precompiled_charsmap))
  if settings.remove_extra_whitespaces:
    steps.append(normalizers.Replace(library.Regex("^ +| +$"), ""))
    steps.append(normalizers.Replace(library.Regex(" {2,}"), " "))
  decoders = library.decoders
  undo = [decoders.Replace(_SPACE, " "), decoders.ByteFallback()]
  undo.append(decoders.Fuse())
  if settings.add_dummy_prefix:
    undo.append(decoders.Strip(content=" ", left=1, right=0))
    if legacy:
      steps.append(normalizers.Prepend(_SPACE))
    else:
      tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace(
        replacement=_SPACE, prepend_scheme="first", split=False
      )
  steps.append(normalizers.Replace(" ", _SPACE))
  tokenizer.normalizer = normalizers.Sequence(steps)
  tokenizer.decoder = decoders.Sequence(undo)


def has_special(content: bytes) -> bool:
  """Whether a model has pad, bos and eos of its own.

  Raises:
    UserError: it is no SentencePiece model.
  """
  trainer = _parsed(content).trainer_spec
  return min(trainer.pad_id, trainer.bos_id, trainer.eos_id) >= 0


def find(folder: pathlib.Path) -> pathlib.Path | None:
  """The SentencePiece model in a folder, if there is one."""
  return next((folder / n for n in NAMES if (folder / n).is_file()), None)


def _content(token: str | Mapping[str, Any]) -> str:
  return token["content"] if isinstance(token, Mapping) else token
