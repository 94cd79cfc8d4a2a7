"""Estimators of the KL against sums over all outcomes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax.ops import divergences

POLICY = jnp.array([0.3, -1.2, 0.8, 0.1])
REFERENCE = jnp.array([-0.5, 0.4, 0.2, -0.9])


def reverse_kl(logits):
  policy, reference = jax.nn.log_softmax(logits), jax.nn.log_softmax(REFERENCE)
  return jnp.sum(jnp.exp(policy) * (policy - reference))


def forward_kl(logits):
  policy, reference = jax.nn.log_softmax(logits), jax.nn.log_softmax(REFERENCE)
  return jnp.sum(jnp.exp(reference) * (reference - policy))


def mean_of(estimator):
  """Its mean over the policy's outcomes, as a loss: the outcomes are fixed."""

  def mean(logits):
    logprobs = jax.nn.log_softmax(logits)
    probabilities = jnp.exp(jax.nn.log_softmax(POLICY))
    ratio = logprobs - jax.nn.log_softmax(REFERENCE)
    return jnp.sum(probabilities * estimator(ratio))

  return mean


@pytest.mark.parametrize("estimator", [divergences.k1, divergences.k3])
def test_the_mean_of_k1_and_k3_is_the_reverse_kl(estimator):
  np.testing.assert_allclose(
    mean_of(estimator)(POLICY), reverse_kl(POLICY), atol=1e-6
  )


def test_the_mean_of_k2_is_half_that_of_the_squared_log_ratio():
  ratio = np.log(np.array([0.2, 0.8]) / np.array([0.4, 0.6]))
  # 0.2 / 2 log(1/2)^2 + 0.8 / 2 log(4/3)^2; the KL is another number
  want = 0.1 * np.log(2) ** 2 + 0.4 * np.log(4 / 3) ** 2
  got = np.array([0.2, 0.8]) @ np.asarray(divergences.k2(jnp.asarray(ratio)))
  assert got == pytest.approx(want, rel=1e-6)
  assert abs(want - np.array([0.2, 0.8]) @ ratio) > 0.01


def test_k3_is_the_distance_of_the_ratio_from_its_tangent():
  # 1 / 2 - 1 + log 2 at twice as likely; 2 - 1 - log 2 at half as likely
  got = divergences.k3(jnp.log(jnp.array([2.0, 0.5, 1.0])))
  want = [np.log(2) - 0.5, 1 - np.log(2), 0.0]
  np.testing.assert_allclose(got, want, atol=1e-6)
  assert np.all(np.isfinite(divergences.k3(jnp.array([-500.0, 500.0]))))


def test_the_gradient_of_k1_as_a_loss_vanishes():
  got = jax.grad(mean_of(divergences.k1))(POLICY)
  np.testing.assert_allclose(got, np.zeros(4), atol=1e-6)


@pytest.mark.parametrize(
  "name, divergence", [("reverse", reverse_kl), ("forward", forward_kl)]
)
def test_a_kl_loss_has_the_gradient_of_the_divergence_it_is_named_by(
  name, divergence
):
  got = jax.grad(mean_of(divergences.KL_LOSSES[name]))(POLICY)
  want = jax.grad(divergence)(POLICY)
  np.testing.assert_allclose(got, want, atol=1e-6)
  assert np.max(np.abs(want)) > 0.05


def test_the_effective_sample_size_is_the_share_of_weights_that_count():
  size = divergences.effective_sample_size
  # weights 3 and 1: 4^2 / (2 (9 + 1))
  assert size(jnp.log(jnp.array([3.0, 1.0]))) == pytest.approx(0.8, rel=1e-6)
  assert size(jnp.full((5,), -700.0)) == pytest.approx(1.0)
  assert size(jnp.array([0.0, 900.0, 0.0, 0.0])) == pytest.approx(0.25)
