"""SentencePiece models of the hub as tokenizers with offsets."""

import json
import pathlib
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


def described(
  content: bytes,
  config: Mapping[str, Any],
  added: Mapping[str, int],
  *,
  t5: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
  """A SentencePiece model in the form of a `tokenizer.json`.

  Encodes as SentencePiece does, and finds special tokens in a text as
  transformers does. Where the model puts a space before a text, it goes before
  every part between special tokens (`legacy`: T5's default) or before the
  first alone, where it merges with a space that is there (`legacy=False`: the
  default of all others, as in transformers 5).

  Args:
    content: the model.
    config: `tokenizer_config.json`, filled up from `special_tokens_map.json`.
    added: `added_tokens.json`.
    t5: whether it is of T5's family: eos behind a text instead of bos before
      it, and `extra_ids` at the end of the vocabulary.

  Returns:
    The tokenizer, and `config` with the special tokens that the model names.

  Raises:
    UserError: no SentencePiece model, or of a kind other than unigram and BPE;
      an added token has an id that leaves a hole.
  """
  proto = _parsed(content)
  config = dict(config)
  trainer = proto.trainer_spec
  for name in ("bos", "eos", "pad", "unk"):
    place = getattr(trainer, f"{name}_id")
    if config.get(f"{name}_token") is None and 0 <= place < len(proto.pieces):
      config[f"{name}_token"] = proto.pieces[place].piece
  try:
    import tokenizers as library
  except ImportError as error:
    raise errors.UserError(
      "tokenizers is not installed: pip install 'alignment-jax[hf]'"
    ) from error
  made = library.Tokenizer(_model(library, proto))
  _spaces(library, made, proto, legacy=bool(config.get("legacy", t5)))
  made.add_tokens(
    [
      library.AddedToken(
        piece.piece, normalized=False, special=piece.type == _CONTROL
      )
      for piece in proto.pieces
      if piece.type in (_CONTROL, _USER_DEFINED)
    ]
  )
  _add(library, made, _added(config, added, len(proto.pieces), t5=t5))
  _dress(library, made, config, t5=t5)
  return json.loads(made.to_str()), config


def _parsed(content):
  try:
    from sentencepiece import sentencepiece_model_pb2 as format_
  except ImportError as error:
    raise errors.UserError(
      "sentencepiece is not installed: pip install 'alignment-jax[data]'"
    ) from error
  proto = format_.ModelProto()
  try:
    proto.ParseFromString(content)
  except Exception as error:  # protobuf's own, which is no dependency
    raise errors.UserError("this is not a SentencePiece model") from error
  if not proto.pieces:
    raise errors.UserError("this is not a SentencePiece model")
  return proto


def _model(library, proto):
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
    vocab={p.piece: place for place, p in enumerate(proto.pieces)},
    merges=[(left, right) for *_, left, right in sorted(merges)],
    unk_token=proto.pieces[trainer.unk_id].piece,
    fuse_unk=True,
    byte_fallback=trainer.byte_fallback,
  )


def _spaces(library, made, proto, *, legacy):
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
      made.pre_tokenizer = library.pre_tokenizers.Metaspace(
        replacement=_SPACE, prepend_scheme="first", split=False
      )
  steps.append(normalizers.Replace(" ", _SPACE))
  made.normalizer = normalizers.Sequence(steps)
  made.decoder = decoders.Sequence(undo)


def _added(config, added, size, *, t5):
  """id and settings of each added token; the id is None for the next one."""
  tokens = {
    int(place): dict(token)
    for place, token in (config.get("added_tokens_decoder") or {}).items()
  }
  for content, place in added.items():
    tokens.setdefault(int(place), {"content": content})
  listed = [config.get(f"{n}_token") for n in ("bos", "eos", "unk", "pad")]
  listed += config.get("additional_special_tokens") or []
  special = {_content(token): token for token in listed if token is not None}
  if t5 and not tokens:
    extra = [name for name in special if name.startswith("<extra_id_")]
    count = len(extra) or config.get("extra_ids", _EXTRA_IDS)
    for place in range(count):
      content = f"<extra_id_{count - 1 - place}>"
      tokens[size + place] = {"content": content, "special": True}
  for token in tokens.values():
    token["special"] = token.get("special") or token["content"] in special
  known = {token["content"] for token in tokens.values()}
  return [
    *sorted(tokens.items()),
    *(
      (
        None,
        {
          **(token if isinstance(token, Mapping) else {}),
          "content": content,
          "special": True,
        },
      )
      for content, token in special.items()
      if content not in known
    ),
  ]


def _add(library, made, tokens):
  for place, token in tokens:
    content = token["content"]
    made.add_tokens(
      [
        library.AddedToken(
          content,
          single_word=token.get("single_word", False),
          lstrip=token.get("lstrip", False),
          rstrip=token.get("rstrip", False),
          normalized=False,
          special=token["special"],
        )
      ]
    )
    got = made.token_to_id(content)
    if place is not None and got != place:
      raise errors.UserError(
        f"the added token '{content}' has the id {place}, but the tokens before"
        f" it end at {got - 1}"
      )


def _dress(library, made, config, *, t5):
  """Puts bos before a text and eos behind it, as the config has it."""
  around = []
  for name, default in (("bos", not t5), ("eos", t5)):
    token = _content(config.get(f"{name}_token"))
    if config.get(f"add_{name}_token", default) and token is not None:
      around.append((name, token, made.token_to_id(token)))
  if around:
    before = [token for name, token, _ in around if name == "bos"]
    after = [token for name, token, _ in around if name == "eos"]
    made.post_processor = library.processors.TemplateProcessing(
      single=[*before, "$A", *after],
      special_tokens=[(token, place) for _, token, place in around],
    )


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


def _content(token):
  return token.get("content") if isinstance(token, Mapping) else token
