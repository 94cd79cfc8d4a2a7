"""Losses whose units share a batch, group or response; weights of models."""

import inspect

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


def test_one_pair_of_aot_is_dpo():
  arrays = list(_normal(0, 4, 1))
  dpo = losses.dpo_loss(*arrays, beta=0.3)
  for loss in (losses.aot_loss, losses.aot_unpaired_loss):
    np.testing.assert_allclose(loss(*arrays, beta=0.3), dpo, rtol=1e-5)


@pytest.mark.parametrize("loss", [losses.aot_loss, losses.aot_unpaired_loss])
def test_aot_holds_the_reference_constant_and_keeps_the_shape(loss):
  arrays = list(_normal(1, 4, 2, 3))
  gradients = jax.grad(lambda *a: loss(*a, beta=0.3).sum(), argnums=range(4))(
    *arrays
  )
  assert loss(*arrays, beta=0.3).shape == (2, 3)
  assert [bool(np.any(g)) for g in gradients] == [True, True, False, False]


def test_batch_variance_of_one_response_is_nothing():
  one = jnp.asarray([-3.0])
  value, gradient = jax.value_and_grad(
    lambda p: losses.dro_batch_variance_loss(p, one, one, tau=0.5).sum()
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
  one = losses.grpo_advantages(rewards)
  other = losses.grpo_advantages(7 * rewards + 3)
  np.testing.assert_allclose(one, other, rtol=2e-2, atol=2e-3)
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


@pytest.mark.parametrize(
  "aggregation, adds_up",
  [("grpo", True), ("dapo", True), ("dr_grpo", True), ("bnpo", False)],
)
def test_parts_of_a_batch_add_up_but_for_bnpo(aggregation, adds_up):
  def mean(rows):
    return losses.grpo_aggregate(
      TOKENS[rows], MASK[rows], aggregation=aggregation, max_length=4
    )

  whole, one, other = mean(slice(4)), mean(slice(1)), mean(slice(1, 4))
  parts = (one.total + other.total) / (one.weight + other.weight)
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


TREE = {"policy": jnp.asarray([1.0, 2.0]), "value": jnp.asarray(5.0)}


def _tree(seed):
  first, second = _normal(seed, 2), _normal(seed + 1)
  return {"policy": first, "value": second}


def test_the_average_approaches_a_constant_geometrically():
  start, constant = _tree(0), _tree(2)
  average = start
  for _ in range(7):
    average = losses.ema(average, constant, decay=0.8)
  for key in start:
    expected = constant[key] + 0.8**7 * (start[key] - constant[key])
    np.testing.assert_allclose(average[key], expected, rtol=1e-5)


@pytest.mark.parametrize("jitted", [False, True])
def test_an_elastic_reset_jumps_to_the_average_then_restarts_it(jitted):
  initial, params, average = _tree(0), _tree(2), _tree(4)

  def after(step):
    def run(step):
      return losses.elastic_reset(
        params,
        average,
        initial,
        step,
        decay=0.9,
        period=3,
        applies=lambda path: path != "value",
      )

    return (jax.jit(run) if jitted else run)(step)

  for step in (0, 2, 4):
    new, mean = after(step)
    np.testing.assert_array_equal(new["policy"], params["policy"])
    np.testing.assert_allclose(
      mean["policy"],
      0.9 * average["policy"] + 0.1 * params["policy"],
      rtol=1e-6,
    )
  reset, restarted = after(3)
  np.testing.assert_array_equal(reset["policy"], after(2)[1]["policy"])
  np.testing.assert_array_equal(restarted["policy"], initial["policy"])
  np.testing.assert_array_equal(reset["value"], params["value"])
  np.testing.assert_array_equal(restarted["value"], average["value"])


def test_warm_is_the_ensemble_of_linear_models():
  models = [_tree(seed) for seed in (0, 2, 4)]
  x = jnp.asarray([0.3, -0.7])
  merged = losses.weight_average(models, [1.0, 2.0, 1.0])
  expected = sum(
    w * float(m["policy"] @ x)
    for m, w in zip(models, (0.25, 0.5, 0.25), strict=True)
  )
  np.testing.assert_allclose(merged["policy"] @ x, expected, rtol=1e-5)


def test_slerp_keeps_the_norm_that_a_mean_shrinks():
  start = {"w": jnp.zeros(2)}
  ends = [{"w": jnp.asarray([1.0, 0.0])}, {"w": jnp.asarray([0.0, 1.0])}]
  merged = losses.slerp_merge(start, ends)["w"]
  np.testing.assert_allclose(merged, [0.5**0.5] * 2, rtol=1e-6)
  np.testing.assert_allclose(
    losses.slerp_merge(start, ends[::-1])["w"], merged, rtol=1e-6
  )
  # Parallel task vectors and one that is zero: linear.
  same = losses.slerp_merge(start, [ends[0], {"w": jnp.asarray([3.0, 0.0])}])
  np.testing.assert_allclose(same["w"], [2.0, 0.0], rtol=1e-5)
  still = losses.slerp_merge(start, [ends[0], start])
  np.testing.assert_allclose(still["w"], [0.5, 0.0], rtol=1e-6)


def test_interpolation_starts_at_the_start_bit_for_bit():
  start, end = _tree(0), _tree(2)
  np.testing.assert_array_equal(
    losses.interpolate_to_init(start, end, eta=0.0)["policy"], start["policy"]
  )
  np.testing.assert_allclose(
    losses.interpolate_to_init(start, end, eta=0.3)["policy"],
    0.7 * start["policy"] + 0.3 * end["policy"],
    rtol=1e-5,
  )


def test_schedules_of_the_decay():
  steps = jnp.arange(4)
  warm = [losses.ema_warmup_decay(s, decay=0.3) for s in steps]
  np.testing.assert_allclose(warm, [0.1, 2 / 11, 0.25, 0.3], rtol=1e-6)
  cosine = [losses.ema_cosine_decay(s, start=0.9, total_steps=2) for s in steps]
  np.testing.assert_allclose(cosine, [0.9, 0.95, 1, 1], rtol=1e-6)


def test_models_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match="at least one model"):
    losses.weight_average([])
  with pytest.raises(ValueError, match="2 trees need as many weights"):
    losses.weight_average([TREE, TREE], [1.0])
  with pytest.raises(ValueError, match="eta must be in"):
    losses.interpolate_to_init(TREE, TREE, eta=1.5)
  with pytest.raises(ValueError, match="decay must be in"):
    losses.ema(TREE, TREE, decay=1.5)


