"""KL and perplexity as reported, against every response of a small world."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import parallel
from alignment_jax.evaluation import drift


def scored(world, params, batch_size=4, devices=2):
  """What `response_logprobs` says of all 13 responses: no multiple of 4."""
  count = world.responses.ids.shape[1]
  return drift.response_logprobs(
    world.model,
    params,
    jax.tree.map(lambda a: np.repeat(a, count, axis=0), world.prompt),
    jax.tree.map(lambda a: np.asarray(a[0]), world.responses),
    mesh=parallel.make_mesh(
      data=-1, fsdp=1, tensor=1, devices=jax.devices()[:devices]
    ),
    batch_size=batch_size,
  )


@pytest.mark.parametrize("batch_size", [2, 4, 16])
def test_the_logprobs_are_a_distribution_over_all_responses(world, batch_size):
  logprobs = scored(world, world.policy, batch_size)
  assert logprobs.shape == (13,)
  np.testing.assert_allclose(np.exp(logprobs).sum(), 1, rtol=1e-5)
  np.testing.assert_allclose(logprobs, world.logprobs(world.policy), rtol=1e-5)


def test_the_kl_is_the_exact_one_within_its_standard_error(world):
  # Sharper than at the start, so that the two policies are far apart.
  params = jax.tree.map(lambda a: a * jnp.float32(3), world.policy)
  policy, reference = scored(world, params), scored(world, world.reference)
  shares = np.exp(policy.astype(np.float64))
  ratio = (policy - reference).astype(np.float64)
  exact = np.sum(shares * ratio)
  spread = np.sqrt(np.sum(shares * (ratio - exact) ** 2))
  # The other direction, and the mean over responses that nobody samples, are
  # far from it: neither would pass for it.
  backward = np.sum(np.exp(reference) * -ratio)
  count = 20_000
  error = spread / np.sqrt(count)
  assert min(abs(exact - backward), abs(exact - ratio.mean())) > 10 * error
  drawn = np.random.default_rng(0).choice(13, count, p=shares / shares.sum())
  kl, reported = drift.kl_to_reference(policy[drawn], reference[drawn])
  assert abs(kl - exact) < 3 * error
  np.testing.assert_allclose(reported, error, rtol=0.03)


def test_the_kl_and_its_error_by_hand():
  # Ratios 1, 2 and 6: mean 3, variance (4 + 1 + 9) / 3.
  kl, error = drift.kl_to_reference(
    np.array([-1.0, -2.0, -3.0]), np.array([-2.0, -4.0, -9.0])
  )
  assert kl == 3.0
  np.testing.assert_allclose(error, np.sqrt(14 / 3 / 3))


def test_a_policy_that_did_not_move_has_no_kl():
  logprobs = np.array([-1.0, -5.0])
  assert drift.kl_to_reference(logprobs, logprobs) == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(4, 1), (3,), ()])
def test_logprobs_of_another_shape_raise_instead_of_broadcasting(shape):
  for pair in [(np.zeros(4), np.zeros(shape)), (np.zeros(shape), np.zeros(4))]:
    with pytest.raises(ValueError, match=r"\(4,\).*must both be \[N\]"):
      drift.kl_to_reference(*pair)
  with pytest.raises(ValueError, match="must both be"):
    drift.kl_to_reference(np.zeros((4, 2)), np.zeros((4, 2)))


def test_the_perplexity_of_a_uniform_model_is_its_vocabulary():
  lengths = np.array([3, 1, 7])
  value = drift.perplexity(-lengths * np.log(50.0), lengths)
  np.testing.assert_allclose(value, 50)


def test_the_perplexity_counts_tokens_and_not_responses(world):
  logprobs = scored(world, world.policy)
  tokens = np.asarray(world.token_logprobs(world.policy), np.float64)
  mask = np.asarray(world.responses.mask[0])
  expected = np.exp(-tokens[mask].mean())
  assert len(set(mask.sum(axis=-1))) > 1  # else both means would be the same
  value = drift.perplexity(logprobs, mask.sum(axis=-1))
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  assert value != pytest.approx(np.exp(-tokens.sum(axis=-1).mean()), rel=0.01)


def test_the_perplexity_of_nothing_is_one():
  assert drift.perplexity(np.zeros(2), np.zeros(2, int)) == 1.0
