"""Descend a loss on a bandit whose optimum is known, and compare.

Policies are softmax logits over a few actions. Every expectation is exact: all
actions, or all pairs of them, enter with their probability.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from alignment_jax import losses

STEPS = 3000


def _descend(objective, start):
  """Where Adam ends; its rate falls to zero, so that it comes to rest."""
  optimizer = optax.adam(optax.cosine_decay_schedule(0.1, STEPS))

  @jax.jit
  def run(params):
    def step(carry, _):
      params, state = carry
      updates, state = optimizer.update(jax.grad(objective)(params), state)
      return (optax.apply_updates(params, updates), state), None

    carry, _ = jax.lax.scan(
      step, (params, optimizer.init(params)), length=STEPS
    )
    return carry[0]

  with jax.numpy_dtype_promotion("standard"):
    return run(start)


def _normalized(weights):
  return weights / weights.sum(axis=-1, keepdims=True)


def _worlds(seed, worlds, actions):
  """Reference, behavior, and a number for each action, one row per world."""
  random = np.random.default_rng(seed)
  reference = _normalized(random.uniform(0.3, 1.0, (worlds, actions)))
  behavior = _normalized(random.uniform(0.3, 1.0, (worlds, actions)))
  return reference, behavior, random.normal(size=(worlds, actions))


def _preferences(seed, worlds, actions):
  """P(i preferred to j), not transitive, with P + P^T = 1."""
  random = np.random.default_rng(seed)
  upper = np.triu(random.uniform(0, 1, (worlds, actions, actions)), 1)
  lower = np.swapaxes(np.triu(np.ones_like(upper), 1) - upper, 1, 2)
  return upper + lower + np.eye(actions) / 2


def _pair_objective(loss, reference, behavior, preference):
  """The expected loss over pairs of `behavior`, labeled by `preference`.

  Worlds are independent: their losses are added.
  """
  reference, behavior, preference = (
    jnp.asarray(x, jnp.float32) for x in (reference, behavior, preference)
  )
  weight = behavior[:, :, None] * behavior[:, None]

  def sides(logprobs):
    both = jnp.broadcast_to(logprobs[:, :, None], weight.shape)
    return both, jnp.swapaxes(both, 1, 2)

  def objective(logits):
    (i, j), (ref_i, ref_j) = (
      sides(x) for x in (jax.nn.log_softmax(logits), jnp.log(reference))
    )
    expected = preference * loss(i, j, ref_i, ref_j) + (1 - preference) * loss(
      j, i, ref_j, ref_i
    )
    return jnp.sum(weight * expected)

  return objective


def _fit_pairs(loss, reference, behavior, preference):
  objective = _pair_objective(loss, reference, behavior, preference)
  logits = _descend(objective, jnp.log(jnp.asarray(reference, jnp.float32)))
  return np.asarray(jax.nn.softmax(logits))


# A and B, B and C are ranked by chance and against the order A > C.
THREE_ACTIONS = {
  "reference": np.array([[0.5, 0.3, 0.2]]),
  "behavior": np.array([[0.2, 0.5, 0.3]]),
  "preference": np.array([[[0.5, 0.7, 0.4], [0.3, 0.5, 0.9], [0.6, 0.1, 0.5]]]),
}


def _five_actions():
  reference, behavior, _ = _worlds(1, 3, 5)
  return {
    "reference": reference,
    "behavior": behavior,
    "preference": _preferences(2, 3, 5),
  }


@pytest.mark.parametrize("tau", [0.1, 1.0])
@pytest.mark.parametrize(
  "world", [THREE_ACTIONS, _five_actions()], ids=["three", "five"]
)
def test_ipo_tilts_the_reference_by_the_win_rate_against_the_data(world, tau):
  # pi* = ref exp(p(y > mu) / tau) / Z, with p(y > mu) = sum_y' mu(y') P(y, y')
  win_rate = np.einsum("wij,wj->wi", world["preference"], world["behavior"])
  expected = _normalized(world["reference"] * np.exp(win_rate / tau))
  loss = functools.partial(losses.ipo_loss, tau=tau)
  np.testing.assert_allclose(_fit_pairs(loss, **world), expected, atol=1e-3)


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0])
def test_ipo_on_three_ranked_actions_spaces_the_logits_evenly(tau):
  # D1 of Azar et al.: (a, b), (b, c), (a, c). With theta = (k, 0, -k) the sum
  # 2 (k - m)^2 + (2 k - m)^2, m = 1 / (2 tau), is least at k = 4 m / 6.
  winners, losers = np.array([0, 1, 0]), np.array([1, 2, 2])

  def objective(logits):
    logprobs = jax.nn.log_softmax(logits)
    uniform = jnp.full(3, -jnp.log(3.0))
    return losses.ipo_loss(
      logprobs[winners], logprobs[losers], uniform, uniform, tau=tau
    ).mean()

  logits = _descend(objective, jnp.zeros(3))
  k = 1 / (3 * tau)
  np.testing.assert_allclose(logits - logits.mean(), [k, 0, -k], atol=1e-3)


@pytest.mark.parametrize("tau", [0.2, 1.0])
def test_ipo_keeps_a_response_that_never_wins(tau):
  # E1 of Azar et al.: pi*(y1) = sigmoid(1 / (2 tau)), though y1 always wins.
  loss = functools.partial(losses.ipo_loss, tau=tau)
  uniform = np.full((1, 2), 0.5)
  policy = _fit_pairs(
    loss, uniform, uniform, np.array([[[0.5, 1.0], [0.0, 0.5]]])
  )
  expected = 1 / (1 + np.exp(-1 / (2 * tau)))
  np.testing.assert_allclose(policy, [[expected, 1 - expected]], atol=1e-3)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_dpo_drops_a_response_that_never_wins_whatever_beta(beta):
  loss = functools.partial(losses.dpo_loss, beta=beta)
  uniform = np.full((1, 2), 0.5)
  policy = _fit_pairs(
    loss, uniform, uniform, np.array([[[0.5, 1.0], [0.0, 0.5]]])
  )
  assert policy[0, 1] < 0.02


@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("worlds, actions", [(1, 3), (3, 5)])
def test_dpo_tilts_the_reference_by_the_bradley_terry_reward(
  worlds, actions, beta
):
  reference, behavior, rewards = _worlds(3, worlds, actions)
  # P(i preferred to j) = sigmoid(r_i - r_j); pi* = ref exp(r / beta) / Z
  differences = rewards[:, :, None] - rewards[:, None]
  preference = 1 / (1 + np.exp(-differences))
  expected = _normalized(reference * np.exp(rewards / beta))
  loss = functools.partial(losses.dpo_loss, beta=beta)
  np.testing.assert_allclose(
    _fit_pairs(loss, reference, behavior, preference), expected, atol=1e-3
  )


def _fit_dro(reference, behavior, rewards, tau, values=None):
  """Policy and values; the policy alone where `values` are given."""
  log_reference, weight, rewards = (
    jnp.asarray(x, jnp.float32) for x in (np.log(reference), behavior, rewards)
  )

  def objective(params):
    policy = jax.nn.log_softmax(params["logits"])
    per_prompt = params["values"] if values is None else values
    arrays = (
      policy,
      log_reference,
      rewards,
      jnp.broadcast_to(per_prompt[:, None], policy.shape),
    )
    loss = losses.dro_policy_loss(*arrays, tau=tau)
    if values is None:
      loss += losses.dro_value_loss(*arrays, tau=tau)
    return jnp.sum(weight * loss)

  params = _descend(
    objective,
    {"logits": log_reference, "values": jnp.zeros(len(reference))},
  )
  return np.asarray(jax.nn.softmax(params["logits"])), params["values"]


@pytest.mark.parametrize("tau", [0.5, 1.0])
@pytest.mark.parametrize("worlds, actions", [(1, 3), (3, 5)])
def test_dro_finds_the_optimum_and_its_value_from_other_data(
  worlds, actions, tau
):
  reference, behavior, rewards = _worlds(4, worlds, actions)
  # pi* = ref exp(r / tau) / Z and V* = tau log Z, though mu is not ref
  weights = reference * np.exp(rewards / tau)
  policy, values = _fit_dro(reference, behavior, rewards, tau)
  np.testing.assert_allclose(policy, _normalized(weights), atol=1e-3)
  np.testing.assert_allclose(
    values, tau * np.log(weights.sum(axis=-1)), atol=1e-3
  )


def test_dro_with_a_wrong_value_ends_where_proposition_one_says():
  tau = 0.5
  reference, behavior, rewards = _worlds(5, 2, 4)
  weights = reference * np.exp(rewards / tau)
  wrong = tau * np.log(weights.sum(axis=-1)) + 1.0
  policy, _ = _fit_dro(
    reference, behavior, rewards, tau, jnp.asarray(wrong, jnp.float32)
  )
  # pi = ref exp((r - (pi / mu) (V_pi - V)) / tau) / Z,
  # with V_pi = E_mu[r - tau log(pi / ref)]
  own = np.sum(
    behavior * (rewards - tau * np.log(policy / reference)),
    axis=-1,
    keepdims=True,
  )
  tilt = rewards - policy / behavior * (own - wrong[:, None])
  np.testing.assert_allclose(
    policy, _normalized(reference * np.exp(tilt / tau)), atol=1e-3
  )
  assert np.abs(policy - _normalized(weights)).max() > 0.02


def _pairs(*arrays):
  """Each [worlds, actions] array as first and second response of all pairs."""
  for array in arrays:
    array = jnp.asarray(array, jnp.float32)
    both = jnp.broadcast_to(array[:, :, None], (*array.shape, array.shape[1]))
    yield both
    yield jnp.swapaxes(both, 1, 2)


def _fit(loss_of_logprobs, reference):
  """The policies at the end of a descent from the reference, one per world."""
  start = jnp.log(jnp.asarray(reference, jnp.float32))
  logits = _descend(
    lambda logits: loss_of_logprobs(jax.nn.log_softmax(logits)), start
  )
  return np.asarray(jax.nn.softmax(logits))


@pytest.mark.parametrize(
  "psi", [losses.logit, functools.partial(losses.clipped_logit, limit=1.0)]
)
def test_psipo_tilts_the_reference_by_the_mean_of_psi(psi):
  reference, behavior, _ = _worlds(6, 3, 4)
  preference = 0.02 + 0.96 * _preferences(7, 3, 4)
  log_odds = np.log(preference / (1 - preference))
  if psi is not losses.logit:
    log_odds = np.clip(log_odds, -1, 1)
  scores = np.einsum("wij,wj->wi", log_odds, behavior)
  weight = jnp.asarray(behavior[:, :, None] * behavior[:, None], jnp.float32)

  def objective(policy):
    arrays = (*_pairs(policy), *_pairs(np.log(reference)))
    return jnp.sum(
      weight
      * losses.psipo_loss(
        *arrays, jnp.asarray(preference, jnp.float32), psi=psi, tau=0.8
      )
    )

  expected = _normalized(reference * np.exp(scores / 0.8))
  np.testing.assert_allclose(_fit(objective, reference), expected, atol=1e-3)


def test_psipo_refuses_a_psi_that_pairs_alone_cannot_fit():
  arrays = [jnp.zeros(2)] * 5
  with pytest.raises(ValueError, match="psi must make .* the same"):
    losses.psipo_loss(*arrays, psi=jnp.square, tau=1.0)


def test_psipo_regression_fits_any_psi_from_scores():
  # Psi(p) = p^2, which is not odd about 1/2
  reference, behavior, _ = _worlds(8, 3, 4)
  preference = _preferences(9, 3, 4)
  scores = np.einsum("wij,wj->wi", preference**2, behavior)
  weight = jnp.asarray(behavior[:, :, None] * behavior[:, None], jnp.float32)

  def objective(policy):
    arrays = (*_pairs(policy), *_pairs(np.log(reference)), *_pairs(scores))
    return jnp.sum(weight * losses.psipo_regression_loss(*arrays, tau=0.3))

  expected = _normalized(reference * np.exp(scores / 0.3))
  np.testing.assert_allclose(_fit(objective, reference), expected, atol=1e-3)


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_copg_finds_the_optimum_from_two_unknown_distributions(beta):
  reference, one, rewards = _worlds(10, 3, 5)
  _, other, _ = _worlds(11, 3, 5)
  weight = jnp.asarray(one[:, :, None] * other[:, None], jnp.float32)

  def objective(policy):
    arrays = (*_pairs(policy), *_pairs(np.log(reference)), *_pairs(rewards))
    return jnp.sum(weight * losses.copg_loss(*arrays, beta=beta))

  expected = _normalized(reference * np.exp(rewards / beta))
  np.testing.assert_allclose(_fit(objective, reference), expected, atol=1e-3)


def test_copg_of_groups_finds_the_same_optimum():
  reference, _, rewards = _worlds(12, 3, 5)

  def objective(policy):
    return losses.copg_group_loss(
      policy,
      jnp.asarray(np.log(reference), jnp.float32),
      jnp.asarray(rewards, jnp.float32),
      beta=0.7,
    ).sum()

  expected = _normalized(reference * np.exp(rewards / 0.7))
  np.testing.assert_allclose(_fit(objective, reference), expected, atol=1e-3)


def test_dro_over_a_batch_of_one_prompt_needs_no_value():
  reference, _, rewards = _worlds(13, 1, 6)

  def objective(policy):
    return losses.dro_batch_variance_loss(
      policy,
      jnp.asarray(np.log(reference), jnp.float32),
      jnp.asarray(rewards, jnp.float32),
      tau=0.7,
    ).sum()

  expected = _normalized(reference * np.exp(rewards / 0.7))
  np.testing.assert_allclose(_fit(objective, reference), expected, atol=1e-3)


def test_dno_takes_a_multiplicative_weights_step():
  previous, behavior, _ = _worlds(14, 3, 4)
  win_rates = np.einsum("wij,wj->wi", _preferences(15, 3, 4), previous)
  weight = jnp.asarray(behavior[:, :, None] * behavior[:, None], jnp.float32)

  def objective(policy):
    arrays = (*_pairs(policy), *_pairs(np.log(previous)), *_pairs(win_rates))
    return jnp.sum(weight * losses.dno_loss(*arrays, eta=0.4))

  expected = _normalized(previous * np.exp(win_rates / 0.4))
  np.testing.assert_allclose(_fit(objective, previous), expected, atol=1e-3)


def test_inpo_takes_a_mirror_descent_step():
  eta, tau = 0.5, 0.2
  reference, previous, _ = _worlds(16, 3, 4)
  preference = _preferences(17, 3, 4)
  # Pairs of the previous policy, labeled by the preference.
  weight = jnp.asarray(previous[:, :, None] * previous[:, None], jnp.float32)
  label = jnp.asarray(preference, jnp.float32)

  def objective(policy):
    arrays = (*_pairs(policy), *_pairs(np.log(reference)))
    arrays += tuple(_pairs(np.log(previous)))
    swapped = [arrays[i] for i in (1, 0, 3, 2, 5, 4)]
    return jnp.sum(
      weight
      * (
        label * losses.inpo_loss(*arrays, eta=eta, tau=tau)
        + (1 - label) * losses.inpo_loss(*swapped, eta=eta, tau=tau)
      )
    )

  win_rates = np.einsum("wij,wj->wi", preference, previous)
  expected = _normalized(
    np.exp(win_rates / eta)
    * reference ** (tau / eta)
    * previous ** (1 - tau / eta)
  )
  np.testing.assert_allclose(_fit(objective, reference), expected, atol=1e-3)


@pytest.mark.parametrize("seed", [18, 19])
def test_srpo_finds_both_policies_whatever_the_data(seed):
  beta, actions = 1.0, 3
  reference, _, _ = _worlds(20, 1, actions)
  _, behavior, _ = _worlds(seed, 1, actions)
  reference, behavior = reference[0], behavior[0]
  preference = _preferences(21, 1, actions)[0]
  # The reviser's reference is the same, whatever it is shown.
  tilt = reference[:, None] * np.exp(preference / beta)
  reviser = tilt / tilt.sum(axis=0, keepdims=True)  # [y2, y1]
  generator = _normalized(reference / tilt.sum(axis=0))

  log_reference = jnp.asarray(np.log(reference), jnp.float32)
  grid = jnp.meshgrid(jnp.arange(actions), jnp.arange(actions), indexing="ij")
  weight = jnp.asarray(np.outer(behavior, behavior), jnp.float32)
  label = jnp.asarray(preference, jnp.float32)

  def objective(params):
    plain = jax.nn.log_softmax(params["generator"])
    revision = jax.nn.log_softmax(params["reviser"], axis=0)

    def loss(w, l):  # noqa: E741
      def six(plain, revision):
        return (
          plain[w],
          plain[l],
          revision[w, l],
          revision[w, w],
          revision[l, l],
          revision[l, w],
        )

      same = jnp.broadcast_to(log_reference[:, None], revision.shape)
      return losses.srpo_loss(
        *six(plain, revision), *six(log_reference, same), beta=beta, alpha=0.5
      )

    i, j = grid
    return jnp.sum(weight * (label * loss(i, j) + (1 - label) * loss(j, i)))

  params = _descend(
    objective,
    {
      "generator": log_reference,
      "reviser": jnp.zeros((actions, actions)),
    },
  )
  np.testing.assert_allclose(
    jax.nn.softmax(params["generator"]), generator, atol=1e-3
  )
  np.testing.assert_allclose(
    jax.nn.softmax(params["reviser"], axis=0), reviser, atol=1e-3
  )


@pytest.mark.parametrize(
  "lam, expected",
  [
    (0.1, (0.55593, 0.31252, 0.10136, 0.03018)),
    (1.0, (0.40777, 0.33030, 0.18277, 0.07916)),
  ],
)
def test_soft_q_on_one_step_evens_out_the_demonstrated_actions(lam, expected):
  # Stationary at pi(a) = p(a) (1 - 2 lam Q(a)), with sum p Q = 0.
  expert = jnp.asarray([0.6, 0.3, 0.08, 0.02])

  def objective(logits):
    values = jnp.broadcast_to(jax.nn.logsumexp(logits), (4, 1))
    loss = losses.soft_q_loss(
      logits[:, None],
      values,
      jnp.ones((4, 1), bool),
      jnp.ones(4, bool),
      lam=lam,
    )
    return jnp.sum(expert * loss[:, 0])

  q = np.asarray(_descend(objective, jnp.zeros(4)), np.float64)
  policy = np.exp(q) / np.exp(q).sum()
  np.testing.assert_allclose(policy, expected, atol=1e-3)
  np.testing.assert_allclose(
    policy, np.asarray(expert) * (1 - 2 * lam * q), atol=1e-3
  )
  assert abs(np.asarray(expert) @ q) < 1e-3


@pytest.mark.parametrize(
  "score, derivative",
  [
    (losses.forward_kl_score, lambda u: -1 / u),
    (losses.jensen_shannon_score, lambda u: np.log(2 * u / (1 + u))),
    (
      functools.partial(losses.alpha_divergence_score, alpha=0.5),
      lambda u: 2 * (1 - u**-0.5),
    ),
  ],
)
def test_f_dpo_makes_the_derivative_of_f_the_reward(score, derivative):
  reference, behavior, rewards = _worlds(22, 2, 3)
  rewards = 0.3 * rewards
  preference = 1 / (1 + np.exp(rewards[:, None] - rewards[:, :, None]))
  loss = functools.partial(losses.f_dpo_loss, beta=1.0, score=score)
  policy = _fit_pairs(loss, reference, behavior, preference)
  implied = derivative(policy / reference)
  np.testing.assert_allclose(
    implied - implied[:, :1], rewards - rewards[:, :1], atol=3e-3
  )


def test_robust_dpo_is_dpo_in_expectation_over_flips():
  rng = np.random.default_rng(23)
  pairs = [jnp.asarray(rng.normal(size=50), jnp.float32) for _ in range(4)]
  swapped = [pairs[i] for i in (1, 0, 3, 2)]
  robust = functools.partial(
    losses.robust_dpo_loss, beta=0.7, label_smoothing=0.2
  )
  np.testing.assert_allclose(
    0.8 * robust(*pairs) + 0.2 * robust(*swapped),
    losses.dpo_loss(*pairs, beta=0.7),
    rtol=1e-5,
  )


@pytest.mark.parametrize(
  "loss, minimum",
  [
    # sigmoid(beta h) = 1 - e for both, from opposite KL divergences
    (functools.partial(losses.exo_loss, beta=0.5, label_smoothing=0.1), 0.9),
    (functools.partial(losses.dpo_loss, beta=0.5, label_smoothing=0.1), 0.9),
  ],
)
def test_smoothed_labels_give_a_finite_margin(loss, minimum):
  zero = jnp.zeros(())
  margin = _descend(lambda h: loss(h, zero, zero, zero), jnp.float32(0.1))
  np.testing.assert_allclose(jax.nn.sigmoid(0.5 * margin), minimum, atol=1e-3)


def test_gail_learns_the_log_ratio_of_densities():
  expert, policy = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
  weight = jnp.asarray([*expert, *policy], jnp.float32)
  is_expert = jnp.asarray([True] * 3 + [False] * 3)

  def objective(logits):
    both = jnp.concatenate([logits, logits])
    return jnp.sum(weight * losses.gail_discriminator_loss(both, is_expert))

  logits = _descend(objective, jnp.zeros(3))
  np.testing.assert_allclose(logits, np.log(expert / policy), atol=1e-3)


def test_a_preference_model_learns_the_share_of_raters():
  share = jnp.asarray([0.1, 0.5, 0.97])
  logits = _descend(
    lambda x: losses.preference_model_loss(x, share).sum(), jnp.zeros(3)
  )
  np.testing.assert_allclose(jax.nn.sigmoid(logits), share, atol=1e-3)
