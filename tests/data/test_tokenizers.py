"""A tokenizer trained here: round trips, special ids, sizes."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alignment_jax import errors
from alignment_jax.data.tokenizers import (
  SentencePieceTokenizer,
  tokenizer_fingerprint,
)

# Pieces are sought in distinct words, so a part must come in two of them.
TEXTS = [
  f"A short line about {'some' * (i % 2)}thing{'s' * (i % 3)} number {i}."
  for i in range(20)
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
  path = tmp_path_factory.mktemp("tokenizer") / "model"
  return SentencePieceTokenizer.train(TEXTS, path, vocabulary_size=400)


# Control characters that no text has; a lone surrogate is no text at all.
READABLE = st.text(
  st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t\r")
)


@settings(max_examples=300)
@given(text=READABLE)
@example("  two  spaces  ")
@example("\n\nlines\r\n\tand tabs\n")
@example("\u2581 the mark \u2581\u2581 of a space")
@example("<s></s><pad><unk><0x41>")
@example("\ufeff\u200b\xa0\u3000\u2028")
@example("\U0001f469\u200d\U0001f680 \u65e5\u672c\u8a9e cafe\u0301 \ufb01")
@example("")
def test_any_text_survives_the_round_trip(tokenizer, text):
  ids = tokenizer.encode(text)
  assert tokenizer.decode(ids) == text
  special = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, 3}
  assert not special.intersection(ids)
  assert all(0 <= i < tokenizer.vocabulary_size for i in ids)


def test_special_ids_are_fixed_and_have_no_text(tokenizer):
  special = [tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id]
  assert special == [0, 1, 2]
  ids = tokenizer.encode("thing")
  assert tokenizer.decode([1, *ids, 3, 2, 0, 0]) == "thing"


def test_ids_of_an_array_and_beyond_the_vocabulary_are_decoded(tokenizer):
  ids = [*tokenizer.encode("thing"), tokenizer.vocabulary_size + 5]
  assert tokenizer.decode(np.array(ids, np.int32)) == "thing"


def test_any_single_id_decodes_to_text(tokenizer):
  for i in range(tokenizer.vocabulary_size):
    assert isinstance(tokenizer.decode([i]), str)


def test_a_frequent_part_is_one_token(tokenizer):
  assert len(tokenizer.encode("thing")) <= 2


@pytest.mark.parametrize("size", [10, 300, 32000])
def test_twenty_lines_are_enough_whatever_size_is_asked_for(tmp_path, size):
  made = SentencePieceTokenizer.train(
    TEXTS, tmp_path / "model", vocabulary_size=size
  )
  assert made.decode(made.encode(TEXTS[3])) == TEXTS[3]
  assert 260 < made.vocabulary_size <= max(size, 400)


def test_one_word_is_enough(tmp_path):
  made = SentencePieceTokenizer.train(
    ["a"], tmp_path / "model", vocabulary_size=1000
  )
  assert made.decode(made.encode("b a")) == "b a"


def test_a_very_long_line_is_used_to_its_end(tmp_path):
  made = SentencePieceTokenizer.train(
    ["hay " * 20000 + "needle needles"], tmp_path / "m", vocabulary_size=400
  )
  assert len(made.encode("needle")) <= 2


def test_the_same_texts_give_the_same_model(tmp_path):
  for name in "ab":
    SentencePieceTokenizer.train(TEXTS, tmp_path / name, vocabulary_size=400)
  assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_training_leaves_the_model_and_nothing_else(tmp_path):
  SentencePieceTokenizer.train(TEXTS, tmp_path / "m", vocabulary_size=400)
  assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_training_is_silent(tmp_path, capfd):
  SentencePieceTokenizer.train(TEXTS, tmp_path / "m", vocabulary_size=400)
  assert capfd.readouterr() == ("", "")


def test_loading_gives_the_tokenizer_that_was_trained(tmp_path):
  made = SentencePieceTokenizer.train(
    TEXTS, tmp_path / "m", vocabulary_size=400
  )
  loaded = SentencePieceTokenizer.load(tmp_path / "m")
  assert loaded.encode(TEXTS[1]) == made.encode(TEXTS[1])
  assert loaded.vocabulary_size == made.vocabulary_size


@pytest.mark.parametrize("texts", [[], [""], [" \n ", "\n"]])
def test_no_text_is_an_error(tmp_path, texts):
  with pytest.raises(errors.UserError, match="no text"):
    SentencePieceTokenizer.train(texts, tmp_path / "m", vocabulary_size=400)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
  with pytest.raises(errors.UserError, match="cannot write"):
    SentencePieceTokenizer.train(
      TEXTS, tmp_path / "none" / "m", vocabulary_size=400
    )


def test_a_missing_model_is_an_error(tmp_path):
  with pytest.raises(errors.UserError, match="cannot read .*none"):
    SentencePieceTokenizer.load(tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(1000)])
def test_a_corrupt_model_is_an_error(tmp_path, content):
  (tmp_path / "m").write_bytes(content)
  with pytest.raises(errors.UserError, match=str(tmp_path / "m")):
    SentencePieceTokenizer.load(tmp_path / "m")


def test_half_a_model_is_an_error(tmp_path):
  path = tmp_path / "m"
  SentencePieceTokenizer.train(TEXTS, path, vocabulary_size=400)
  path.write_bytes(path.read_bytes()[:3000])
  with pytest.raises(errors.UserError):
    SentencePieceTokenizer.load(path)


def test_the_fingerprint_tells_tokenizers_apart(tokenizer, tmp_path):
  kept = tokenizer_fingerprint(tokenizer)
  path = tmp_path / "m"
  SentencePieceTokenizer.train(TEXTS, path, vocabulary_size=400)
  assert tokenizer_fingerprint(SentencePieceTokenizer.load(path)) == kept
  other = SentencePieceTokenizer.train(
    ["quick fox quick foxes"] * 9, tmp_path / "n", vocabulary_size=400
  )
  assert tokenizer_fingerprint(other) != kept


@pytest.mark.parametrize("name", ["eos_id", "pad_id"])
def test_the_fingerprint_holds_the_special_ids(tmp_path, name):
  made = SentencePieceTokenizer.train(
    TEXTS, tmp_path / "m", vocabulary_size=400
  )
  kept = tokenizer_fingerprint(made)
  setattr(made, name, 5)
  assert tokenizer_fingerprint(made) != kept
