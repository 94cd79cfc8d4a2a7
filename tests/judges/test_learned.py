import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.judges import base, learned
from alignment_jax.types import Tokens

WIDTH = 4


def _padded(texts, *, left=False):
  """Characters as ids, WIDTH wide."""
  ids = np.zeros((len(texts), WIDTH), np.int32)
  mask = np.zeros((len(texts), WIDTH), bool)
  for row, text in enumerate(texts):
    where = slice(WIDTH - len(text), None) if left else slice(len(text))
    ids[row, where] = [ord(letter) for letter in text]
    mask[row, where] = True
  return Tokens(ids=ids, mask=mask)


def _encode(prompts, responses):
  return _padded(prompts, left=True), _padded(responses)


def _total(tokens):
  return jnp.sum(jnp.where(tokens.mask, tokens.ids, 0), -1).astype(jnp.float32)


@jax.jit
def _score(prompt, responses):
  """Ids of the response less those of the prompt."""
  return _total(responses) - _total(prompt)[:, None]


def test_texts_are_scored_in_their_order_in_batches_of_one_shape():
  shapes = []

  def score(prompt, responses):
    shapes.append((prompt.ids.shape, responses.ids.shape))
    return _score(prompt, responses)

  judge = learned.reward_judge(score, _encode, batch_size=2)
  rewards = judge(["a", "b", "c"], ["a", "bb", "e"])
  # ord("b") = 98, and "e" is two letters behind "c".
  np.testing.assert_array_equal(rewards, [0, 98, 2])
  assert rewards.dtype == np.float32
  assert shapes == [((2, WIDTH), (2, 1, WIDTH))] * 2


def test_batches_of_any_size_compile_once():
  score = jax.jit(lambda prompt, responses: _score(prompt, responses))
  judge = learned.reward_judge(score, _encode, batch_size=2)
  for count in (1, 2, 3, 5):
    assert judge(["p"] * count, ["r"] * count).shape == (count,)
  assert score._cache_size() == 1


def test_a_preference_model_reads_both_texts():
  @jax.jit
  def score_pair(prompt, first, second):
    return jax.nn.sigmoid(_total(first) - _total(second) - _total(prompt))

  prefer = learned.preference_judge(score_pair, _encode, batch_size=2)
  # exp(-0) and exp(-1): the prompt is empty.
  np.testing.assert_allclose(
    prefer(["", "", ""], ["a", "b", "a"], ["a", "a", "b"]),
    [0.5, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))],
    rtol=1e-6,
  )


def test_no_texts_are_not_encoded():
  def encode(prompts, responses):
    raise AssertionError("there is nothing to encode")

  judge = learned.reward_judge(_score, encode, batch_size=2)
  prefer = learned.preference_judge(_score, encode, batch_size=2)
  assert judge([], []).shape == prefer([], [], []).shape == (0,)


def test_widths_that_change_are_refused():
  def encode(prompts, responses):
    width = max(map(len, responses))
    return jax.tree.map(
      lambda array: array[:, :width], _encode(prompts, responses)
    )

  judge = learned.reward_judge(_score, encode, batch_size=2)
  judge(["p"], ["a"])
  with pytest.raises(base.JudgeError, match="pad texts to one length"):
    judge(["p"], ["aa"])


def test_another_number_of_rewards_is_refused():
  judge = learned.reward_judge(
    lambda prompt, responses: jnp.zeros(3), _encode, batch_size=2
  )
  with pytest.raises(base.JudgeError, match=r"shape \[3\] for 2 texts"):
    judge(["p"], ["a"])


def test_a_batch_of_none_is_refused():
  for make in (learned.reward_judge, learned.preference_judge):
    with pytest.raises(errors.UserError, match="at least 1, got 0"):
      make(_score, _encode, batch_size=0)
