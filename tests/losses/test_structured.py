"""Losses whose units share a batch or a group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment_jax import losses

SEEDS = st.integers(0, 10_000)


def _normal(seed, *shape):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


@given(seed=SEEDS)
def test_aot_compares_equal_ranks(seed):
  arrays = _normal(seed, 4, 6)
  order = np.random.default_rng(seed).permutation(6)
  loss = losses.aot_loss(*arrays, beta=0.3)
  policy, reference = arrays[0] - arrays[1], arrays[2] - arrays[3]
  expected = np.logaddexp(0, -0.3 * (np.sort(policy) - np.sort(reference)))
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  np.testing.assert_array_equal(
    loss, losses.aot_loss(*arrays[:, order], beta=0.3)
  )


@given(seed=SEEDS)
def test_unpaired_aot_forgets_who_belongs_to_whom(seed):
  arrays = _normal(seed, 4, 6)
  order = np.random.default_rng(seed).permutation(6)
  rejected = arrays[jnp.asarray([1, 3])][:, order]
  shuffled = [arrays[0], rejected[0], arrays[2], rejected[1]]
  np.testing.assert_array_equal(
    losses.aot_unpaired_loss(*arrays, beta=0.3),
    losses.aot_unpaired_loss(*shuffled, beta=0.3),
  )


def test_aot_subtracts_in_float32():
  # In bfloat16 the difference of -40.25 and -33 would be rounded.
  half = [x.astype(jnp.bfloat16) for x in 40 * _normal(11, 4, 6)]
  for loss in (losses.aot_loss, losses.aot_unpaired_loss):
    np.testing.assert_array_equal(
      loss(*half, beta=0.3),
      loss(*(x.astype(jnp.float32) for x in half), beta=0.3),
    )


@pytest.mark.parametrize("loss", [losses.aot_loss, losses.aot_unpaired_loss])
def test_aot_holds_the_reference_constant_and_keeps_the_shape(loss):
  arrays = list(_normal(1, 4, 2, 3))
  gradients = jax.grad(lambda *a: loss(*a, beta=0.3).sum(), argnums=range(4))(
    *arrays
  )
  assert loss(*arrays, beta=0.3).shape == (2, 3)
  assert [bool(np.any(g)) for g in gradients] == [True, True, False, False]


def test_batch_variance_of_one_response_is_nothing():
  single = jnp.asarray([-3.0])
  value, gradient = jax.value_and_grad(
    lambda p: losses.dro_batch_variance_loss(p, single, single, tau=0.5).sum()
  )(jnp.asarray([-5.0]))
  assert value == 0 and gradient[0] == 0


def test_a_common_offset_of_rewards_changes_batch_variance_not_at_all():
  policy, reference, rewards = _normal(2, 3, 5)
  np.testing.assert_allclose(
    losses.dro_batch_variance_loss(policy, reference, rewards, tau=0.5),
    losses.dro_batch_variance_loss(policy, reference, rewards + 4, tau=0.5),
    rtol=1e-4,
    atol=1e-5,
  )


def test_kto_reference_point_is_the_mean_log_ratio_and_never_negative():
  policy, reference = jnp.asarray([-4.0, -6.0]), jnp.asarray([-5.0, -8.0])
  assert losses.kto_kl(policy, reference) == 1.5
  assert losses.kto_kl(reference, policy) == 0
  assert not np.any(jax.grad(lambda p: losses.kto_kl(p, reference))(policy))


def test_kto_starts_at_half_its_weight_and_saturates():
  zero, flags = jnp.zeros(2), jnp.asarray([True, False])
  loss = losses.kto_loss(
    zero,
    zero,
    flags,
    jnp.float32(0),
    beta=0.1,
    lambda_desirable=1.0,
    lambda_undesirable=3.0,
  )
  np.testing.assert_allclose(loss, [0.5, 1.5])

  def slope(distance):
    return jax.grad(
      lambda p: losses.kto_loss(p, zero, flags, jnp.float32(0), beta=0.1).sum()
    )(jnp.asarray([distance, -distance]))

  # -s beta / 4 at the reference, and less and less away from it
  np.testing.assert_allclose(slope(0.0), [-0.025, 0.025], rtol=1e-6)
  assert np.all(np.abs(slope(100.0)) < 1e-5)


@given(seed=SEEDS)
def test_leave_one_out_advantages(seed):
  rewards = _normal(seed, 3, 4)
  others = (rewards.sum(axis=1, keepdims=True) - rewards) / 3
  advantages = losses.rloo_advantages(rewards)
  np.testing.assert_allclose(advantages, rewards - others, atol=1e-5)
  np.testing.assert_allclose(advantages.sum(axis=1), 0, atol=1e-5)


@given(seed=SEEDS)
def test_group_advantages_do_not_see_scale_or_offset(seed):
  rewards = _normal(seed, 3, 4)
  first = losses.grpo_advantages(rewards)
  second = losses.grpo_advantages(7 * rewards + 3)
  np.testing.assert_allclose(first, second, rtol=2e-2, atol=2e-3)
  plain = losses.grpo_advantages(rewards, scale="none")
  # Dr. GRPO is (K - 1) / K of leave-one-out.
  np.testing.assert_allclose(
    plain, 0.75 * losses.rloo_advantages(rewards), atol=1e-5
  )


def test_equal_rewards_give_no_advantage():
  rewards = jnp.full((2, 4), 3.0)
  assert not np.any(losses.grpo_advantages(rewards))
  assert not np.any(losses.rloo_advantages(rewards))


@pytest.mark.parametrize(
  "function", [losses.rloo_advantages, losses.grpo_advantages]
)
def test_a_group_of_one_is_refused(function):
  with pytest.raises(ValueError, match="rewards need K >= 2"):
    function(jnp.zeros((3, 1)))


def test_grpo_on_policy_is_reinforce_with_a_kl_that_is_positive():
  policy, reference = -abs(_normal(3, 2, 3, 4))
  advantages = jnp.asarray([1.0, -2.0, 0.5])

  def loss(p, beta):
    return losses.grpo_loss(
      p, policy, reference, advantages, clip_low=0.2, clip_high=0.3, beta=beta
    )

  gradient = jax.grad(lambda p: loss(p, 0.0).sum())(policy)
  np.testing.assert_allclose(
    gradient,
    -jnp.broadcast_to(advantages[:, None], (3, 4)) * jnp.ones((3, 4)),
    rtol=1e-6,
  )
  penalty = loss(policy, 1.0) - loss(policy, 0.0)
  assert np.all(penalty >= 0)
  same = losses.grpo_loss(
    policy, policy, policy, advantages, clip_low=0.2, clip_high=0.3, beta=1.0
  )
  np.testing.assert_allclose(same[:, 0], -advantages)


def test_clipping_stops_the_gradient_on_the_improving_side_only():
  old = jnp.zeros(4)
  policy = jnp.log(jnp.asarray([1.5, 1.5, 0.5, 0.5]))
  advantages = jnp.asarray([1.0, -1.0, 1.0, -1.0])
  gradient = jax.grad(
    lambda p: losses.ppo_policy_loss(p, old, advantages, clip=0.2).sum()
  )(policy)
  np.testing.assert_allclose(gradient, [0, 1.5, -0.5, 0], rtol=1e-6)


def test_gspo_does_not_see_the_order_of_tokens():
  # A constant log-ratio c per token gives the ratio e^c for any length.
  loss = losses.gspo_loss(
    jnp.asarray([-2.0]),
    jnp.asarray([-2.1]),
    jnp.asarray([1.0]),
    clip_low=0.5,
    clip_high=0.5,
  )
  np.testing.assert_allclose(loss, [-np.exp(0.1)], rtol=1e-6)


def test_a_value_far_from_the_old_one_is_judged_by_the_worse_of_two():
  loss = losses.ppo_value_loss(
    jnp.asarray([1.0, 1.0]),
    jnp.asarray([0.0, 0.0]),
    jnp.asarray([1.0, 3.0]),
    clip=0.2,
  )
  # max((1 - 1)^2, (0.2 - 1)^2) / 2 and max((1 - 3)^2, (0.2 - 3)^2) / 2
  np.testing.assert_allclose(loss, [0.32, 3.92], rtol=1e-6)


def test_jbond_punishes_only_what_is_below_both_anchors():
  reward = losses.jbond_reward(
    jnp.asarray([0.0, 1.0, 1.5]),
    jnp.asarray([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]),
  )
  np.testing.assert_allclose(reward, [-np.log(16), 0, 0], rtol=1e-6)


def test_calibration_is_blind_to_an_offset_of_the_prompt():
  rewards, demonstrations, offset = _normal(9, 3, 4)
  np.testing.assert_allclose(
    losses.rcfd_reward(rewards + offset, demonstrations + offset),
    losses.rcfd_reward(rewards, demonstrations),
    atol=1e-5,
  )
  assert not np.any(losses.rcfd_reward(rewards, rewards))


def test_composite_rewards_lie_between_zero_and_their_number():
  rewards, demonstrations = _normal(10, 2, 6, 3)
  reward = losses.rcfd_composite_reward(rewards, demonstrations)
  assert reward.shape == (6,)
  assert np.all((reward > 0) & (reward < 3))
  # Whitening takes any scale of a single model away.
  scale = jnp.asarray([[1.0, 10.0, 0.1]])
  np.testing.assert_allclose(
    losses.rcfd_composite_reward(rewards * scale, demonstrations * scale),
    reward,
    rtol=1e-3,
  )
