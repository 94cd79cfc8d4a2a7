"""SentencePiece models of the hub against SentencePiece and transformers."""

import io
import json

import pytest
import sentencepiece

from alignment_jax import data, errors
from alignment_jax.data import formatting

LINES = [
  f"A short line about {'some' * (i % 2)}thing{'s' * (i % 3)}. The number"
  f" {i * 7919} of the caf\u00e9 is nice, isn't it?"
  for i in range(60)
]
TEXTS = [
  "hello",
  "  two  spaces  ",
  " a",
  "a ",
  " ",
  "The caf\u00e9 number 1234",
  "a\nline\n\nand\tanother\n",
  "cafe\u0301 \ufb01 \u65e5\u672c\u8a9e \U0001f642\u200d",
  "\u2581 isn't \u2581",
  "<0x41>",
  "",
]
PIECES = dict(byte_fallback=True, normalization_rule_name="identity")
TRAINED = {
  "t5": dict(
    model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
    vocab_size=150,
  ),
  "llama": dict(
    model_type="bpe", unk_id=0, bos_id=1, eos_id=2, vocab_size=400, **PIECES,
    remove_extra_whitespaces=False, split_digits=True,
  ),
  "gemma": dict(
    model_type="bpe", pad_id=0, eos_id=1, bos_id=2, unk_id=3, vocab_size=420,
    **PIECES, remove_extra_whitespaces=False, add_dummy_prefix=False,
    user_defined_symbols=["<mask>", "<start_of_turn>", "<end_of_turn>", "\n"],
  ),
}  # fmt: skip
GEMMA = {
  "bos_token": "<bos>",
  "eos_token": "<eos>",
  "additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"],
}
CONFIGS = {
  "t5": {"tokenizer_class": "T5Tokenizer", "extra_ids": 3},
  "llama": {"tokenizer_class": "LlamaTokenizer", "legacy": True},
  "gemma": {"tokenizer_class": "GemmaTokenizer"},
}


@pytest.fixture(scope="module")
def models():
  """family -> bytes of a tiny SentencePiece model in that family's form."""
  made = {}
  for family, settings in TRAINED.items():
    model = io.BytesIO()
    if family == "gemma":
      settings = {**settings, "bos_piece": "<bos>", "eos_piece": "<eos>"}
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(LINES),
      model_writer=model,
      hard_vocab_limit=False,
      num_threads=1,
      minloglevel=2,
      **settings,
    )
    made[family] = model.getvalue()
  return made


@pytest.fixture
def make(tmp_path, models):
  """Writes a folder of the hub and reads its tokenizer."""

  def make(family, *, config=None, files=None):
    name = "spiece.model" if family == "t5" else "tokenizer.model"
    (tmp_path / name).write_bytes(models[family])
    contents = {
      "config.json": {"model_type": family},
      "tokenizer_config.json": CONFIGS[family] if config is None else config,
      **(files or {}),
    }
    for name, content in contents.items():
      (tmp_path / name).write_text(json.dumps(content))
    return data.open_tokenizer(tmp_path)

  return make


@pytest.mark.parametrize("family", TRAINED)
@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_encoded_as_sentencepiece_does(make, models, family, text):
  processor = sentencepiece.SentencePieceProcessor(model_proto=models[family])
  assert make(family).encode(text) == processor.encode(text)


@pytest.mark.parametrize("family", ["llama", "gemma"])
@pytest.mark.parametrize(
  "text", [text for text in TEXTS if "\u2581" not in text]
)
def test_bytes_bring_any_text_back(make, family, text):
  tokenizer = make(family)
  assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
  "family, prefix, suffix, eos, pad",
  [("t5", [], [1], 1, 0), ("llama", [1], [], 2, 2), ("gemma", [2], [], 1, 0)],
)
def test_special_tokens_are_those_of_the_family(
  make, family, prefix, suffix, eos, pad
):
  made = make(family)
  assert (made.prompt_prefix, made.prompt_suffix) == (prefix, suffix)
  assert (made.eos_id, made.pad_id) == (eos, pad)


def test_the_config_says_what_stands_around_a_text(make):
  config = {"add_bos_token": False, "add_eos_token": True}
  made = make("llama", config=config)
  assert (made.prompt_prefix, made.prompt_suffix) == ([], [2])


def test_extra_ids_end_the_vocabulary_and_count_downwards(make, models):
  made = make("t5")
  size = sentencepiece.SentencePieceProcessor(
    model_proto=models["t5"]
  ).get_piece_size()
  assert made.vocabulary_size == size + 3
  ids = made.encode("a <extra_id_0> b <extra_id_2>")
  assert [i for i in ids if i >= size] == [size + 2, size]


def test_t5_has_a_hundred_extra_ids_unless_told(make, models):
  size = make("t5", config={}).vocabulary_size
  assert size == make("t5").vocabulary_size + 97