LENGTH_MASK = jnp.asarray([[True] * 3, [True, False, False], [False] * 3])
ENDED = jnp.asarray([True, False, True])


def _grpo(policy, old, reference, advantages):
  return losses.grpo_loss(
    policy,
    old,
    reference,
    advantages[:, 0],
    clip_low=0.2,
    clip_high=0.3,
    beta=0.1,
  )


def _copg_group(policy, reference, rewards):
  return losses.copg_group_loss(policy, reference, rewards, beta=0.1)


def _soft_q(q, v):
  return losses.soft_q_loss(q, v, LENGTH_MASK, ENDED, lam=0.1)


def _nash_md(policy, reference):
  wins = jnp.asarray([0.0, 0.5, 1.0])
  return losses.nash_md_pg_one_token_loss(policy, reference, wins, tau=0.1)


FAR = {
  "aot": (lambda *a: losses.aot_loss(*a, beta=0.1), 4),
  "aot_unpaired": (lambda *a: losses.aot_unpaired_loss(*a, beta=0.1), 4),
  "batch_variance": (
    lambda *a: losses.dro_batch_variance_loss(*a, tau=0.1),
    3,
  ),
  "grpo": (_grpo, 4),
  "copg_group": (_copg_group, 3),
  "soft_q": (_soft_q, 2),
  "nash_md_one_token": (_nash_md, 2),
  "rcfd_composite": (losses.rcfd_composite_reward, 2),
  "jbond_reward": (lambda s, a: losses.jbond_reward(s[:, 0], a), 2),
  "grpo_advantages": (losses.grpo_advantages, 1),
}


@pytest.mark.parametrize("function, count", FAR.values(), ids=FAR)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_nothing_breaks_ten_thousand_nats_away(function, count, dtype):
  for place in range(count):
    for far in (-1e4, 1e4):
      arrays = [jnp.full((3, 3), 0.25, dtype) for _ in range(count)]
      arrays[place] = arrays[place].at[1].set(far)
      value = function(*arrays)
      gradients = jax.grad(lambda *a: function(*a).sum(), range(count))(*arrays)
      for array in (value, *gradients):
        assert np.all(np.isfinite(np.asarray(array, np.float32)))
