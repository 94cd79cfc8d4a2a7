import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, tabular
from alignment_jax.judges import synthetic
from alignment_jax.types import Tokens

UNIGRAMS = jnp.array([0.5, 1.0, -2.0])
BIGRAMS = jnp.array([[0.0, 0.0, 0.0], [10.0, 20.0, 30.0], [40.0, 50.0, 60.0]])


def _tokens(ids, mask):
  return Tokens(ids=np.array(ids, np.int32), mask=np.array(mask, bool))


PROMPT = _tokens([[9, 2], [7, 1]], [[0, 1], [1, 1]])


def _every_response():
  """All 7 responses of vocabulary 3, length 2 and end 0, to one prompt."""
  tree = tabular.sequence_tree(3, 2)
  return tree, _tokens([tree.tokens], [tree.mask]), _tokens([[1]], [[1]])


def _gold_and_proxy(**settings):
  """Both rewards of one random world, [2, B, K], in one program."""
  both = synthetic.gold_and_proxy(jax.random.key(2), vocabulary=3, **settings)
  run = jax.jit(lambda *tokens: [reward(*tokens) for reward in both])
  return lambda *tokens: np.asarray(run(*tokens))


def test_a_linear_reward_adds_tokens_and_pairs_from_the_prompt_on():
  reward = jax.jit(synthetic.linear_reward(UNIGRAMS, BIGRAMS))
  responses = _tokens(
    [[[1, 2, 0], [0, 1, 1]], [[1, 2, 0], [2, 2, 2]]],
    [[[1, 1, 1], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]],
  )
  # (1 + -2 + .5) + (2,1) 50 + (1,2) 30 + (2,0) 40; .5 + (2,0) 40; then with
  # (1,1) 20 for (2,1); and nothing.
  np.testing.assert_allclose(
    reward(PROMPT, responses), [[119.5, 40.5], [89.5, 0.0]]
  )


def test_an_empty_prompt_adds_no_pair():
  reward = jax.jit(synthetic.linear_reward(UNIGRAMS, BIGRAMS))
  prompt = _tokens([[1]], [[0]])
  assert reward(prompt, _tokens([[[1, 2]]], [[[1, 1]]])) == 1 - 2 + 30


def test_more_padding_changes_nothing():
  rewards = _gold_and_proxy(noise=0.7, length_bias=0.2)
  responses = _tokens([[[1, 2]], [[2, 0]]], [[[1, 1]], [[1, 0]]])
  prompt = _tokens([[2], [1]], [[1], [1]])
  wider = jax.tree.map(lambda a: np.pad(a, [(0, 0), (0, 0), (0, 3)]), responses)
  longer = jax.tree.map(lambda a: np.pad(a, [(0, 0), (3, 0)]), prompt)
  np.testing.assert_allclose(
    rewards(longer, wider), rewards(prompt, responses), rtol=1e-6
  )


def test_the_length_bias_counts_real_tokens():
  zero = synthetic.linear_reward(jnp.zeros(3), jnp.zeros((3, 3)))
  reward = jax.jit(synthetic.length_biased(zero, bias=0.5))
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
  reward = synthetic.linear_reward(UNIGRAMS, jnp.zeros((3, 3)))
  prefer = jax.jit(synthetic.bradley_terry(reward, scale=2.0))
  one = _tokens([[1], [2]], [[1], [1]])
  two = _tokens([[0, 0], [2, 1]], [[1, 1], [1, 0]])
  # Margins 1 - 2 * 0.5 = 0 and 0; then 1 against 0.5.
  np.testing.assert_allclose(prefer(PROMPT, one, two), [0.5, 0.5], rtol=1e-6)
  half = _tokens([[0], [0]], [[1], [1]])
  np.testing.assert_allclose(
    prefer(PROMPT, one, half),
    [1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(5.0))],
    rtol=1e-6,
  )


def test_no_class_is_the_best_and_nash_is_uniform_over_classes():
  tree, responses, prompt = _every_response()
  prefer = jax.jit(synthetic.class_preference(tabular.cyclic_game(3)))
  count = len(tree.tokens)
  rows, columns = np.divmod(np.arange(count**2), count)
  flat = jax.tree.map(lambda a: a[0], responses)
  first, second = (
    jax.tree.map(lambda a, i=i: a[i], flat) for i in (rows, columns)
  )
  prompts = jax.tree.map(lambda a: np.repeat(a, count**2, axis=0), prompt)
  game = prefer(prompts, first, second).reshape(count, count)
  np.testing.assert_array_equal(game + game.T, np.ones((count, count)))
  # By the sum of ids modulo 3, 0 beats 1 beats 2 beats 0.
  classes = np.where(tree.mask, tree.tokens, 0).sum(axis=-1) % 3
  expected = np.array([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])
  np.testing.assert_array_equal(game, expected[classes][:, classes])
  share = 1 / (3 * np.bincount(classes)[classes])  # a third for each class
  policy = jnp.log(jnp.asarray(share, jnp.float32))
  assert tabular.exploitability(policy, game) == pytest.approx(0, abs=1e-6)
  uniform = jnp.full(count, -np.log(count), jnp.float32)
  assert tabular.exploitability(uniform, game) > 0.05


def test_padding_does_not_change_the_class():
  prefer = synthetic.class_preference(tabular.cyclic_game(3))
  padded = _tokens([[1, 2], [0, 1]], [[1, 0], [1, 0]])
  plain = _tokens([[1], [2]], [[1], [1]])
  # Classes 1 and 1; then 0 and 2, which beats 0.
  np.testing.assert_array_equal(prefer(PROMPT, padded, plain), [0.5, 0])


def test_label_noise_pulls_a_preference_to_a_half():
  matrix = np.array([[0.5, 0.9], [0.1, 0.5]])
  clean = synthetic.class_preference(matrix)
  one, two = _tokens([[1], [0]], [[1], [1]]), _tokens([[0], [1]], [[1], [1]])
  for flip, expected in [(0.0, [0.1, 0.9]), (0.2, [0.26, 0.74]), (0.5, 0.5)]:
    noisy = jax.jit(synthetic.with_label_noise(clean, flip=flip))
    # 0.8 * 0.1 + 0.2 * 0.9, and its complement.
    np.testing.assert_allclose(
      noisy(PROMPT, one, two), np.broadcast_to(expected, 2), rtol=1e-5
    )


def test_wrong_settings_are_named():
  key = jax.random.key(0)
  with pytest.raises(errors.UserError, match="vocabulary must be .* got 0"):
    synthetic.random_reward(key, vocabulary=0)
  with pytest.raises(errors.UserError, match="bigram_scale must be"):
    synthetic.random_reward(key, vocabulary=2, bigram_scale=-1.0)
  with pytest.raises(errors.UserError, match="noise must be .* got nan"):
    synthetic.gold_and_proxy(key, vocabulary=2, noise=np.nan)
  reward = synthetic.linear_reward(UNIGRAMS, BIGRAMS)
  prefer = synthetic.bradley_terry(reward)
  with pytest.raises(errors.UserError, match="flip must be in"):
    synthetic.with_label_noise(prefer, flip=0.6)
  with pytest.raises(errors.UserError, match="scale must be"):
    synthetic.bradley_terry(reward, scale=-1.0)
  for matrix in ([[0.5, 0.9], [0.2, 0.5]], [[0.5, 1.1], [-0.1, 0.5]]):
    with pytest.raises(errors.UserError, match="matrix must hold prob"):
      synthetic.class_preference(np.array(matrix))
