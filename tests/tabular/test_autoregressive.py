"""Tables of next-token probabilities against the sum over all sequences."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import tabular

TREE = tabular.sequence_tree(3, 3)
PREFIXES, SEQUENCES = 1 + 2 + 4, 1 + 2 + 4 + 8


def logits(seed, *batch, tree=TREE):
  shape = (*batch, len(tree.prefix_lengths), len(tree.vocabulary))
  random = np.random.default_rng(seed)
  return jnp.asarray(random.normal(size=shape), jnp.float32)


def rewards(seed, *batch, tree=TREE):
  random = np.random.default_rng(seed)
  return jnp.asarray(
    random.normal(size=(*batch, len(tree.tokens))), jnp.float32
  )


def test_the_sequences_of_a_tiny_tree_are_written_out():
  tree = tabular.sequence_tree(3, 2, end=1)
  np.testing.assert_array_equal(
    tree.tokens,
    [[1, 1], [0, 1], [2, 1], [0, 0], [0, 2], [2, 0], [2, 2]],
  )
  np.testing.assert_array_equal(
    tree.mask,
    [[1, 0], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1]],
  )
  np.testing.assert_array_equal(
    tree.prefixes,
    [[0, 0], [0, 1], [0, 2], [0, 1], [0, 1], [0, 2], [0, 2]],
  )
  np.testing.assert_array_equal(tree.prefix_lengths, [0, 1, 1])


@pytest.mark.parametrize("vocabulary, length", [(2, 5), (4, 3), (6, 1)])
def test_sequences_are_complete_and_different(vocabulary, length):
  tree = tabular.sequence_tree(vocabulary, length)
  inner = vocabulary - 1
  count = sum(inner**t for t in range(length)) + inner**length
  assert tree.tokens.shape == (count, length)
  assert len(tree.prefix_lengths) == sum(inner**t for t in range(length))
  assert len(np.unique(tree.tokens, axis=0)) == count
  ends = tree.tokens == 0
  first = np.where(ends.any(1), ends.argmax(1) + 1, length)
  np.testing.assert_array_equal(tree.mask.sum(1), first)
  np.testing.assert_array_equal(
    tree.prefix_lengths[tree.prefixes][tree.mask],
    np.broadcast_to(np.arange(length), tree.tokens.shape)[tree.mask],
  )
  # The same prefix index means the same tokens so far, and the reverse.
  seen = {}
  for row, column in zip(*np.nonzero(tree.mask), strict=True):
    tokens = tuple(tree.tokens[row, :column])
    assert seen.setdefault(tree.prefixes[row, column], tokens) == tokens
  assert len(set(seen.values())) == len(tree.prefix_lengths)


def test_probabilities_of_all_sequences_sum_to_one():
  actual = tabular.sequence_logprobs(TREE, logits(0, 2, 5))
  total = np.exp(actual).sum(-1)
  assert total.shape == (2, 5)
  np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_a_sequence_is_the_product_of_its_tokens():
  table = np.asarray(jax.nn.log_softmax(logits(1)))
  actual = np.asarray(tabular.token_logprobs(TREE, logits(1)))
  where = {}  # prefix to its index, in the order of the tree: by length
  for row, column in zip(*np.nonzero(TREE.mask), strict=True):
    where[tuple(TREE.tokens[row, :column])] = TREE.prefixes[row, column]
  for row in range(SEQUENCES):
    expected = np.zeros(3)
    for t in range(TREE.mask[row].sum()):
      prefix = where[tuple(TREE.tokens[row, :t])]
      expected[t] = table[prefix, TREE.tokens[row, t]]
    np.testing.assert_allclose(actual[row], expected, rtol=1e-6)


def test_token_values_are_what_separates_logits_from_logprobs():
  # log pi = Q - V at every token that is there, with Q the logit.
  table = logits(18, 2)
  q = np.where(TREE.mask, table[..., TREE.prefixes, TREE.tokens], 0)
  values = np.asarray(tabular.token_values(TREE, table))
  assert values.shape == (2, SEQUENCES, 3)
  np.testing.assert_allclose(
    q - values, tabular.token_logprobs(TREE, table), atol=1e-5
  )
  np.testing.assert_array_equal(values[:, ~TREE.mask], 0)


def test_the_kl_of_sequences_is_the_expected_sum_of_token_kls():
  p, q = logits(2, 4), logits(3, 4)
  log_p, log_q = (np.asarray(jax.nn.log_softmax(x), float) for x in (p, q))
  per_prefix = np.sum(np.exp(log_p) * (log_p - log_q), axis=-1)
  sequences = np.exp(np.asarray(tabular.sequence_logprobs(TREE, p), float))
  visited = np.where(TREE.mask, per_prefix[:, TREE.prefixes], 0).sum(-1)
  np.testing.assert_allclose(
    tabular.sequence_kl(TREE, p, q), (sequences * visited).sum(-1), rtol=1e-4
  )


def test_the_exact_gradient_is_the_finite_difference():
  with jax.enable_x64(True):
    table, reference = (logits(seed).astype(float) for seed in (4, 5))
    gains = rewards(6).astype(float)

    @jax.jit
    def objective(table):
      return tabular.sequence_objective(TREE, table, reference, gains, tau=0.3)

    gradient = jax.jit(
      lambda table: tabular.sequence_policy_gradient(
        TREE, table, reference, gains, tau=0.3
      )
    )(table)
    steps = 1e-5 * jnp.eye(table.size).reshape(-1, *table.shape)
    up = jax.vmap(lambda step: objective(table + step))(steps)
    down = jax.vmap(lambda step: objective(table - step))(steps)
    expected = ((up - down) / 2e-5).reshape(table.shape)
    np.testing.assert_allclose(gradient, expected, atol=1e-9)
    assert np.abs(gradient).max() > 0.01


def test_the_objective_is_mean_reward_less_tau_kl():
  table, reference, gains = logits(7, 3), logits(8, 3), rewards(9, 3)
  p = np.asarray(tabular.sequence_logprobs(TREE, table), float)
  q = np.asarray(tabular.sequence_logprobs(TREE, reference), float)
  expected = (np.exp(p) * (np.asarray(gains) - 0.3 * (p - q))).sum(-1)
  actual = tabular.sequence_objective(TREE, table, reference, gains, tau=0.3)
  np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_the_optimum_tilts_sequences_and_stops_the_gradient():
  reference, gains = logits(10, 3), rewards(11, 3)

  @jax.jit
  def run(reference, gains):
    optimum = tabular.sequence_optimum(TREE, reference, gains, tau=0.2)
    return tabular.sequence_logprobs(
      TREE, optimum
    ), tabular.sequence_policy_gradient(
      TREE, optimum, reference, gains, tau=0.2
    )

  logprobs, gradient = run(reference, gains)
  q = np.asarray(tabular.sequence_logprobs(TREE, reference), float)
  weights = np.exp(q + np.asarray(gains, float) / 0.2)
  np.testing.assert_allclose(
    jnp.exp(logprobs),
    weights / weights.sum(-1, keepdims=True),
    rtol=1e-4,
    atol=1e-7,
  )
  np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_conditionals_undo_the_enumeration():
  table = jax.nn.log_softmax(logits(12, 3))
  back = tabular.conditionals(TREE, tabular.sequence_logprobs(TREE, table))
  np.testing.assert_allclose(back, table, atol=1e-5)


def test_a_prefix_too_rare_for_float32_keeps_its_conditionals():
  table = logits(13).at[0].set(jnp.array([0.0, -200.0, 0.0]))
  table = jax.nn.log_softmax(table)
  back = tabular.conditionals(TREE, tabular.sequence_logprobs(TREE, table))
  np.testing.assert_allclose(back, table, rtol=1e-4, atol=1e-4)


def test_a_prefix_that_never_occurs_is_followed_by_any_token():
  only = jnp.where(jnp.arange(SEQUENCES) == 0, 0.0, -jnp.inf)  # ends at once
  table = np.exp(tabular.conditionals(TREE, only))
  np.testing.assert_array_equal(table[0], [1, 0, 0])
  np.testing.assert_allclose(table[1:], 1 / 3, rtol=1e-6)


def test_soft_values_solve_the_bellman_equation():
  # tau log(pi* / ref)(token | prefix) = (next value or reward) - value.
  reference, gains, tau = logits(14), rewards(15), 0.4
  values = np.asarray(tabular.soft_values(TREE, reference, gains, tau=tau))
  assert values.shape == (PREFIXES,)
  optimum = tabular.sequence_optimum(TREE, reference, gains, tau=tau)
  ratio = tau * np.asarray(
    tabular.token_logprobs(TREE, optimum)
    - tabular.token_logprobs(TREE, reference)
  )
  for row in range(SEQUENCES):
    length = TREE.mask[row].sum()
    path = [*values[TREE.prefixes[row, :length]], float(gains[row])]
    np.testing.assert_allclose(ratio[row, :length], np.diff(path), atol=1e-5)


def test_the_value_of_the_empty_prefix_is_the_best_objective():
  reference, gains = logits(16, 4), rewards(17, 4)

  @jax.jit
  def run(reference, gains):
    optimum = tabular.sequence_optimum(TREE, reference, gains, tau=0.5)
    return tabular.soft_values(
      TREE, reference, gains, tau=0.5
    ), tabular.sequence_objective(TREE, optimum, reference, gains, tau=0.5)

  values, best = run(reference, gains)
  q = np.asarray(tabular.sequence_logprobs(TREE, reference), float)
  mean = np.exp(q + np.asarray(gains, float) / 0.5).sum(-1)
  np.testing.assert_allclose(
    values[:, 0], 0.5 * np.log(mean), rtol=1e-4, atol=1e-5
  )
  np.testing.assert_allclose(values[:, 0], best, rtol=1e-4, atol=1e-5)


def test_trees_out_of_range_are_refused():
  for arguments, message in [
    ((1, 2), "vocabulary must be at least 2"),
    ((3, 0), "length must be at least 1"),
    ((16, 16), "vocabulary 16 and length 16 give"),
  ]:
    with pytest.raises(ValueError, match=f"^{message}"):
      tabular.sequence_tree(*arguments)
  with pytest.raises(ValueError, match=r"^end must be in \[0, 3\), got 3"):
    tabular.sequence_tree(3, 2, end=3)


def test_tables_that_do_not_fit_the_tree_are_refused():
  # Without the type checker, which is on in tests only.
  with pytest.raises(ValueError, match=r"^logits has shape \(2, 3\)"):
    inspect.unwrap(tabular.token_logprobs)(TREE, jnp.zeros((2, 3)))
  with pytest.raises(ValueError, match=r"^log_sequences has shape \(4,\)"):
    inspect.unwrap(tabular.conditionals)(TREE, jnp.zeros(4))
