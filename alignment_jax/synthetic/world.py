"""Rewards and preferences that are known exactly, on word indices.

A gold reward and a proxy with a known gap show over-optimization; a preference
without a best response shows what rewards cannot say. All responses of a small
vocabulary can be listed, and their rewards handed to `alignment_jax.tabular`.

A reward is `(prompt Words [B, T], responses Words [B, K, T]) -> [B, K]`, a
preference `(prompt, first Words [B, T], second [B, T]) -> P(first) [B]`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from alignment_jax import errors


class Words(NamedTuple):
  """Texts as indices of words; prompts are left-padded, responses right."""

  ids: Int[np.ndarray, "*batch T"]
  mask: Bool[np.ndarray, "*batch T"]


Reward = Callable[[Words, Words], Float[np.ndarray, "B K"]]
Preference = Callable[[Words, Words, Words], Float[np.ndarray, "B"]]


class Weights(NamedTuple):
  """Of words, and of [word before, word]."""

  unigrams: Float[np.ndarray, "V"]
  bigrams: Float[np.ndarray, "V V"]

  def scaled(self, factor: float) -> "Weights":
    return Weights(*(np.float32(factor) * weights for weights in self))

  def with_bigram_scale(self, scale: float) -> "Weights":
    """Weights of pairs times `scale`, >= 0; 0 is a bag of words.

    Raises:
      UserError: `scale` is out of range.
    """
    _require_at_least("bigram_scale", scale, 0)
    return self._replace(bigrams=np.float32(scale) * self.bigrams)


class GoldAndProxy(NamedTuple):
  """The reward that counts and the one that is trained on."""

  gold: Reward
  proxy: Reward


def linear_reward(weights: Weights) -> Reward:
  """A sum of weights of words and of adjacent pairs.

      r(x, y) = sum_t unigrams[y_t] + bigrams[y_(t-1), y_t]

  The word before the first is the prompt's last, so the prompt matters; an
  empty prompt adds nothing there, and an empty response has reward 0.
  """
  unigrams, bigrams = (np.asarray(w, np.float32) for w in weights)

  def reward(prompt: Words, responses: Words) -> Float[np.ndarray, "B K"]:
    ids, mask = responses

    def shifted(last: np.ndarray, rest: np.ndarray) -> np.ndarray:
      first = np.broadcast_to(last[:, -1][:, None, None], (*rest.shape[:-1], 1))
      return np.concatenate([first, rest[..., :-1]], axis=-1)

    previous = shifted(prompt.ids, ids)
    follows = shifted(prompt.mask, mask)
    pairs = np.where(follows, bigrams[previous, ids], np.float32(0))
    return np.where(mask, unigrams[ids] + pairs, np.float32(0)).sum(axis=-1)

  return reward


def random_weights(rng: np.random.Generator, *, vocabulary: int) -> Weights:
  """Weights drawn from N(0, 1).

  Args:
    rng: advanced.
    vocabulary: V, >= 1.

  Raises:
    UserError: a number out of range.
  """
  _require_at_least("vocabulary", vocabulary, 1)
  return Weights(
    rng.standard_normal(vocabulary, np.float32),
    rng.standard_normal((vocabulary, vocabulary), np.float32),
  )


def length_biased(reward: Reward, *, bias: float) -> Reward:
  """The reward plus `bias` for each word of the response."""

  def biased(prompt: Words, responses: Words) -> Float[np.ndarray, "B K"]:
    lengths = responses.mask.sum(axis=-1).astype(np.float32)
    return reward(prompt, responses) + np.float32(bias) * lengths

  return biased


def gold_and_proxy(
  gold: Weights, error: Weights, *, noise: float, length_bias: float = 0.0
) -> GoldAndProxy:
  """A gold reward and a proxy that is off by a known amount.

      proxy = gold + noise r' + length_bias |y|

  with r' a reward of the same family: an error that a policy can find and
  exploit, as in Gao et al., 2022 (arXiv:2210.10760), whose gold is a larger
  reward model.

  Args:
    gold: weights of the reward that counts.
    error: weights of r'.
    noise: scale of the error, >= 0.
    length_bias: reward per word that only the proxy gives.

  Raises:
    UserError: a number out of range.
  """
  _require_at_least("noise", noise, 0)
  right = linear_reward(gold)
  wrong = length_biased(linear_reward(error.scaled(noise)), bias=length_bias)

  def proxy(prompt: Words, responses: Words) -> Float[np.ndarray, "B K"]:
    return right(prompt, responses) + wrong(prompt, responses)

  return GoldAndProxy(right, proxy)


def bradley_terry(
  first: Float[np.ndarray, "*batch"],
  second: Float[np.ndarray, "*batch"],
  *,
  scale: float = 1.0,
) -> Float[np.ndarray, "*batch"]:
  """P(first preferred) = sigmoid(scale (r(first) - r(second))).

  Args:
    first: rewards of the first responses.
    second: rewards of the second.
    scale: nats of log-odds per unit of reward, >= 0.

  Raises:
    UserError: `scale` is out of range.
  """
  _require_at_least("scale", scale, 0)
  margin = scale * (first - second)
  small = np.exp(-np.abs(margin))  # of a negative number: nothing overflows
  return np.where(margin >= 0, 1.0, small) / (1.0 + small)


def class_preference(matrix: Float[np.ndarray, "C C"]) -> Preference:
  """A preference between classes of responses, with or without a best one.

  The class of a response is the sum of its word indices modulo C. With
  rock-paper-scissors as the matrix, `tabular.cyclic_game(3)`, every response
  loses to a third of the others, no reward explains it, and by the classes
  alone the Nash policy is uniform.

  Args:
    matrix: P[i, j], probability that class i is preferred to class j.

  Raises:
    UserError: P is not a matrix of probabilities with P + P^T = 1.
  """
  if (
    matrix.size == 0
    or not ((matrix >= 0) & (matrix <= 1)).all()
    or not np.allclose(matrix + matrix.T, 1.0, rtol=0.0, atol=1e-6)
  ):
    raise errors.UserError(
      "matrix must hold probabilities with P[i, j] + P[j, i] = 1, and so 1/2"
      f" on the diagonal, got {matrix.tolist()}"
    )
  probabilities = matrix.astype(np.float32)

  def prefer(
    prompt: Words, first: Words, second: Words
  ) -> Float[np.ndarray, "B"]:
    del prompt
    row, column = (class_of(words, len(matrix)) for words in (first, second))
    return probabilities[row, column]

  return prefer


def class_of(words: Words, classes: int) -> Int[np.ndarray, "*batch"]:
  """The sum of the word indices modulo the number of classes."""
  return np.where(words.mask, words.ids, 0).sum(axis=-1) % classes


def with_label_noise(
  probability: Float[np.ndarray, "*batch"], *, flip: float
) -> Float[np.ndarray, "*batch"]:
  """The probability of a label that is flipped with probability `flip`.

  P' = (1 - flip) P + flip (1 - P). A rater who errs so is what robust DPO
  (Chowdhury et al., 2024, arXiv:2403.00409) assumes.

  Args:
    probability: without noise, in [0, 1].
    flip: in [0, 1/2]; 1/2 tells nothing.

  Raises:
    UserError: `flip` is out of range.
  """
  check_flip(flip)
  return (1 - flip) * probability + flip * (1 - probability)


def check_flip(flip: float) -> None:
  """Refuses a rate of flipped labels outside [0, 1/2].

  Raises:
    UserError: names the rate.
  """
  if not 0 <= flip <= 0.5:
    raise errors.UserError(f"flip must be in [0, 1/2], got {flip}")


def _require_at_least(name: str, value: float | int, low: int) -> None:
  if not low <= value < np.inf:
    raise errors.UserError(
      f"{name} must be a finite number, at least {low}, got {value}"
    )
