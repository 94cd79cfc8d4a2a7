"""The worlds of `synthetic` as judges of texts made of a few known words.

A method that learns online through a config is judged on texts; here these are
words of a small list, so every response can be listed and the optimum is known.

By default all of them speak of one world, in which the exact optimum of the
proxy shows over-optimisation: with responses of up to three words and a start
that ends after each with probability 1/6, its gold reward is -0.13 at the
start, at most 1.55, at a KL of 2.2 nats, and -0.26 at 5.2.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax import errors
from alignment_jax.judges import base, preferences, synthetic
from alignment_jax.types import Tokens

WORDS = ("a", "b", "c", "d", "e")
SEED = 15
NOISE = 2.0


def lab_gold_judge(
  *,
  words: Sequence[str] = WORDS,
  seed: int = SEED,
  bigram_scale: float = 1.0,
  unlisted: float = -2.0,
) -> base.RewardJudge:
  """The gold reward of `synthetic.gold_and_proxy`, by word.

  Args:
    words: the list; a text is words of it with spaces between.
    seed: of the weights.
    bigram_scale: of the weights of pairs; see `synthetic.random_reward`.
    unlisted: reward of each word of a response that is not in the list, such
      as half a word that a policy wrote; it is passed over otherwise.

  Raises:
    UserError: no words, or one twice; when judging, a word of a prompt that is
      not listed.
  """
  world = _world(words, seed, 0.0, 0.0, bigram_scale)
  return _of_words(world.gold, words, "lab_gold", unlisted)


def lab_proxy_judge(
  *,
  words: Sequence[str] = WORDS,
  noise: float = NOISE,
  length_bias: float = 0.0,
  seed: int = SEED,
  bigram_scale: float = 1.0,
  unlisted: float = -2.0,
) -> base.RewardJudge:
  """The proxy of the same gold: an error that a policy can exploit, and a bonus
  per word.

  Args:
    words: as for the gold.
    noise: the error's weights over the gold's, >= 0.
    length_bias: reward per listed word that only the proxy gives.
    seed: as for the gold.
    bigram_scale: as for the gold.
    unlisted: as for the gold.

  Raises:
    UserError: as for the gold, or a number out of range.
  """
  world = _world(words, seed, noise, length_bias, bigram_scale)
  return _of_words(world.proxy, words, "lab_proxy", unlisted)


def lab_rater_preference(
  *,
  words: Sequence[str] = WORDS,
  noise: float = 0.0,
  length_bias: float = 0.0,
  flip: float = 0.0,
  seed: int = SEED,
  bigram_scale: float = 1.0,
  unlisted: float = -2.0,
) -> base.PreferenceJudge:
  """Raters who prefer by Bradley and Terry's rule, and err.

      P(y > y') = (1 - flip) sigmoid(d) + flip sigmoid(-d),  d = r(y) - r(y')

  with r the gold where noise and length_bias are 0, and a proxy otherwise.

  Args:
    words: as for the gold.
    noise: of what they go by, as for the proxy.
    length_bias: as for the proxy.
    flip: probability that a label is turned round, in [0, 1/2]; see
      `synthetic.with_label_noise`.
    seed: as for the gold.
    bigram_scale: as for the gold.
    unlisted: as for the gold.

  Raises:
    UserError: as for the proxy, or `flip` out of range.
  """
  reward = lab_proxy_judge(
    words=words,
    noise=noise,
    length_bias=length_bias,
    seed=seed,
    bigram_scale=bigram_scale,
    unlisted=unlisted,
  )
  synthetic.check_flip(flip)
  prefer = preferences.from_reward(reward, scale=1.0)

  def noisy(
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    clean = prefer(prompts, first, second, references)
    return (1 - flip) * clean + flip * (1 - clean)

  return noisy


def lab_class_judge(
  *,
  words: Sequence[str] = WORDS,
  matrix: Sequence[Sequence[float]],
  opponent: Sequence[float],
  numbers: Sequence[int] = (),
) -> base.RewardJudge:
  """How often a text is preferred to those of a fixed opponent.

  What a reward can say of `lab_class_preference`: the answer to it is the best
  response to that opponent, which may lose to others.

  Args:
    words: the list.
    matrix: as for the preference.
    opponent: probability of each class, summing to 1.
    numbers: as for the preference.

  Raises:
    UserError: as for the preference, or an opponent that is no distribution.
  """
  lab_class_preference(words=words, matrix=matrix, numbers=numbers)  # checks
  chances = np.asarray(opponent, np.float64)
  if (
    chances.shape != (len(matrix),)
    or (chances < 0).any()
    or not np.isclose(chances.sum(), 1.0)
  ):
    raise errors.UserError(
      f"opponent must be {len(matrix)} probabilities that sum to 1, got"
      f" {list(opponent)}"
    )
  wins = np.asarray(matrix, np.float64) @ chances
  tokens = _reader(words, "lab_class", numbers)

  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(references, prompts=prompts, responses=responses)
    said = np.asarray(tokens(responses, left=False).ids)
    return wins[said.sum(axis=-1) % len(matrix)].astype(np.float32)

  return judge


def lab_class_preference(
  *,
  words: Sequence[str] = WORDS,
  matrix: Sequence[Sequence[float]],
  numbers: Sequence[int] = (),
) -> base.PreferenceJudge:
  """`synthetic.class_preference`: a game of classes, perhaps without a winner.

  The class of a text is the sum of its words' numbers modulo the number of
  classes; that of no words is 0.

  Args:
    words: the list.
    matrix: P[i, j], probability that class i is preferred to class j.
    numbers: of the words, >= 0; by default their places 0, 1, ... If all are 1,
      the class is the length in words.

  Raises:
    UserError: a word twice, other numbers, or a matrix that holds no
      preference; when judging, a word that is not listed.
  """
  _check_words(words)
  if numbers and (len(numbers) != len(words) or min(numbers) < 0):
    raise errors.UserError(
      f"numbers must be {len(words)} integers >= 0, one for each word, got"
      f" {list(numbers)}"
    )
  compare = synthetic.class_preference(np.asarray(matrix))
  tokens = _reader(words, "lab_class", numbers)

  def prefer(
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(
      references, prompts=prompts, first=first, second=second
    )
    if len(prompts) == 0:
      return np.zeros(0, np.float32)
    return np.asarray(
      compare(
        tokens(prompts, left=True),
        tokens(first, left=False),
        tokens(second, left=False),
      )
    )

  return prefer


def _check_words(words):
  if not words or len(set(words)) != len(words):
    raise errors.UserError(f"words must be a list without repeats, got {words}")


def _world(words, seed, noise, length_bias, bigram_scale):
  _check_words(words)
  return synthetic.gold_and_proxy(
    jax.random.key(seed),
    vocabulary=len(words),
    noise=noise,
    length_bias=length_bias,
    bigram_scale=bigram_scale,
  )


def _reader(words, name, numbers=()):
  """(texts, left) -> their words' numbers, or places, as `Tokens` [N, T]."""
  places = dict(zip(words, numbers or range(len(words)), strict=True))

  def tokens(texts, *, left):
    rows = [[_place(places, word, name) for word in t.split()] for t in texts]
    width = max([1, *map(len, rows)])
    ids = np.zeros((len(rows), width), np.int32)
    mask = np.zeros((len(rows), width), bool)
    for row, found in enumerate(rows):
      at = slice(width - len(found), width) if left else slice(0, len(found))
      ids[row, at], mask[row, at] = found, True
    return Tokens(jnp.asarray(ids), jnp.asarray(mask))

  return tokens


def _of_words(reward, words, name, unlisted):
  tokens, listed = _reader(words, name), set(words)

  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(references, prompts=prompts, responses=responses)
    if len(prompts) == 0:
      return np.zeros(0, np.float32)
    said = [response.split() for response in responses]
    known = [[word for word in row if word in listed] for row in said]
    strange = np.array(
      [len(all_) - len(kept) for all_, kept in zip(said, known, strict=True)]
    )
    answer = jax.tree.map(
      lambda a: a[:, None], tokens(map(" ".join, known), left=False)
    )
    rewards = reward(tokens(prompts, left=True), answer)[:, 0]
    return (np.asarray(rewards) + unlisted * strange).astype(np.float32)

  return judge


def _place(places, word, name):
  if word not in places:
    raise errors.unknown(f"word of the judge '{name}'", word, places)
  return places[word]
