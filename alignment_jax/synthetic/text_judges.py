"""The lab's rewards and preferences as judges of texts made of a few words.

A method that learns online through a config is judged on texts; here these are
words of a small list, so every response can be listed and the optimum is known.

By default all of them speak of one world, in which the exact optimum of the
proxy shows over-optimization: with responses of up to three words and a start
that ends after each with probability 1/6, its gold reward is -0.13 at the
start, at most 1.55, at a KL of 2.2 nats, and -0.26 at 5.2.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float32

from alignment_jax import errors
from alignment_jax.synthetic import world
from alignment_jax.synthetic.world import Weights, Words

# As in `judges.base`, which stands above this room.
Numbers = Float32[np.ndarray, "N"]
Texts = Sequence[str]
References = Sequence[str | None] | None
TextJudge = Callable[..., Numbers]

WORDS = ("a", "b", "c", "d", "e")
SEED = 15
NOISE = 2.0

# The default world, drawn once from N(0, 1) and written out: the lab's
# published numbers do not hang on a random number generator's version.
# fmt: off
GOLD = Weights(
  np.array([0.14127515, -0.544677, -1.2772816, 0.22422905, 0.92975396],
           np.float32),
  np.array([
    [-0.9884631, 0.7079187, -0.8865871, -0.4123729, -0.6925101],
    [2.6105263, 0.3712744, -0.73805815, -0.1606009, 1.4069295],
    [-0.8127022, 0.80060095, 1.0014415, 1.3496361, -0.35408115],
    [-0.47281867, 0.08287931, -1.2485108, -1.8080915, -1.7619547],
    [0.8335319, 0.6833655, 1.5444685, 0.735642, -0.6650904],
  ], np.float32),
)
ERROR = Weights(
  np.array([0.6980355, 2.5058277, 0.0810603, -0.59548736, 0.3591498],
           np.float32),
  np.array([
    [0.286545, -0.08195958, 0.20755403, 1.844963, 1.1954247],
    [0.88360995, 1.2519375, -0.4016669, 0.0907903, 1.7344836],
    [-1.7899623, 0.14847644, -0.15948892, -0.3673631, -0.51555985],
    [0.5523301, -0.28633505, 0.7866805, 1.6542945, -1.0230609],
    [0.67610496, -0.9434254, 0.70482546, -0.72196305, 0.99747425],
  ], np.float32),
)
# fmt: on


def lab_gold_judge(
  *,
  words: Sequence[str] = WORDS,
  seed: int = SEED,
  bigram_scale: float = 1.0,
  unlisted: float = -2.0,
) -> TextJudge:
  """The gold reward of the lab, by word.

  Args:
    words: the list; a text is words of it with spaces between.
    seed: of the weights; `SEED` with five words is the world of `GOLD`.
    bigram_scale: of the weights of pairs, >= 0; 0 is a bag of words.
    unlisted: reward of each word of a response that is not in the list, such
      as half a word that a policy wrote; it is passed over otherwise.

  Raises:
    UserError: no words, or one twice; when judging, a word of a prompt that is
      not listed.
  """
  rewards = _rewards(words, seed, 0.0, 0.0, bigram_scale)
  return _of_words(rewards.gold, words, "lab_gold", unlisted)


def lab_proxy_judge(
  *,
  words: Sequence[str] = WORDS,
  noise: float = NOISE,
  length_bias: float = 0.0,
  seed: int = SEED,
  bigram_scale: float = 1.0,
  unlisted: float = -2.0,
) -> TextJudge:
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
  rewards = _rewards(words, seed, noise, length_bias, bigram_scale)
  return _of_words(rewards.proxy, words, "lab_proxy", unlisted)


def lab_rater_preference(
  *,
  words: Sequence[str] = WORDS,
  noise: float = 0.0,
  length_bias: float = 0.0,
  flip: float = 0.0,
  seed: int = SEED,
  bigram_scale: float = 1.0,
  unlisted: float = -2.0,
) -> TextJudge:
  """Raters who prefer by Bradley and Terry's rule, and err.

      P(y > y') = (1 - flip) sigmoid(d) + flip sigmoid(-d),  d = r(y) - r(y')

  with r the gold where noise and length_bias are 0, and a proxy otherwise.

  Args:
    words: as for the gold.
    noise: of what they go by, as for the proxy.
    length_bias: as for the proxy.
    flip: probability that a label is flipped, in [0, 1/2]; see
      `world.with_label_noise`.
    seed: as for the gold.
    bigram_scale: as for the gold.
    unlisted: as for the gold.

  Raises:
    UserError: as for the proxy, or `flip` out of range.
  """
  judge = lab_proxy_judge(
    words=words,
    noise=noise,
    length_bias=length_bias,
    seed=seed,
    bigram_scale=bigram_scale,
    unlisted=unlisted,
  )
  world.check_flip(flip)

  def prefer(
    prompts: Texts, first: Texts, second: Texts, references: References = None
  ) -> Numbers:
    del references
    errors.require_equal_counts(prompts=prompts, first=first, second=second)
    clean = world.bradley_terry(judge(prompts, first), judge(prompts, second))
    return world.with_label_noise(clean, flip=flip).astype(np.float32)

  return prefer


def lab_class_judge(
  *,
  words: Sequence[str] = WORDS,
  matrix: Sequence[Sequence[float]],
  opponent: Sequence[float],
  numbers: Sequence[int] = (),
) -> TextJudge:
  """How often a text is preferred to those of a fixed opponent.

  What a reward can say of `lab_class_preference`: the best under it is the best
  response to that opponent, which may lose to others.

  Args:
    words: the list.
    matrix: as for the preference.
    opponent: probability of each class, summing to 1.
    numbers: as for the preference.

  Raises:
    UserError: as for the preference, or an opponent that is not a distribution.
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
  read = _reader(words, "lab_class", numbers)

  def judge(
    prompts: Texts, responses: Texts, references: References = None
  ) -> Numbers:
    del references
    errors.require_equal_counts(prompts=prompts, responses=responses)
    classes = world.class_of(read(responses, left=False), len(matrix))
    return wins[classes].astype(np.float32)

  return judge


