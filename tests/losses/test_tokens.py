"""Losses and scores of tokens, and their averages over a batch."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses


def _normal(seed, *shape):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


MASK = jnp.asarray(
  [[True] * 4, [True, True, False, False], [False] * 4, [True] + [False] * 3]
)


TOKENS = jnp.asarray(
  [[1.0, 2, 3, 4], [5, 6, 99, 99], [99] * 4, [8, 99, 99, 99]]
)


@pytest.mark.parametrize(
  "aggregation, expected",
  [
    ("grpo", (2.5 + 5.5 + 8) / 3),
    ("bnpo", (10 + 11 + 8) / 7),
    ("dapo", (10 + 11 + 8) / 7),
    ("dr_grpo", (10 + 11 + 8) / (3 * 4)),
  ],
)
def test_tokens_are_averaged_as_their_papers_say(aggregation, expected):
  # The third response is empty and counts as none.
  mean = losses.grpo_aggregate(
    TOKENS, MASK, aggregation=aggregation, max_length=4
  )
  np.testing.assert_allclose(mean.value(), expected, rtol=1e-6)


def test_responses_may_be_of_one_token():
  mean = losses.grpo_aggregate(
    TOKENS[:, :1], MASK[:, :1], aggregation="dr_grpo", max_length=1
  )
  np.testing.assert_allclose(mean.value(), (1 + 5 + 8) / 3, rtol=1e-6)


@pytest.mark.parametrize(
  "aggregation, adds_up",
  [("grpo", True), ("dapo", True), ("dr_grpo", True), ("bnpo", False)],
)
def test_parts_of_a_batch_add_up_but_for_bnpo(aggregation, adds_up):
  def mean(rows):
    return losses.grpo_aggregate(
      TOKENS[rows], MASK[rows], aggregation=aggregation, max_length=4
    )

  whole, first, rest = mean(slice(4)), mean(slice(1)), mean(slice(1, 4))
  parts = (first.total + rest.total) / (first.weight + rest.weight)
  assert np.isclose(parts, whole.value()) == adds_up


@pytest.mark.parametrize("aggregation", losses.GRPO_AGGREGATIONS)
def test_a_batch_of_empty_responses_is_nothing(aggregation):
  def value(tokens):
    return losses.grpo_aggregate(
      tokens, jnp.zeros((2, 4), bool), aggregation=aggregation, max_length=4
    ).value()

  tokens = jnp.full((2, 4), jnp.nan)
  assert value(tokens) == 0
  assert not np.any(jax.grad(value)(tokens))


def test_grpo_aggregation_refuses_what_it_cannot_do():
  # Without the type checker, which is on in tests only.
  unchecked = inspect.unwrap(losses.grpo_aggregate)
  with pytest.raises(ValueError, match="no aggregation 'mean'; available"):
    unchecked(TOKENS, MASK, aggregation="mean")
  with pytest.raises(ValueError, match="dr_grpo needs max_length"):
    losses.grpo_aggregate(TOKENS, MASK, aggregation="dr_grpo")


RESPONSES = jnp.asarray([[True, True, True], [True, True, False]])


TERMINAL = jnp.asarray([True, False])


def test_soft_q_rewards_telescope_to_value_plus_log_likelihood():
  q, v = _normal(4, 2, 2, 3)
  rewards = losses.soft_q_rewards(q, v, RESPONSES, TERMINAL)
  np.testing.assert_allclose(
    rewards[0].sum(), v[0, 0] + (q[0] - v[0]).sum(), rtol=1e-5
  )
  # The second was cut: its last token's reward is not known.
  np.testing.assert_allclose(rewards[1], [q[1, 0] - v[1, 1], 0, 0], rtol=1e-5)


def test_soft_q_discounts_the_next_value():
  q, v = _normal(5, 2, 2, 3)
  rewards = losses.soft_q_rewards(q, v, RESPONSES, TERMINAL, gamma=0.5)
  np.testing.assert_allclose(
    rewards[0],
    [q[0, 0] - 0.5 * v[0, 1], q[0, 1] - 0.5 * v[0, 2], q[0, 2]],
    rtol=1e-5,
  )


def test_soft_q_learns_nothing_from_padding():
  q, v = _normal(6, 2, 2, 3)
  garbage = jnp.where(RESPONSES, 0.0, jnp.nan)

  def total(q, v):
    return losses.soft_q_loss(q, v, RESPONSES, TERMINAL, lam=0.3).sum()

  gradients = jax.grad(total, argnums=(0, 1))(q + garbage, v + garbage)
  for gradient in gradients:
    assert np.all(np.isfinite(gradient))
    assert not np.any(np.where(RESPONSES, 0, gradient))
  assert total(q + garbage, v + garbage) == total(q, v)


def test_soft_q_sees_an_offset_of_logits_that_likelihood_does_not():
  q, v = _normal(7, 2, 2, 3)

  def loss(offset, lam):
    return losses.soft_q_loss(
      q + offset, v + offset, RESPONSES, TERMINAL, lam=lam
    )

  np.testing.assert_allclose(loss(0.0, 0.0), loss(2.0, 0.0), atol=1e-5)
  assert np.abs(loss(0.0, 1.0) - loss(2.0, 1.0)).max() > 0.1


def test_mixing_moves_the_squares_to_own_samples():
  q, v = _normal(8, 2, 2, 3)
  flags = jnp.asarray([True, False])

  def mixed(mix):
    return losses.soft_q_mixed_loss(
      q, v, RESPONSES, TERMINAL, flags, lam=0.5, mix=mix
    )

  plain = losses.soft_q_loss(q, v, RESPONSES, TERMINAL, lam=0.5)
  np.testing.assert_allclose(mixed(0.0)[0], plain[0], rtol=1e-6)
  assert not np.any(mixed(0.0)[1])
  squares = losses.soft_q_rewards(q, v, RESPONSES, TERMINAL) ** 2
  np.testing.assert_allclose(mixed(1.0)[1], 0.5 * squares[1], rtol=1e-5)


def test_tokens_past_the_common_length_count_alpha():
  scores = losses.ld_dpo_scores(
    jnp.asarray([[1.0, 2, 4, 8], [1.0, 2, 4, 8]]),
    jnp.asarray([[True] * 4, [True, True, True, False]]),
    jnp.asarray([2, 3]),
    alpha=0.5,
  )
  np.testing.assert_allclose(scores, [3 + 6, 7])


def test_a_pair_that_the_policy_would_not_write_weighs_less():
  mask = jnp.ones((2, 2), bool)
  logprobs = jnp.log(jnp.asarray([[0.5, 0.5], [0.1, 0.1]]))
  collisions = jnp.log(jnp.full((2, 2), 0.5))
  weights = losses.wpo_weights(
    logprobs, collisions, mask, logprobs, collisions, mask
  )
  np.testing.assert_allclose(weights, [1, 0.04], rtol=1e-5)
