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


def _normalised(weights):
  return weights / weights.sum(axis=-1, keepdims=True)


def _worlds(seed, worlds, actions):
  """Reference, behaviour, and a number for each action, one row per world."""
  random = np.random.default_rng(seed)
  reference = _normalised(random.uniform(0.3, 1.0, (worlds, actions)))
  behaviour = _normalised(random.uniform(0.3, 1.0, (worlds, actions)))
  return reference, behaviour, random.normal(size=(worlds, actions))


def _preferences(seed, worlds, actions):
  """P(i preferred to j), not transitive, with P + P^T = 1."""
  random = np.random.default_rng(seed)
  upper = np.triu(random.uniform(0, 1, (worlds, actions, actions)), 1)
  lower = np.swapaxes(np.triu(np.ones_like(upper), 1) - upper, 1, 2)
  return upper + lower + np.eye(actions) / 2


def _pair_objective(loss, reference, behaviour, preference):
  """The expected loss over pairs of `behaviour`, labelled by `preference`.

  Worlds are independent: their losses are added.
  """
  reference, behaviour, preference = (
    jnp.asarray(x, jnp.float32) for x in (reference, behaviour, preference)
  )
  weight = behaviour[:, :, None] * behaviour[:, None]

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


def _fit_pairs(loss, reference, behaviour, preference):
  objective = _pair_objective(loss, reference, behaviour, preference)
  logits = _descend(objective, jnp.log(jnp.asarray(reference, jnp.float32)))
  return np.asarray(jax.nn.softmax(logits))


# A and B, B and C are ranked by chance and against the order A > C.
THREE_ACTIONS = {
  "reference": np.array([[0.5, 0.3, 0.2]]),
  "behaviour": np.array([[0.2, 0.5, 0.3]]),
  "preference": np.array([[[0.5, 0.7, 0.4], [0.3, 0.5, 0.9], [0.6, 0.1, 0.5]]]),
}


def _five_actions():
  reference, behaviour, _ = _worlds(1, 3, 5)
  return {
    "reference": reference,
    "behaviour": behaviour,
    "preference": _preferences(2, 3, 5),
  }


@pytest.mark.parametrize("tau", [0.1, 1.0])
@pytest.mark.parametrize(
  "world", [THREE_ACTIONS, _five_actions()], ids=["three", "five"]
)
def test_ipo_tilts_the_reference_by_the_win_rate_against_the_data(world, tau):
  # pi* = ref exp(p(y > mu) / tau) / Z, with p(y > mu) = sum_y' mu(y') P(y, y')
  win_rate = np.einsum("wij,wj->wi", world["preference"], world["behaviour"])
  expected = _normalised(world["reference"] * np.exp(win_rate / tau))
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
  reference, behaviour, rewards = _worlds(3, worlds, actions)
  # P(i preferred to j) = sigmoid(r_i - r_j); pi* = ref exp(r / beta) / Z
  differences = rewards[:, :, None] - rewards[:, None]
  preference = 1 / (1 + np.exp(-differences))
  expected = _normalised(reference * np.exp(rewards / beta))
  loss = functools.partial(losses.dpo_loss, beta=beta)
  np.testing.assert_allclose(
    _fit_pairs(loss, reference, behaviour, preference), expected, atol=1e-3
  )


def _fit_dro(reference, behaviour, rewards, tau, values=None):
  """Policy and values; the policy alone where `values` are given."""
  log_reference, weight, rewards = (
    jnp.asarray(x, jnp.float32) for x in (np.log(reference), behaviour, rewards)
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
  reference, behaviour, rewards = _worlds(4, worlds, actions)
  # pi* = ref exp(r / tau) / Z and V* = tau log Z, though mu is not ref
  weights = reference * np.exp(rewards / tau)
  policy, values = _fit_dro(reference, behaviour, rewards, tau)
  np.testing.assert_allclose(policy, _normalised(weights), atol=1e-3)
  np.testing.assert_allclose(
    values, tau * np.log(weights.sum(axis=-1)), atol=1e-3
  )


def test_dro_with_a_wrong_value_ends_where_proposition_one_says():
  tau = 0.5
  reference, behaviour, rewards = _worlds(5, 2, 4)
  weights = reference * np.exp(rewards / tau)
  wrong = tau * np.log(weights.sum(axis=-1)) + 1.0
  policy, _ = _fit_dro(
    reference, behaviour, rewards, tau, jnp.asarray(wrong, jnp.float32)
  )
  # pi = ref exp((r - (pi / mu) (V_pi - V)) / tau) / Z,
  # with V_pi = E_mu[r - tau log(pi / ref)]
  own = np.sum(
    behaviour * (rewards - tau * np.log(policy / reference)),
    axis=-1,
    keepdims=True,
  )
  tilt = rewards - policy / behaviour * (own - wrong[:, None])
  np.testing.assert_allclose(
    policy, _normalised(reference * np.exp(tilt / tau)), atol=1e-3
  )
  assert np.abs(policy - _normalised(weights)).max() > 0.02
