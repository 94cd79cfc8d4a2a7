"""Truncation and padding, with one token per letter."""

import numpy as np
import pytest

from alignment_jax.data import formatting, padding

PAD, BOS, EOS = 0, 1, 2


class Letters:
  """a is 3, b is 4, ..."""

  pad_id, bos_id, eos_id = PAD, BOS, EOS
  prompt_prefix, prompt_suffix = [BOS], []

  def encode(self, text):
    return [ord(letter) - ord("a") + 3 for letter in text]


class PadIsEos(Letters):
  """As many published tokenizers have it."""

  pad_id = EOS


@pytest.mark.parametrize(
  "text, length, ids, cut",
  [
    ("abc", 5, [BOS, 3, 4, 5], False),
    ("abc", 4, [BOS, 3, 4, 5], False),
    ("abc", 3, [BOS, 4, 5], True),  # the tail stays
    ("abc", 2, [BOS, 5], True),
    ("abc", 1, [BOS], True),
    ("", 1, [BOS], False),
  ],
)
def test_a_prompt_keeps_bos_and_its_tail(text, length, ids, cut):
  encoded = formatting.encode_prompt(Letters(), text, length=length)
  assert (encoded.ids, encoded.cut) == (ids, cut)


@pytest.mark.parametrize(
  "text, length, ids, cut",
  [
    ("abc", 5, [3, 4, 5, EOS], False),
    ("abc", 4, [3, 4, 5, EOS], False),
    ("abc", 3, [3, 4, 5], True),  # the text fits, its end does not
    ("abc", 2, [3, 4], True),  # the head stays
    ("", 1, [EOS], False),
  ],
)
def test_a_response_has_eos_only_where_it_ended(text, length, ids, cut):
  encoded = formatting.encode_response(Letters(), text, length=length)
  assert (encoded.ids, encoded.cut) == (ids, cut)


def test_prompts_are_padded_on_the_left():
  tokens = padding.left_padded([[BOS, 7], [BOS, 8, 9]], 4, PAD)
  np.testing.assert_array_equal(tokens.ids, [[0, 0, 1, 7], [0, 1, 8, 9]])
  np.testing.assert_array_equal(
    tokens.mask, [[False, False, True, True], [False, True, True, True]]
  )


def test_responses_are_padded_on_the_right():
  tokens = padding.right_padded([[7, EOS], []], 3, PAD)
  np.testing.assert_array_equal(tokens.ids, [[7, 2, 0], [0, 0, 0]])
  np.testing.assert_array_equal(
    tokens.mask, [[True, True, False], [False, False, False]]
  )


@pytest.mark.parametrize("pad", [padding.left_padded, padding.right_padded])
def test_ids_are_int32_and_masks_are_bool(pad):
  tokens = pad([[1, 2]], 3, PAD)
  assert (tokens.ids.dtype, tokens.mask.dtype) == (np.int32, np.bool_)


@pytest.mark.parametrize("pad", [padding.left_padded, padding.right_padded])
def test_a_row_that_does_not_fit_is_refused_and_not_cut(pad):
  with pytest.raises(ValueError):
    pad([[1, 2, 3, 4]], 3, PAD)


def test_eos_is_real_where_the_response_ends_though_pad_has_the_same_id():
  row = formatting.encode_response(PadIsEos(), "ab", length=5).ids
  tokens = padding.right_padded([row], 5, PadIsEos.pad_id)
  np.testing.assert_array_equal(tokens.ids, [[3, 4, EOS, EOS, EOS]])
  np.testing.assert_array_equal(tokens.mask, [[True, True, True, False, False]])


def test_a_pad_id_within_a_text_is_real():
  tokens = padding.right_padded([[5, PAD, 6]], 4, PAD)
  np.testing.assert_array_equal(tokens.mask, [[True, True, True, False]])


def test_typed_prompts_become_the_same_tokens_as_a_datasets():
  tokens, cut = padding.prompt_tokens(Letters(), ["ab", "abcd"], length=4)
  assert cut == 1
  np.testing.assert_array_equal(tokens.ids, [[0, 1, 3, 4], [1, 4, 5, 6]])
  np.testing.assert_array_equal(tokens.mask.sum(1), [3, 4])
