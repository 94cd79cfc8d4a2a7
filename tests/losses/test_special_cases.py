"""A loss with its coefficients at an edge, or on one token, is another loss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses

ACTIONS = 5


BETA = 0.4


def _draw(seed):
  """Logits of a policy, log-probabilities of a reference, and rewards."""
  rng = np.random.default_rng(seed)
  logits, reference, rewards = (
    jnp.asarray(rng.normal(size=ACTIONS), jnp.float32) for _ in range(3)
  )
  return logits, jax.nn.log_softmax(reference), rewards


def _close(one, other):
  np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
  assert np.abs(one).max() > 1e-3


@pytest.fixture(params=[0, 1, 2])
def world(request):
  return _draw(request.param)


def test_a_group_of_two_is_a_pair(world):
  logits, reference, rewards = world
  policy = jax.nn.log_softmax(logits)
  group = losses.copg_group_loss(
    policy[:2], reference[:2], rewards[:2], beta=BETA
  )
  pair = losses.copg_loss(
    policy[0],
    policy[1],
    reference[0],
    reference[1],
    rewards[0],
    rewards[1],
    beta=BETA,
  )
  np.testing.assert_allclose(group, pair, rtol=1e-6)


def test_the_one_token_form_agrees_on_one_token_and_on_no_more():
  rng = np.random.default_rng(5)
  policy, reference = (
    jnp.asarray(-rng.uniform(0.5, 3, (4, 2)), jnp.float32) for _ in range(2)
  )
  wins = jnp.asarray(rng.uniform(size=4), jnp.float32)

  def gradients(policy, reference):
    token = jax.grad(
      lambda p: losses.nash_md_pg_one_token_loss(
        p, reference, wins, tau=BETA
      ).sum()
    )(policy)
    sequence = jax.grad(
      lambda p: losses.nash_md_pg_loss(
        p.sum(axis=-1), reference.sum(axis=-1), wins, tau=BETA
      ).sum()
    )(policy)
    return token, sequence

  _close(*gradients(policy[:, :1], reference[:, :1]))
  token, sequence = gradients(policy, reference)
  assert np.abs(token - sequence).max() > 0.01


def test_soft_q_without_its_regularizer_is_cross_entropy():
  rng = np.random.default_rng(7)
  logits = jnp.asarray(rng.normal(size=(2, 3, 6)), jnp.float32)
  ids = jnp.asarray(rng.integers(6, size=(2, 3, 1)))
  mask = jnp.asarray([[True, True, True], [True, True, False]])

  def parts(logits):
    chosen = jnp.take_along_axis(logits, ids, axis=-1)[..., 0]
    return chosen, jax.nn.logsumexp(logits, axis=-1)

  def soft_q(logits):
    return losses.soft_q_loss(
      *parts(logits), mask, jnp.asarray([True, False]), lam=0.0
    ).sum()

  def cross_entropy(logits):
    chosen, values = parts(logits)
    per_token = losses.cross_entropy_loss(chosen - values)
    return jnp.where(mask, per_token, 0.0).sum()

  np.testing.assert_allclose(soft_q(logits), cross_entropy(logits), rtol=1e-6)
  _close(jax.grad(soft_q)(logits), jax.grad(cross_entropy)(logits))


PAIR = (losses.dpo_loss, {"beta": BETA})


SAME_LOSS = {
  "flex_dpo": (
    PAIR,
    (losses.flex_dpo_loss, {"beta_chosen": BETA, "beta_rejected": BETA}),
  ),
  "f_dpo": (
    PAIR,
    (losses.f_dpo_loss, {"beta": BETA, "score": losses.reverse_kl_score}),
  ),
  "robust_dpo": (
    PAIR,
    (losses.robust_dpo_loss, {"beta": BETA, "label_smoothing": 0.0}),
  ),
  "xpo": (
    PAIR,
    (
      lambda *a, **k: losses.xpo_loss(*a, a[1], **k),
      {"beta": BETA, "alpha": 0.0},
    ),
  ),
  "psipo": (
    (losses.ipo_loss, {"tau": BETA}),
    (
      lambda *a, **k: losses.psipo_loss(*a, jnp.ones_like(a[0]), **k),
      {"tau": BETA, "psi": losses.identity},
    ),
  ),
  "inpo": (
    (losses.ipo_loss, {"tau": BETA}),
    (
      lambda *a, **k: losses.inpo_loss(*a, a[1] - 3, a[0] + 1, **k),
      {"tau": BETA, "eta": BETA},
    ),
  ),
  "online_ipo": (
    (losses.ipo_loss, {"tau": BETA}),
    (
      lambda *a, **k: losses.online_ipo_loss(*a, jnp.ones_like(a[0]), **k),
      {"tau": BETA},
    ),
  ),
}


@pytest.mark.parametrize("one, other", SAME_LOSS.values(), ids=SAME_LOSS)
def test_a_special_case_is_the_older_loss(one, other):
  rng = np.random.default_rng(8)
  arrays = [jnp.asarray(rng.normal(size=6), jnp.float32) for _ in range(4)]

  def run(loss, coefficients):
    call = functools.partial(loss, **coefficients)
    gradient = jax.grad(lambda *a: call(*a).sum(), argnums=(0, 1))(*arrays)
    return [call(*arrays), *gradient]

  for a, b in zip(run(*one), run(*other), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_cpo_without_likelihood_is_dpo_with_a_flat_reference():
  rng = np.random.default_rng(9)
  chosen, rejected = (
    jnp.asarray(rng.normal(size=6), jnp.float32) for _ in range(2)
  )
  flat = jnp.full(6, -7.0)
  np.testing.assert_allclose(
    losses.cpo_loss(chosen, rejected, beta=BETA, alpha=0.0),
    losses.dpo_loss(chosen, rejected, flat, flat, beta=BETA),
    rtol=1e-6,
  )
