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


def _close(first, second):
  np.testing.assert_allclose(first, second, rtol=2e-5, atol=2e-6)
  assert np.abs(first).max() > 1e-3


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


@pytest.mark.parametrize("first, second", SAME_LOSS.values(), ids=SAME_LOSS)
def test_a_special_case_is_the_older_loss(first, second):
  rng = np.random.default_rng(8)
  arrays = [jnp.asarray(rng.normal(size=6), jnp.float32) for _ in range(4)]

  def run(loss, coefficients):
    call = functools.partial(loss, **coefficients)
    gradient = jax.grad(lambda *a: call(*a).sum(), argnums=(0, 1))(*arrays)
    return [call(*arrays), *gradient]

  for a, b in zip(run(*first), run(*second), strict=True):
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


def _same(first, second, *arrays):
  """Two functions with one value and one gradient to every array."""

  def run(function):
    gradients = jax.grad(
      lambda *a: function(*a).sum(), argnums=range(len(arrays))
    )(*arrays)
    return [function(*arrays), *gradients]

  for a, b in zip(run(first), run(second), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def _normal(seed, *shape):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


def _kto(policy, reference, desirable):
  return losses.kto_loss(
    policy,
    reference,
    jnp.full(policy.shape, desirable),
    jnp.float32(0),
    beta=BETA,
  )


def test_apo_zero_is_kto_of_each_response_without_a_reference_point():
  _same(
    lambda *a: losses.apo_zero_loss(*a, beta=BETA),
    lambda c, r, ref_c, ref_r: _kto(c, ref_c, True) + _kto(r, ref_r, False),
    *_normal(10, 4, 6),
  )


def test_apo_down_is_kto_against_the_chosen_response_and_for_the_margin():
  _same(
    lambda *a: losses.apo_down_loss(*a, beta=BETA),
    lambda c, r, ref_c, ref_r: (
      _kto(c, ref_c, False) + _kto(c - r, ref_c - ref_r, True)
    ),
    *_normal(11, 4, 6),
  )


def test_bco_of_a_pair_is_bco_of_both_responses_without_a_shift():
  def unpaired(policy, reference, desirable):
    return losses.bco_unpaired_loss(
      policy,
      reference,
      jnp.full(policy.shape, desirable),
      jnp.float32(0),
      beta=BETA,
    )

  _same(
    lambda *a: losses.bco_pair_loss(*a, beta=BETA),
    lambda c, r, ref_c, ref_r: (
      unpaired(c, ref_c, True) + unpaired(r, ref_r, False)
    ),
    *_normal(12, 4, 6),
  )


@pytest.mark.parametrize("side", [-1, 1])
def test_discopop_is_dpo_for_misordered_pairs_and_exponential_for_ordered(side):
  # 2 to 3 nats of z at tau = 0.05: the other part weighs at most exp(-40).
  z = side * (2 + jnp.asarray([0.0, 0.4, 1.0]))
  zero = jnp.zeros(3)

  def other(h):
    if side > 0:
      return jnp.exp(-BETA * h)
    return losses.dpo_loss(h, zero, zero, zero, beta=BETA)

  _same(
    lambda h: losses.discopop_loss(h, zero, zero, zero, beta=BETA, tau=0.05),
    other,
    z / BETA,
  )


def test_flex_dpo_without_the_rejected_response_is_half_of_bco():
  chosen, rejected, *reference = _normal(13, 4, 6)
  _same(
    lambda c: losses.flex_dpo_loss(
      c, rejected, *reference, beta_chosen=BETA, beta_rejected=0.0
    ),
    lambda c: losses.bco_unpaired_loss(
      c, reference[0], jnp.full(6, True), jnp.float32(0), beta=BETA
    ),
    chosen,
  )


def test_flex_dpo_divides_its_gradient_as_its_coefficients():
  arrays = _normal(14, 4, 6)
  up, down = jax.grad(
    lambda c, r: losses.flex_dpo_loss(
      c, r, *arrays[2:], beta_chosen=0.6, beta_rejected=0.15
    ).sum(),
    argnums=(0, 1),
  )(*arrays[:2])
  np.testing.assert_allclose(down, -up / 4, rtol=1e-5)
  assert np.all(up < 0)


def test_simpo_is_dpo_against_a_reference_that_has_the_margin():
  gamma = 0.8

  def dpo(chosen, rejected):
    zero = jnp.zeros_like(chosen)
    return losses.dpo_loss(
      chosen, rejected, zero + gamma / BETA, zero, beta=BETA
    )

  _same(
    lambda c, r: losses.simpo_loss(c, r, beta=BETA, gamma=gamma),
    dpo,
    *_normal(15, 2, 6),
  )


def test_slic_is_hinge_with_a_flat_reference_and_cross_entropy():
  delta, lam = 1.5, 0.3

  def parts(chosen, rejected, target):
    flat = jnp.full(chosen.shape, -2.0)
    hinge = losses.hinge_loss(chosen, rejected, flat, flat, beta=1 / delta)
    return delta * hinge + lam * losses.cross_entropy_loss(target)

  _same(
    lambda *a: losses.slic_loss(*a, delta=delta, lam=lam),
    parts,
    *_normal(16, 3, 6),
  )


def test_sppo_is_dro_of_both_responses_with_win_rates_for_rewards():
  # eta = 1 / tau, and every value is the win rate of a policy with itself.
  eta = 3.0
  chosen_wins, rejected_wins = jax.nn.sigmoid(_normal(17, 2, 6))

  def dro(chosen, rejected, reference_chosen, reference_rejected):
    half = jnp.full(chosen.shape, 0.5)
    return (2 * eta) * (
      losses.dro_policy_loss(
        chosen, reference_chosen, chosen_wins, half, tau=1 / eta
      )
      + losses.dro_policy_loss(
        rejected, reference_rejected, rejected_wins, half, tau=1 / eta
      )
    )

  _same(
    lambda *a: losses.sppo_loss(*a, chosen_wins, rejected_wins, eta=eta),
    dro,
    *_normal(18, 4, 6),
  )


CLIPPED = {
  "ppo": (losses.ppo_policy_loss, {"clip": 0.2}),
  "rloo": (losses.proximal_rloo_loss, {"clip": 0.2}),
  "gspo": (losses.gspo_loss, {"clip_low": 0.5, "clip_high": 0.2}),
}


@pytest.mark.parametrize("loss, clip", CLIPPED.values(), ids=CLIPPED)
def test_a_clipped_surrogate_starts_as_reinforce_and_stops_at_its_clip(
  loss, clip
):
  policy = _normal(19, 3, 4)
  advantages = losses.rloo_advantages(_normal(20, 3, 4))

  def gradient(old):
    return jax.grad(lambda p: loss(p, old, advantages, **clip).sum())(policy)

  reinforce = jax.grad(lambda p: losses.reinforce_loss(p, advantages).sum())(
    policy
  )
  np.testing.assert_allclose(gradient(policy), reinforce, rtol=1e-5)
  # The ratio is 1.25 everywhere: it may still fall, and not rise further.
  np.testing.assert_allclose(
    gradient(policy - jnp.log(1.25)),
    np.where(advantages > 0, 0, 1.25 * reinforce),
    rtol=1e-5,
  )


def test_one_pair_of_aot_is_dpo():
  arrays = list(_normal(0, 4, 1))
  dpo = losses.dpo_loss(*arrays, beta=0.3)
  for loss in (losses.aot_loss, losses.aot_unpaired_loss):
    np.testing.assert_allclose(loss(*arrays, beta=0.3), dpo, rtol=1e-5)


def test_soft_q_without_mixing_is_soft_q_of_the_demonstrations_alone():
  q, values = _normal(21, 2, 2, 3)
  mask = jnp.asarray([[True, True, False], [True] * 3])
  terminal, is_expert = jnp.asarray([True, False]), jnp.asarray([True, False])

  def demonstrations(q, values):
    loss = losses.soft_q_loss(q, values, mask, terminal, lam=0.5, gamma=0.9)
    return jnp.where(is_expert[:, None], loss, 0.0)

  _same(
    lambda *a: losses.soft_q_mixed_loss(
      *a, mask, terminal, is_expert, lam=0.5, mix=0.0, gamma=0.9
    ),
    demonstrations,
    q,
    values,
  )
