"""The lab's judges say of words what its world says of their indices."""

import itertools

import numpy as np
import pytest

from alignment_jax import errors, judges
from alignment_jax.synthetic import text_judges, world
from alignment_jax.synthetic.world import Words

WORDS = ["a", "b", "c"]


def test_the_words_earn_what_their_indices_earn():
  rng = np.random.default_rng(3)
  gold, error = (world.random_weights(rng, vocabulary=3) for _ in range(2))
  rewards = world.gold_and_proxy(gold, error, noise=0.5, length_bias=2.0)
  # "b" | "c a" and "a b" | "b"
  prompt = Words(
    np.array([[0, 1], [0, 1]]), np.array([[False, True], [True] * 2])
  )
  response = Words(
    np.array([[[2, 0]], [[1, 0]]]),
    np.array([[[True, True]], [[True, False]]]),
  )
  for name, reward, more in (
    ("lab_gold", rewards.gold, {}),
    ("lab_proxy", rewards.proxy, {"noise": 0.5, "length_bias": 2.0}),
  ):
    judge = judges.build(name, words=WORDS, seed=3, **more)
    np.testing.assert_allclose(
      judge(["b", "a b"], ["c a", "b"]),
      reward(prompt, response)[:, 0],
      rtol=1e-6,
    )


def test_the_optimum_of_the_default_proxy_is_over_optimised():
  words = text_judges.WORDS
  texts = [
    " ".join(row)
    for length in range(4)
    for row in itertools.product(words, repeat=length)
  ]
  gold, proxy = (
    np.stack([judges.build(name)([word] * len(texts), texts) for word in words])
    for name in ("lab_gold", "lab_proxy")
  )
  # A start that ends after each word, and at once, with probability 1/6.
  counts = np.array([len(text.split()) for text in texts])
  start = np.log(np.where(counts < 3, 1 / 6, 1.0)) - counts * np.log(6.0)
  assert np.exp(start).sum() == pytest.approx(1.0)

  def at(beta):
    tilted = start + proxy / beta
    policy = np.exp(tilted - tilted.max(axis=1, keepdims=True))
    policy /= policy.sum(axis=1, keepdims=True)
    return tuple((policy * r).sum(axis=1).mean() for r in (gold, proxy))

  golds, proxies = zip(*map(at, (1e6, 2.5, 0.25)), strict=True)
  assert proxies[0] < proxies[1] < proxies[2]
  # The figures of the module's docstring.
  assert golds == pytest.approx((-0.13, 1.55, -0.26), abs=0.01)


def test_an_empty_answer_earns_nothing():
  judge = judges.build("lab_gold", words=WORDS)
  assert judge(["a"], [""]).tolist() == [0.0]


def test_a_word_of_a_prompt_that_is_not_listed_is_named():
  judge = judges.build("lab_gold", words=WORDS)
  with pytest.raises(errors.UserError, match="'d'; available: a, b, c"):
    judge(["a d"], ["a"])


def test_a_word_of_a_response_that_is_not_listed_costs():
  judge = judges.build("lab_proxy", words=WORDS, length_bias=1.0, unlisted=-3.0)
  plain, strange, alone = judge(["a"] * 3, ["b c", "b ab c b-", "ab"])
  # It is passed over otherwise: b and c stay neighbours.
  assert strange == pytest.approx(plain - 6.0, abs=1e-6)
  assert alone == pytest.approx(-3.0)


@pytest.mark.parametrize("flip", [0.0, 0.2])
def test_raters_prefer_by_bradley_and_terry_and_err(flip):
  prefer = judges.build_comparison("lab_rater", words=WORDS, flip=flip)
  gold = judges.build("lab_gold", words=WORDS)
  texts = ["a b", "c", "b b"], ["b", "c", "a"]
  margin = gold(["a"] * 3, texts[0]) - gold(["a"] * 3, texts[1])
  clean = 1 / (1 + np.exp(-margin))
  expected = clean + flip * (1 - 2 * clean)
  np.testing.assert_allclose(prefer(["a"] * 3, *texts), expected, rtol=1e-5)
  assert expected[1] == 0.5


def test_the_raters_proxy_is_that_of_the_judge():
  more = dict(words=WORDS, noise=0.7, length_bias=0.5)
  prefer = judges.build_comparison("lab_rater", **more)
  proxy = judges.build("lab_proxy", **more)
  margin = proxy(["b"], ["a c"]) - proxy(["b"], ["b"])
  np.testing.assert_allclose(
    prefer(["b"], ["a c"], ["b"]), 1 / (1 + np.exp(-margin)), rtol=1e-5
  )


def test_raters_who_err_more_than_half_the_time_are_refused():
  with pytest.raises(errors.UserError, match="flip must be in"):
    judges.build_comparison("lab_rater", flip=0.6)


def test_words_that_come_twice_are_refused():
  with pytest.raises(errors.UserError, match="without repeats"):
    judges.build("lab_gold", words=["a", "a"])
  with pytest.raises(errors.UserError, match="without repeats"):
    judges.build_comparison(
      "lab_class_preference", words=["a", "a"], matrix=CIRCLE
    )


CIRCLE = [[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]]


def test_the_classes_beat_each_other_in_a_circle():
  prefer = text_judges.lab_class_preference(words=WORDS, matrix=CIRCLE)
  # Places 0, 1, 2; "b c" is 1 + 2 = 0 modulo 3, as is the empty text.
  first = ["a", "b", "c", "b c", ""]
  second = ["b", "c", "a", "b", "a"]
  assert prefer(["a"] * 5, first, second).tolist() == [1, 1, 1, 1, 0.5]
  assert prefer(["a"] * 5, second, first).tolist() == [0, 0, 0, 0, 0.5]


def test_the_reward_is_the_win_rate_against_the_opponent():
  judge = judges.build(
    "lab_class", words=WORDS, matrix=CIRCLE, opponent=[0.2, 0.5, 0.3]
  )
  # a ties a, beats b, loses to c: 0.1 + 0.5; b: 0.25 + 0.3; c: 0.15 + 0.2.
  np.testing.assert_allclose(
    judge(["a"] * 3, ["a", "b", "c"]), [0.6, 0.55, 0.35], rtol=1e-6
  )


def test_an_opponent_that_is_no_distribution_is_refused():
  with pytest.raises(errors.UserError, match="sum to 1"):
    judges.build(
      "lab_class", words=WORDS, matrix=CIRCLE, opponent=[0.5, 0.6, 0.1]
    )


def test_words_that_all_count_one_make_classes_of_lengths():
  more = dict(words=WORDS, matrix=CIRCLE, numbers=[1, 1, 1])
  prefer = text_judges.lab_class_preference(**more)
  # 1 beats 2 words, 2 beat 3, which are as none, and none beats 1.
  first, second = ["c", "b c", ""], ["a a", "c b a", "b"]
  assert prefer(["c"] * 3, first, second).tolist() == [1, 1, 1]
  judge = judges.build("lab_class", opponent=[0.2, 0.5, 0.3], **more)
  # Against none (0.2), one (0.5) and two (0.3), as in the circle above.
  np.testing.assert_allclose(
    judge(["a"] * 3, ["", "c", "c a"]), [0.6, 0.55, 0.35], rtol=1e-6
  )


@pytest.mark.parametrize("numbers", [[1, 2], [1, 2, -1]])
def test_numbers_that_do_not_fit_the_words_are_refused(numbers):
  with pytest.raises(errors.UserError, match="3 integers >= 0, one for each"):
    text_judges.lab_class_preference(
      words=WORDS, matrix=CIRCLE, numbers=numbers
    )
