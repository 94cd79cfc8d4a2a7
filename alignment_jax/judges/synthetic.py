"""Rewards and preferences that are known exactly, on token ids.

The worlds of the lab: what a policy should learn is known, so a method can be
held against it. A gold reward and a proxy with a known gap show
over-optimisation; a preference without a best response shows what rewards
cannot say. Every function here is pure and can be compiled; only token ids and
masks count, so rewards of all responses of a small vocabulary can be listed
and handed to `alignment_jax.tabular`.

A reward is `(prompt Tokens [B, T], responses Tokens [B, K, T]) -> [B, K]`, a
preference `(prompt, first Tokens [B, T], second [B, T]) -> P(first) [B]`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from alignment_jax import errors
from alignment_jax.ops import masking
from alignment_jax.types import Tokens

Reward = Callable[[Tokens, Tokens], Array]
Preference = Callable[[Tokens, Tokens, Tokens], Array]


class GoldAndProxy(NamedTuple):
  """The reward that counts and the one that is trained on."""

  gold: Reward
  proxy: Reward


def linear_reward(
  unigrams: Float[Array, "V"], bigrams: Float[Array, "V V"]
) -> Reward:
  """A sum of weights of tokens and of adjacent pairs.

      r(x, y) = sum_t unigrams[y_t] + bigrams[y_(t-1), y_t]

  The token before the first is the prompt's last, so the prompt matters; an
  empty prompt adds nothing there, and an empty response has reward 0.

  Args:
    unigrams: weight of each token.
    bigrams: weight of [token before, token].
  """

  def reward(prompt: Tokens, responses: Tokens) -> Float[Array, "B K"]:
    ids, mask = responses.ids, responses.mask
    shape = (*ids.shape[:-1], 1)

    def before(last, rest):
      last = jnp.broadcast_to(last[:, -1][:, None, None], shape)
      return jnp.concatenate([last, rest[..., :-1]], axis=-1)

    previous = before(prompt.ids, ids)
    known = before(prompt.mask, mask)
    pairs = jnp.where(known, bigrams[previous, ids], 0.0)
    return masking.masked_sum(unigrams[ids] + pairs, mask)

  return reward


def random_reward(
  key: Key[Array, ""], *, vocabulary: int, bigram_scale: float = 1.0
) -> Reward:
  """`linear_reward` with weights drawn from N(0, 1).

  Args:
    key: consumed.
    vocabulary: V, >= 1.
    bigram_scale: standard deviation of the weights of pairs, >= 0; 0 is a bag
      of words that does not read the prompt.

  Raises:
    UserError: a number out of range.
  """
  _in_range("vocabulary", vocabulary, 1)
  _in_range("bigram_scale", bigram_scale, 0)
  one, two = jax.random.split(key)
  return linear_reward(
    jax.random.normal(one, (vocabulary,)),
    bigram_scale * jax.random.normal(two, (vocabulary, vocabulary)),
  )


def length_biased(reward: Reward, *, bias: float) -> Reward:
  """The reward plus `bias` for each token of the response, its end included."""

  def biased(prompt: Tokens, responses: Tokens) -> Float[Array, "B K"]:
    values = reward(prompt, responses)
    return values + bias * masking.lengths(responses.mask).astype(values.dtype)

  return biased


def gold_and_proxy(
  key: Key[Array, ""],
  *,
  vocabulary: int,
  noise: float,
  length_bias: float = 0.0,
  bigram_scale: float = 1.0,
) -> GoldAndProxy:
  """A random gold reward and a proxy that is off by a known amount.

      proxy = gold + noise r' + length_bias |y|

  with r' an independent reward of the same family: an error that a policy can
  find and exploit, as in Gao et al., 2022 (arXiv:2210.10760), whose gold is a
  larger reward model.

  Args:
    key: consumed.
    vocabulary: V, >= 1.
    noise: standard deviation of the error's weights over that of the gold's,
      >= 0.
    length_bias: reward per token that only the proxy gives.
    bigram_scale: as in `random_reward`.

  Raises:
    UserError: a number out of range.
  """
  _in_range("noise", noise, 0)
  one, two = jax.random.split(key)
  settings = dict(vocabulary=vocabulary, bigram_scale=bigram_scale)
  gold = random_reward(one, **settings)
  error = length_biased(
    _scaled(random_reward(two, **settings), noise), bias=length_bias
  )

  def proxy(prompt: Tokens, responses: Tokens) -> Float[Array, "B K"]:
    return gold(prompt, responses) + error(prompt, responses)

  return GoldAndProxy(gold, proxy)


def bradley_terry(reward: Reward, *, scale: float = 1.0) -> Preference:
  """P(first preferred) = sigmoid(scale (r(first) - r(second))).

  Args:
    reward: of both.
    scale: nats of log-odds per unit of reward, >= 0.

  Raises:
    UserError: `scale` is out of range.
  """
  _in_range("scale", scale, 0)

  def prefer(
    prompt: Tokens, first: Tokens, second: Tokens
  ) -> Float[Array, "B"]:
    one, two = (
      reward(prompt, jax.tree.map(lambda array: array[:, None], tokens))[:, 0]
      for tokens in (first, second)
    )
    return jax.nn.sigmoid(scale * (one - two))

  return prefer


def class_preference(matrix: Float[Array | np.ndarray, "C C"]) -> Preference:
  """A preference between classes of responses, with or without a best one.

  The class of a response is the sum of its token ids modulo C. With
  rock-paper-scissors as the matrix, `tabular.cyclic_game(3)`, every response
  loses to a third of the others, no reward explains it, and by the classes
  alone the Nash policy is uniform.

  Args:
    matrix: P[i, j], probability that class i is preferred to class j.

  Raises:
    UserError: P is not a matrix of probabilities with P + P^T = 1.
  """
  matrix = np.asarray(matrix)
  if (
    matrix.size == 0
    or not ((matrix >= 0) & (matrix <= 1)).all()
    or not np.allclose(matrix + matrix.T, 1.0, rtol=0.0, atol=1e-6)
  ):
    raise errors.UserError(
      "matrix must hold probabilities with P[i, j] + P[j, i] = 1, and so 1/2"
      f" on the diagonal, got {matrix.tolist()}"
    )
  probabilities = jnp.asarray(matrix, jnp.float32)

  def kind(tokens):
    return jnp.sum(jnp.where(tokens.mask, tokens.ids, 0), axis=-1) % len(matrix)

  def prefer(
    prompt: Tokens, first: Tokens, second: Tokens
  ) -> Float[Array, "B"]:
    del prompt
    return probabilities[kind(first), kind(second)]

  return prefer


def with_label_noise(preference: Preference, *, flip: float) -> Preference:
  """The preference when a label is turned round with probability `flip`.

  P' = (1 - flip) P + flip (1 - P); labels are `jax.random.bernoulli` of it. A
  rater who errs so is what robust DPO (Chowdhury et al., 2024,
  arXiv:2403.00409) assumes.

  Args:
    preference: without noise.
    flip: in [0, 1/2]; 1/2 tells nothing.

  Raises:
    UserError: `flip` is out of range.
  """
  check_flip(flip)

  def prefer(
    prompt: Tokens, first: Tokens, second: Tokens
  ) -> Float[Array, "B"]:
    clean = preference(prompt, first, second)
    return (1 - flip) * clean + flip * (1 - clean)

  return prefer


def check_flip(flip: float) -> None:
  """Refuses a rate of turned labels that is none.

  Raises:
    UserError: it is outside [0, 1/2].
  """
  if not 0 <= flip <= 0.5:
    raise errors.UserError(f"flip must be in [0, 1/2], got {flip}")


def _scaled(reward, factor):
  return lambda prompt, responses: factor * reward(prompt, responses)


def _in_range(name, value, low):
  if not low <= value < np.inf:
    raise errors.UserError(
      f"{name} must be a finite number, at least {low}, got {value}"
    )
