"""Identities between papers, as gradients: two losses, one update.

Policies are softmax logits over a few actions and expectations are exact.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses, tabular

ACTIONS = 5


BETA = 0.4


def _draw(seed):
  """Logits of a policy, log-probabilities of a reference, and rewards."""
  rng = np.random.default_rng(seed)
  logits, reference, rewards = (
    jnp.asarray(rng.normal(size=ACTIONS), jnp.float32) for _ in range(3)
  )
  return logits, jax.nn.log_softmax(reference), rewards


def _preference(seed):
  upper = np.triu(np.random.default_rng(seed).uniform(size=(ACTIONS,) * 2), 1)
  lower = (np.triu(np.ones_like(upper), 1) - upper).T
  return jnp.asarray(upper + lower + np.eye(ACTIONS) / 2, jnp.float32)


def _pairs(x):
  """x of the first and of the second action of every pair."""
  first = jnp.broadcast_to(x[:, None], (ACTIONS, ACTIONS))
  return first, first.T


def _expected(weight, loss):
  """The gradient of an expectation whose weights are held constant."""
  return lambda logits: jnp.sum(
    jax.lax.stop_gradient(weight(logits)) * loss(jax.nn.log_softmax(logits))
  )


def _policy(logits):
  return jax.nn.softmax(logits)


def _policy_pairs(logits):
  policy = jax.nn.softmax(logits)
  return policy[:, None] @ policy[None]


def _close(first, second):
  np.testing.assert_allclose(first, second, rtol=2e-5, atol=2e-6)
  assert np.abs(first).max() > 1e-3


@pytest.fixture(params=[0, 1, 2])
def world(request):
  return _draw(request.param)


def test_copg_on_labels_is_ipo(world):
  # Rewards +-1/4: grad CoPG = (beta / 2) grad IPO with tau = beta.
  logits, reference, _ = world
  quarter = jnp.full((ACTIONS, ACTIONS), 0.25)

  def copg(logits):
    arrays = (*_pairs(jax.nn.log_softmax(logits)), *_pairs(reference))
    return losses.copg_loss(*arrays, quarter, -quarter, beta=BETA)[1, 3]

  def ipo(logits):
    arrays = (*_pairs(jax.nn.log_softmax(logits)), *_pairs(reference))
    return losses.ipo_loss(*arrays, tau=BETA)[1, 3]

  _close(jax.grad(copg)(logits), BETA / 2 * jax.grad(ipo)(logits))


def test_two_sample_dro_is_copg(world):
  # Half the squared difference of two residuals: tau times grad CoPG.
  logits, reference, rewards = world

  def dro(logits):
    residual = rewards - BETA * (jax.nn.log_softmax(logits) - reference)
    return 0.5 * jnp.square(residual[0] - residual[2])

  def copg(logits):
    policy = jax.nn.log_softmax(logits)
    return losses.copg_loss(
      policy[0],
      policy[2],
      reference[0],
      reference[2],
      rewards[0],
      rewards[2],
      beta=BETA,
    )

  _close(jax.grad(dro)(logits), BETA * jax.grad(copg)(logits))


def test_two_responses_have_twice_the_batch_variance_of_their_difference(world):
  logits, reference, rewards = world
  picked = jnp.asarray([0, 2])

  def variance(logits):
    return losses.dro_batch_variance_loss(
      jax.nn.log_softmax(logits)[picked],
      reference[picked],
      rewards[picked],
      tau=BETA,
    ).sum()

  def squared(logits):
    residual = rewards - BETA * (jax.nn.log_softmax(logits) - reference)
    return 0.25 * jnp.square(residual[0] - residual[2])

  _close(jax.grad(variance)(logits), jax.grad(squared)(logits))


def test_copg_on_policy_is_twice_the_policy_gradient(world):
  logits, reference, rewards = world

  def objective(logits):
    policy = jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(policy) * (rewards - BETA * (policy - reference)))

  contrast = _expected(
    _policy_pairs,
    lambda policy: losses.copg_loss(
      *_pairs(policy), *_pairs(reference), *_pairs(rewards), beta=BETA
    ),
  )
  _close(jax.grad(contrast)(logits), -2 * jax.grad(objective)(logits))


@pytest.mark.parametrize("count", [2, 4])
def test_rloo_is_copg_on_a_group(world, count):
  logits, reference, rewards = world
  picked = jnp.asarray([4, 0, 2, 1][:count])

  def rloo(logits):
    policy = jax.nn.log_softmax(logits)[picked]
    regularized = rewards[picked] - BETA * (policy - reference[picked])
    return losses.reinforce_loss(
      policy, losses.rloo_advantages(jax.lax.stop_gradient(regularized))
    ).sum()

  def copg(logits):
    return losses.copg_group_loss(
      jax.nn.log_softmax(logits)[picked],
      reference[picked],
      rewards[picked],
      beta=BETA,
    )

  _close(jax.grad(rloo)(logits), jax.grad(copg)(logits))


def test_half_the_squared_log_ratio_has_the_gradient_of_the_kl_on_policy(world):
  logits, reference, _ = world

  def kl(logits):
    policy = jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(policy) * (policy - reference))

  def squared(weight):
    return _expected(
      weight, lambda policy: 0.5 * jnp.square(policy - reference)
    )

  _close(jax.grad(squared(_policy))(logits), jax.grad(kl)(logits))
  off_policy = jax.grad(squared(lambda logits: jnp.full(ACTIONS, 0.2)))(logits)
  assert np.abs(off_policy - jax.grad(kl)(logits)).max() > 0.01


def test_online_ipo_is_self_play(world):
  # grad = (4 / tau) times the gradient that Nash-MD descends with itself.
  logits, reference, _ = world
  preference = _preference(3)
  online = _expected(
    _policy_pairs,
    lambda policy: losses.online_ipo_loss(
      *_pairs(policy), *_pairs(reference), preference, tau=BETA
    ),
  )
  wins = preference @ _policy(logits)
  self_play = _expected(
    _policy,
    lambda policy: losses.nash_md_pg_loss(policy, reference, wins, tau=BETA),
  )
  _close(jax.grad(online)(logits), 4 / BETA * jax.grad(self_play)(logits))


def test_nash_md_ascends_the_regularized_preference(world):
  logits, reference, _ = world
  wins = _preference(4) @ jax.nn.softmax(reference)  # against any opponent

  def objective(logits):
    policy = jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(policy) * (wins - BETA * (policy - reference)))

  loss = _expected(
    _policy,
    lambda policy: losses.nash_md_pg_loss(policy, reference, wins, tau=BETA),
  )
  _close(jax.grad(loss)(logits), -jax.grad(objective)(logits))


def _nash(preference, reference, tau):
  """pi ~ reference exp(P(y beats pi) / tau), by damped iteration, float64."""
  preference = np.asarray(preference, np.float64)
  log_reference = np.asarray(reference, np.float64)
  policy = np.exp(log_reference)
  for _ in range(5000):
    target = log_reference + preference @ policy / tau
    policy = np.exp(0.9 * np.log(policy) + 0.1 * (target - target.max()))
    policy /= policy.sum()
  return policy


def test_ipo_against_itself_stands_still_at_the_regularized_nash(world):
  _, reference, _ = world
  preference = _preference(6)
  nash = jnp.asarray(np.log(_nash(preference, reference, BETA)), jnp.float32)
  online = _expected(
    _policy_pairs,
    lambda policy: losses.online_ipo_loss(
      *_pairs(policy), *_pairs(reference), preference, tau=BETA
    ),
  )
  assert np.abs(jax.grad(online)(nash)).max() < 1e-5
  # Offline, with other data, the minimum of IPO lies elsewhere.
  offline = _expected(
    lambda logits: jnp.full((ACTIONS, ACTIONS), 1 / ACTIONS**2),
    lambda policy: losses.online_ipo_loss(
      *_pairs(policy), *_pairs(reference), preference, tau=BETA
    ),
  )
  assert np.abs(jax.grad(offline)(nash)).max() > 1e-3


def test_the_value_of_dro_is_the_best_regularized_reward(world):
  _, reference, rewards = world
  value = BETA * jax.nn.logsumexp(reference + rewards / BETA)
  best = jax.nn.log_softmax(reference + rewards / BETA)
  for loss in (losses.dro_policy_loss, losses.dro_value_loss):
    residuals = loss(
      best, reference, rewards, jnp.broadcast_to(value, best.shape), tau=BETA
    )
    np.testing.assert_allclose(residuals, 0, atol=1e-10)
  regularized = jnp.sum(jnp.exp(best) * (rewards - BETA * (best - reference)))
  np.testing.assert_allclose(value, regularized, rtol=1e-5)


def _jbond(anchor, rewards, scores, beta, gamma):
  """The expected J-BOND loss over the policy and two samples of the anchor."""
  best = jnp.exp(tabular.best_of_n(anchor, scores, n=2))
  # For each response of the policy, each best anchor sample.
  grid = jnp.full((ACTIONS, ACTIONS), 0.0)

  def loss(policy):
    baseline = jnp.sum(jnp.exp(policy) * (rewards - policy + anchor))
    per_pair = losses.jbond_loss(
      grid + policy[:, None],
      grid + anchor[:, None],
      grid + policy[None],
      grid + rewards[:, None],
      grid + baseline,
      beta=beta,
      gamma=gamma,
    )
    return per_pair @ best

  return _expected(_policy, loss)


def test_jbond_descends_both_kls_to_the_best_of_two_and_the_anchors(
  world,
):
  logits, anchor, rewards = world
  scores = jnp.asarray([3.0, 1.0, 1.0, 5.0, 2.0])
  best = jnp.exp(tabular.best_of_n(anchor, scores, n=2))

  def objective(logits):
    policy = jax.nn.log_softmax(logits)
    kl = jnp.sum(jnp.exp(policy) * (policy - anchor))
    backward = kl - jnp.sum(jnp.exp(policy) * rewards)
    return -0.3 * jnp.sum(best * policy) + 0.7 * backward + 0.2 * kl

  expected = _jbond(anchor, rewards, scores, beta=0.7, gamma=0.2)
  _close(jax.grad(expected)(logits), jax.grad(objective)(logits))


def test_jbond_stands_still_at_the_best_of_two(world):
  _, anchor, _ = world
  scores = jnp.asarray([3.0, 1.0, 1.0, 5.0, 2.0])
  rewards = tabular.bond_rewards(anchor, scores, n=2)
  best = tabular.best_of_n(anchor, scores, n=2)
  expected = _jbond(anchor, rewards, scores, beta=0.7, gamma=0.0)
  assert np.abs(jax.grad(expected)(best)).max() < 1e-6
  assert np.abs(jax.grad(expected)(anchor)).max() > 0.01


def test_the_penalty_of_grpo_has_the_gradient_of_the_forward_kl(world):
  # On responses of one token: minus the policy gradient of the advantages, and
  # beta times the gradient of KL(reference || policy).
  logits, reference, rewards = world

  def grpo(policy):
    return losses.grpo_loss(
      policy[:, None],
      jax.lax.stop_gradient(policy)[:, None],
      reference[:, None],
      rewards,
      clip_low=0.2,
      clip_high=0.2,
      beta=BETA,
    )[:, 0]

  def objective(logits):
    policy = jax.nn.log_softmax(logits)
    kl = jnp.sum(jnp.exp(reference) * (reference - policy))
    return jnp.sum(jnp.exp(policy) * rewards) - BETA * kl

  _close(
    jax.grad(_expected(_policy, grpo))(logits), -jax.grad(objective)(logits)
  )