def lab_class_preference(
  *,
  words: Sequence[str] = WORDS,
  matrix: Sequence[Sequence[float]],
  numbers: Sequence[int] = (),
) -> TextJudge:
  """`world.class_preference`: a game of classes, perhaps without a winner.

  The class of a text is the sum of its words' numbers modulo the number of
  classes; that of no words is 0.

  Args:
    words: the list.
    matrix: P[i, j], probability that class i is preferred to class j.
    numbers: of the words, >= 0; by default their indices 0, 1, ... If all are
      1, the class is the length in words.

  Raises:
    UserError: a word twice, other numbers, or a matrix that is not a preference
      matrix; when judging, a word that is not listed.
  """
  _check_words(words)
  if numbers and (len(numbers) != len(words) or min(numbers) < 0):
    raise errors.UserError(
      f"numbers must be {len(words)} integers >= 0, one for each word, got"
      f" {list(numbers)}"
    )
  compare = world.class_preference(np.asarray(matrix, np.float64))
  read = _reader(words, "lab_class", numbers)

  def prefer(
    prompts: Texts, first: Texts, second: Texts, references: References = None
  ) -> Numbers:
    del references
    errors.require_equal_counts(prompts=prompts, first=first, second=second)
    return compare(
      read(prompts, left=True),
      read(first, left=False),
      read(second, left=False),
    )

  return prefer


def _check_words(words: Sequence[str]) -> None:
  if not words or len(set(words)) != len(words):
    raise errors.UserError(f"words must be a list without repeats, got {words}")


def _rewards(
  words: Sequence[str],
  seed: int,
  noise: float,
  length_bias: float,
  bigram_scale: float,
) -> world.GoldAndProxy:
  _check_words(words)
  if (len(words), seed) == (len(WORDS), SEED):
    gold, error = GOLD, ERROR
  else:
    rng = np.random.default_rng(seed)
    gold, error = (
      world.random_weights(rng, vocabulary=len(words)) for _ in range(2)
    )
  return world.gold_and_proxy(
    gold.with_bigram_scale(bigram_scale),
    error.with_bigram_scale(bigram_scale),
    noise=noise,
    length_bias=length_bias,
  )


def _reader(
  words: Sequence[str], name: str, numbers: Sequence[int] = ()
) -> Callable[..., Words]:
  """(texts, left) -> their words' numbers, or indices, padded on that side."""
  index_of = dict(zip(words, numbers or range(len(words)), strict=True))

  def read(texts: Iterable[str], *, left: bool) -> Words:
    rows = [[_index(index_of, w, name) for w in t.split()] for t in texts]
    width = max([1, *map(len, rows)])
    ids = np.zeros((len(rows), width), np.int32)
    mask = np.zeros((len(rows), width), bool)
    for row, indices in enumerate(rows):
      count = len(indices)
      columns = slice(width - count, width) if left else slice(0, count)
      ids[row, columns], mask[row, columns] = indices, True
    return Words(ids, mask)

  return read


def _of_words(
  reward: world.Reward, words: Sequence[str], name: str, unlisted: float
) -> TextJudge:
  read, listed = _reader(words, name), set(words)

  def judge(
    prompts: Texts, responses: Texts, references: References = None
  ) -> Numbers:
    del references
    errors.require_equal_counts(prompts=prompts, responses=responses)
    split = [response.split() for response in responses]
    known = [[word for word in row if word in listed] for row in split]
    strange = np.array(
      [len(row) - len(rest) for row, rest in zip(split, known, strict=True)],
      np.float32,
    )
    response = read(map(" ".join, known), left=False)
    rewards = reward(
      read(prompts, left=True), Words(*(array[:, None] for array in response))
    )[:, 0]
    return (rewards + unlisted * strange).astype(np.float32)

  return judge


def _index(index_of: dict[str, int], word: str, name: str) -> int:
  if word not in index_of:
    raise errors.unknown(f"word of the judge '{name}'", word, index_of)
  return index_of[word]
