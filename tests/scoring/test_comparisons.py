"""Preferences of a network that reads both responses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import scoring
from alignment_jax.types import Tokens
from tests.scoring_worlds import (
  PROMPTS,
  QUICK,
  bigram_world,
  padded,
  with_head,
)

TEMPLATE = scoring.Template(
  before_first=(10,), before_second=(11, 12), after=(13,)
)
FIRST = Tokens(
  ids=jnp.array([[1, 2, 3], [4, 9, 9]]),
  mask=jnp.array([[True, True, True], [True, False, False]]),
)
SECOND = Tokens(
  ids=jnp.array([[5, 9], [6, 7]]), mask=jnp.array([[True, False], [True, True]])
)


def test_a_comparison_holds_both_responses_without_gaps():
  whole = scoring.pairwise_prompt(PROMPTS, FIRST, SECOND, TEMPLATE)
  real = [np.asarray(whole.ids[i])[np.asarray(whole.mask[i])] for i in (0, 1)]
  np.testing.assert_array_equal(real[0], [3, 1, 10, 1, 2, 3, 11, 12, 5, 13])
  np.testing.assert_array_equal(real[1], [2, 4, 6, 8, 10, 4, 11, 12, 6, 7, 13])
  # Left-padded: what is real stands at the right end.
  index = np.arange(whole.ids.shape[1])
  for mask, tokens in zip(whole.mask, real, strict=True):
    np.testing.assert_array_equal(mask, index >= len(index) - len(tokens))


def test_a_comparison_without_separators_joins_the_parts():
  bare = scoring.Template(before_first=(), before_second=())
  whole = scoring.pairwise_prompt(PROMPTS, FIRST, SECOND, bare)
  np.testing.assert_array_equal(whole.ids[0, -6:], [3, 1, 1, 2, 3, 5])


def test_a_preference_is_the_head_on_the_state_behind_both_responses():
  model, table, _ = bigram_world()
  head = {"weight": jnp.arange(5.0), "bias": jnp.float32(-1.0)}
  prompts = Tokens(ids=jnp.array([[0]]), mask=jnp.ones((1, 1), bool))
  second = Tokens(ids=jnp.array([[2, 4]]), mask=jnp.array([[True, False]]))
  logits = scoring.preference_logits(
    model,
    {"network": table, "head": head},
    prompts,
    Tokens(ids=jnp.array([[3]]), mask=jnp.ones((1, 1), bool)),
    second,
    template=scoring.Template(before_first=(1,), before_second=(1,)),
  )
  # The bigram's state is the last real token, 2.
  np.testing.assert_array_equal(logits, [1.0])


@pytest.fixture(scope="module")
def rater(network):
  model, params = with_head(network)
  read = jax.jit(
    functools.partial(scoring.preference_logits, model, template=TEMPLATE),
    compiler_options=QUICK,
  )
  return functools.partial(read, params), model, params


def test_preference_logits_are_blind_to_padding(rater):
  read, *_ = rater
  with_padding = read(
    padded(PROMPTS, left=3), padded(FIRST, right=2), padded(SECOND, right=1)
  )
  np.testing.assert_allclose(
    read(PROMPTS, FIRST, SECOND), with_padding, atol=1e-5
  )


def test_a_preference_reads_every_part_and_their_order(rater):
  read, *_ = rater
  logits = read(PROMPTS, FIRST, SECOND)

  def changed(tokens, column):
    return tokens.replace(ids=tokens.ids.at[0, column].add(1))

  for other in (
    (changed(PROMPTS, 2), FIRST, SECOND),
    (PROMPTS, changed(FIRST, 0), SECOND),
    (PROMPTS, FIRST, changed(SECOND, 0)),
    (PROMPTS, SECOND, FIRST),
  ):
    difference = np.abs(read(*other) - logits)
    assert difference[0] > 1e-5


def test_the_gradient_of_a_preference_reaches_network_and_head(rater):
  _, model, params = rater

  def total(params):
    return scoring.preference_logits(
      model, params, PROMPTS, FIRST, SECOND, template=TEMPLATE
    ).sum()

  gradients = jax.jit(jax.grad(total), compiler_options=QUICK)(params)
  # d logit / d bias = 1 in each of two rows.
  np.testing.assert_allclose(gradients["head"]["bias"], 2.0)
  table = np.asarray(gradients["network"]["embedding"]["table"])
  norms = np.abs(table).max(axis=1)
  # Ids of the prompts, the responses and the template.
  assert np.all(norms[[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]] > 0)
  if not model.settings.tied:
    assert not np.any(norms[[9, 14, 15, 16]])


def test_swapping_averages_what_both_orders_say():
  # P(a, b) = 1/2 and P(b, a) = 3/4: (1/2 + 1 - 3/4) / 2.
  actual = scoring.swap_averaged(jnp.zeros(1), jnp.log(jnp.full(1, 3.0)))
  np.testing.assert_allclose(actual, [0.375], rtol=1e-6)


def test_averaged_preferences_of_both_sides_sum_to_one():
  model, table, _ = bigram_world()
  head = {"weight": jnp.arange(5.0) / 4, "bias": jnp.float32(0.0)}
  prompt, first, second = (
    Tokens(ids=jnp.array([[i]]), mask=jnp.ones((1, 1), bool)) for i in (0, 3, 2)
  )

  def prefer(*pair):
    return scoring.preferences(
      model,
      {"network": table, "head": head},
      prompt,
      *pair,
      template=scoring.Template(before_first=(1,), before_second=(1,)),
    )

  # The bigram reads which stands second: logits 2 / 4, and 3 / 4 swapped.
  expected = (1 / (1 + np.exp(-0.5)) + 1 - 1 / (1 + np.exp(-0.75))) / 2
  np.testing.assert_allclose(prefer(first, second), [expected], rtol=1e-6)
  np.testing.assert_allclose(prefer(second, first), [1 - expected], rtol=1e-6)
  np.testing.assert_allclose(prefer(first, first), [0.5], rtol=1e-6)
