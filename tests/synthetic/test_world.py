"""Made-up worlds: gold rewards, proxies, noise and labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, tabular
from alignment_jax.synthetic import world
from alignment_jax.synthetic.world import Weights, Words

UNIGRAMS = np.array([0.5, 1.0, -2.0])
BIGRAMS = np.array([[0.0, 0.0, 0.0], [10.0, 20.0, 30.0], [40.0, 50.0, 60.0]])


def _words(ids, mask):
  return Words(np.array(ids, np.int32), np.array(mask, bool))


PROMPT = _words([[9, 2], [7, 1]], [[0, 1], [1, 1]])


def _every_response():
  """All 7 responses of vocabulary 3, length 2 and end 0, to one prompt."""
  tree = tabular.sequence_tree(3, 2)
  return tree, _words([tree.tokens], [tree.mask]), _words([[1]], [[1]])


def _gold_and_proxy(**settings):
  """Both rewards of one random world, [2, B, K]."""
  rng = np.random.default_rng(2)
  gold, error = (world.random_weights(rng, vocabulary=3) for _ in range(2))
  both = world.gold_and_proxy(gold, error, **settings)
  return lambda *words: np.stack([reward(*words) for reward in both])


def test_a_linear_reward_adds_tokens_and_pairs_from_the_prompt_on():
  reward = world.linear_reward(Weights(UNIGRAMS, BIGRAMS))
  responses = _words(
    [[[1, 2, 0], [0, 1, 1]], [[1, 2, 0], [2, 2, 2]]],
    [[[1, 1, 1], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]],
  )
  # (1 + -2 + .5) + (2,1) 50 + (1,2) 30 + (2,0) 40; .5 + (2,0) 40; then with
  # (1,1) 20 for (2,1); and nothing.
  np.testing.assert_allclose(
    reward(PROMPT, responses), [[119.5, 40.5], [89.5, 0.0]]
  )


def test_an_empty_prompt_adds_no_pair():
  reward = world.linear_reward(Weights(UNIGRAMS, BIGRAMS))
  prompt = _words([[1]], [[0]])
  assert reward(prompt, _words([[[1, 2]]], [[[1, 1]]])) == 1 - 2 + 30


def test_more_padding_changes_nothing():
  rewards = _gold_and_proxy(noise=0.7, length_bias=0.2)
  responses = _words([[[1, 2]], [[2, 0]]], [[[1, 1]], [[1, 0]]])
  prompt = _words([[2], [1]], [[1], [1]])
  wider = Words(*(np.pad(a, [(0, 0), (0, 0), (0, 3)]) for a in responses))
  longer = Words(*(np.pad(a, [(0, 0), (3, 0)]) for a in prompt))
  np.testing.assert_allclose(
    rewards(longer, wider), rewards(prompt, responses), rtol=1e-6
  )


def test_the_length_bias_counts_real_words():
  zero = world.linear_reward(Weights(np.zeros(3), np.zeros((3, 3))))
  reward = world.length_biased(zero, bias=0.5)
  _, responses, prompt = _every_response()
  # One response is the end alone, two are a token and the end, four are full.
  np.testing.assert_allclose(
    reward(prompt, responses),
    [[0.5, 1, 1, 1, 1, 1, 1]],
  )


def test_without_noise_and_bias_the_proxy_is_gold():
  _, responses, prompt = _every_response()
  gold, proxy = _gold_and_proxy(noise=0.0)(prompt, responses)
  np.testing.assert_array_equal(gold, proxy)
  gold, proxy = _gold_and_proxy(noise=0.0, length_bias=0.5)(prompt, responses)
  np.testing.assert_allclose(proxy - gold, [[0.5, 1, 1, 1, 1, 1, 1]], atol=1e-6)


def test_the_error_of_the_proxy_is_linear_in_the_noise():
  _, responses, prompt = _every_response()

  def error(noise):
    gold, proxy = _gold_and_proxy(noise=noise)(prompt, responses)
    return proxy - gold

  assert np.abs(error(1.0)).max() > 0.1
  np.testing.assert_allclose(error(2.0), 2 * error(1.0), rtol=1e-4, atol=1e-5)


def test_the_optimum_under_gold_is_known_and_under_the_proxy_is_worse():
  tree, responses, prompt = _every_response()
  tau = 0.3
  rewards = _gold_and_proxy(noise=1.0, length_bias=0.5)(prompt, responses)
  gold, proxy = jnp.asarray(rewards)[:, 0]
  uniform = jnp.zeros((len(tree.prefix_lengths), 3))

  @jax.jit
  def value(rewards):
    optimum = tabular.sequence_optimum(tree, uniform, rewards, tau=tau)
    return tabular.sequence_objective(tree, optimum, uniform, gold, tau=tau)

  # With each token uniform the end alone has probability 1/3, every other
  # response 1/9; the best value is tau log E exp(gold / tau).
  weights = np.array([3, 1, 1, 1, 1, 1, 1]) / 9
  best = tau * np.log(weights @ np.exp(np.asarray(gold, np.float64) / tau))
  np.testing.assert_allclose(value(gold), best, rtol=1e-5)
  assert value(proxy) < best - 0.01


def test_bradley_terry_is_the_sigmoid_of_the_margin():
  reward = world.linear_reward(Weights(UNIGRAMS, np.zeros((3, 3))))

  def prefer(*pair):
    words = (Words(*(array[:, None] for array in words)) for words in pair)
    return world.bradley_terry(
      *(reward(PROMPT, one)[:, 0] for one in words), scale=2.0
    )

  first = _words([[1], [2]], [[1], [1]])
  second = _words([[0, 0], [2, 1]], [[1, 1], [1, 0]])
  # Margins 1 - 2 * 0.5 = 0 and 0; then 1 against 0.5.
  np.testing.assert_allclose(prefer(first, second), [0.5, 0.5], rtol=1e-6)
  half = _words([[0], [0]], [[1], [1]])
  np.testing.assert_allclose(
    prefer(first, half),
    [1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(5.0))],
    rtol=1e-6,
  )


def test_no_margin_overflows():
  far = np.array([1e30, -1e30], np.float32)
  assert world.bradley_terry(far, -far).tolist() == [1, 0]


def test_no_class_is_the_best_and_nash_is_uniform_over_classes():
  tree, responses, prompt = _every_response()
  prefer = world.class_preference(np.asarray(tabular.cyclic_game(3)))
  count = len(tree.tokens)
  rows, columns = np.divmod(np.arange(count**2), count)
  first, second = (
    Words(*(a[0][i] for a in responses)) for i in (rows, columns)
  )
  prompts = Words(*(np.repeat(a, count**2, axis=0) for a in prompt))
  game = prefer(prompts, first, second).reshape(count, count)
  np.testing.assert_array_equal(game + game.T, np.ones((count, count)))
  # By the sum of ids modulo 3, 0 beats 1 beats 2 beats 0.
  classes = np.where(tree.mask, tree.tokens, 0).sum(axis=-1) % 3
  expected = np.array([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])
  np.testing.assert_array_equal(game, expected[classes][:, classes])
  share = 1 / (3 * np.bincount(classes)[classes])  # a third for each class
  policy = jnp.log(jnp.asarray(share, jnp.float32))
  assert tabular.exploitability(policy, jnp.asarray(game)) == pytest.approx(
    0, abs=1e-6
  )
  uniform = jnp.full(count, -np.log(count), jnp.float32)
  assert tabular.exploitability(uniform, jnp.asarray(game)) > 0.05


def test_padding_does_not_change_the_class():
  prefer = world.class_preference(np.asarray(tabular.cyclic_game(3)))
  padded = _words([[1, 2], [0, 1]], [[1, 0], [1, 0]])
  plain = _words([[1], [2]], [[1], [1]])
  # Classes 1 and 1; then 0 and 2, which beats 0.
  np.testing.assert_array_equal(prefer(PROMPT, padded, plain), [0.5, 0])


def test_label_noise_pulls_a_preference_to_a_half():
  clean = np.array([0.1, 0.9], np.float32)
  for flip, expected in [(0.0, [0.1, 0.9]), (0.2, [0.26, 0.74]), (0.5, 0.5)]:
    # 0.8 * 0.1 + 0.2 * 0.9, and its complement.
    np.testing.assert_allclose(
      world.with_label_noise(clean, flip=flip),
      np.broadcast_to(expected, 2),
      rtol=1e-5,
    )


def test_without_pairs_a_world_is_a_bag_of_words():
  weights = world.random_weights(np.random.default_rng(0), vocabulary=3)
  reward = world.linear_reward(weights.with_bigram_scale(0.0))
  one = _words([[1]], [[1]]), _words([[[1, 2, 0]]], [[[1, 1, 1]]])
  two = _words([[2]], [[1]]), _words([[[0, 1, 2]]], [[[1, 1, 1]]])
  np.testing.assert_allclose(reward(*one), weights.unigrams.sum(), rtol=1e-5)
  np.testing.assert_allclose(reward(*one), reward(*two), rtol=1e-5)


def test_wrong_settings_are_named():
  rng = np.random.default_rng(0)
  with pytest.raises(errors.UserError, match="vocabulary must be .* got 0"):
    world.random_weights(rng, vocabulary=0)
  weights = world.random_weights(rng, vocabulary=2)
  with pytest.raises(errors.UserError, match="bigram_scale must be"):
    weights.with_bigram_scale(-1.0)
  with pytest.raises(errors.UserError, match="noise must be .* got nan"):
    world.gold_and_proxy(weights, weights, noise=np.nan)
  half = np.array([0.5], np.float32)
  with pytest.raises(errors.UserError, match="flip must be in"):
    world.with_label_noise(half, flip=0.6)
  with pytest.raises(errors.UserError, match="scale must be"):
    world.bradley_terry(half, half, scale=-1.0)
  for matrix in ([[0.5, 0.9], [0.2, 0.5]], [[0.5, 1.1], [-0.1, 0.5]]):
    with pytest.raises(errors.UserError, match="matrix must hold prob"):
      world.class_preference(np.array(matrix))