def test_the_llama_prefix_goes_before_the_first_part_unless_legacy(make):
  text = "a</s>a"
  alone = make("llama").encode("a")
  assert make("llama").encode(text) == [*alone, 2, *alone]
  config = {**CONFIGS["llama"], "legacy": False}
  bare = make("llama", config=config).encode(text)
  assert bare[: len(alone) + 1] == [*alone, 2] and len(bare) > len(alone) + 1
  assert bare[len(alone) + 1 :] != alone


def test_added_tokens_have_the_ids_of_their_file(make, models):
  size = make("llama").vocabulary_size
  made = make(
    "llama",
    files={
      "added_tokens.json": {"<|end|>": size + 1, "<|user|>": size},
      "special_tokens_map.json": {"eos_token": {"content": "<|end|>"}},
    },
  )
  assert made.eos_id == size + 1
  assert made.encode("<|user|><|end|>") == [size, size + 1]
  assert made.decode(made.encode("a<|end|>")) == "a"


def test_chat_tokens_of_gemma_are_one_token_and_no_text(make):
  made = make("gemma", config=GEMMA)
  ids = made.encode("<start_of_turn>a\n<end_of_turn>")
  assert (ids[0], ids[-1]) == (5, 6)
  assert made.decode(ids) == "a\n"


def test_the_files_go_out_as_they_came_in(make, tmp_path):
  made = make("gemma", config=GEMMA, files={"special_tokens_map.json": GEMMA})
  made.save(tmp_path / "one_file")
  out = tmp_path / "out"
  out.mkdir()
  data.load_tokenizer(tmp_path / "one_file").save_to_folder(out)
  names = [
    "special_tokens_map.json",
    "tokenizer.model",
    "tokenizer_config.json",
  ]
  assert sorted(path.name for path in out.iterdir()) == names
  for name in names:
    assert (out / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_model_of_ours_without_other_files_is_one_of_ours(tmp_path):
  made = data.SentencePieceTokenizer.train(
    LINES, tmp_path / "tokenizer.model", vocabulary_size=400
  )
  again = data.open_tokenizer(tmp_path)
  assert isinstance(again, data.SentencePieceTokenizer)
  assert again.encode("\na  b\n") == made.encode("\na  b\n")


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(100)])
def test_no_sentencepiece_model_is_one_error(tmp_path, content):
  (tmp_path / "config.json").write_text("{}")
  (tmp_path / "spiece.model").write_bytes(content)
  with pytest.raises(errors.UserError, match="not a SentencePiece model"):
    data.open_tokenizer(tmp_path)


def test_an_added_token_beyond_a_hole_is_refused(make):
  with pytest.raises(errors.UserError, match="'<x>' has the id 9999"):
    make("llama", files={"added_tokens.json": {"<x>": 9999}})


def test_the_name_of_a_byte_in_a_text_is_text(models, tmp_path):
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["a <x> 0123456789 ABC"] * 9),
    model_writer=model,
    hard_vocab_limit=False,
    model_type="unigram",
    vocab_size=300,
    minloglevel=2,
    **PIECES,
  )
  (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
  (tmp_path / "config.json").write_text('{"model_type": "llama"}')
  made = data.open_tokenizer(tmp_path)
  assert made.decode(made.encode("<0x41> \u65e5")) == "<0x41> \u65e5"


def test_bos_and_eos_in_the_texts_are_not_doubled(make):
  made = make("llama")
  prompt = formatting.encode_prompt(made, "<s>a", length=9).ids
  answer = formatting.encode_response(made, "a</s>", length=9).ids
  assert prompt.count(1) == 1 and prompt[0] == 1
  assert answer.count(2) == 1 and answer[-1] == 2
  t5 = make("t5")
  assert formatting.encode_prompt(t5, "a</s>", length=9).ids.count(1) == 1


@pytest.mark.parametrize("family", TRAINED)
def test_ids_are_those_of_transformers(make, tmp_path, family):
  transformers = pytest.importorskip("transformers")
  config = {
    "t5": {**CONFIGS["t5"], "extra_ids": 3},
    "llama": {"tokenizer_class": "LlamaTokenizer", "legacy": False},
    "gemma": {"tokenizer_class": "GemmaTokenizer", **GEMMA},
  }[family]
  if family != "t5":  # as the published ones say
    config = {**config, "add_bos_token": True}
  made = make(family, config=config)
  oracle = getattr(transformers, config["tokenizer_class"]).from_pretrained(
    tmp_path
  )
  special = {
    "t5": ["a <extra_id_1> b", "a</s> b"],
    "llama": ["<s>[INST] a [/INST] b</s>", "a</s>b </s> c"],
    "gemma": ["<bos><start_of_turn>user\na<end_of_turn>\n", "a <eos> b"],
  }[family]
  for text in [*TEXTS, *special]:
    assert made.encode(text) == oracle.encode(text, add_special_tokens=False)
    dressed = [*made.prompt_prefix, *made.encode(text), *made.prompt_suffix]
    assert dressed == oracle.encode(text), text
