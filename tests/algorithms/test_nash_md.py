"""Nash-MD against the exact gradient of the game, and where it leads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts, tabular, types

TAU = 0.2


def sampling(**changes):
  settings = dict(samples=1, max_tokens=2, temperature=1.0, eos_id=1)
  return rollouts.Sampling(**{**settings, **changes})


def mixed(policy, reference, beta):
  """Tables of the token-level mixture: logits mix as log-probabilities do."""
  return jax.tree.map(lambda a, b: (1 - beta) * a + beta * b, policy, reference)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
def test_the_expected_gradient_is_that_of_the_game_against_the_mixture(
  table_world, beta, temperature
):
  world = table_world
  algorithm = algorithms.nash_md(
    world.model, sampling=sampling(temperature=temperature), tau=TAU, beta=beta
  )
  opponent = world.logprobs(
    mixed(world.policy, world.reference, beta), temperature
  )
  policy = world.logprobs(world.policy, temperature)
  rollout, indices = world.rollout(1, world.policy, temperature, opponents=1)
  got = world.expected_gradient(
    algorithm,
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    world.judged(indices, 1),
    jnp.exp(policy[indices[:, 0]] + opponent[indices[:, 1]]),
  )["policy"]
  want = world.game_gradient(opponent, tau=TAU, temperature=temperature)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


def test_several_responses_have_the_same_expected_gradient(table_world):
  world = table_world
  algorithm = algorithms.nash_md(
    world.model, sampling=sampling(samples=2), tau=TAU, beta=0.25
  )
  opponent = world.logprobs(mixed(world.policy, world.reference, 0.25))
  policy = world.logprobs(world.policy)
  rollout, indices = world.rollout(2, world.policy, opponents=2)
  chance = policy[indices[:, :2]].sum(-1) + opponent[indices[:, 2:]].sum(-1)
  got = world.expected_gradient(
    algorithm,
    {"policy": world.policy},
    {"reference": world.reference},
    rollout,
    world.judged(indices, 2),
    jnp.exp(chance),
  )["policy"]
  want = world.game_gradient(opponent, tau=TAU)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )


@pytest.mark.parametrize("beta", [0.0, 0.25])
def test_its_fixed_point_answers_its_mixture(one_token_world, beta):
  """Rock, paper, scissors, one token: descend the exact expected gradient."""
  world = one_token_world
  algorithm = algorithms.nash_md(
    world.model, sampling=sampling(max_tokens=1), tau=TAU, beta=beta
  )
  rollout, indices = world.rollout(1, world.policy, opponents=1)
  game = tabular.cyclic_game(3)
  feedback = types.Feedback(
    preferences=game[indices[:, :1, None], indices[:, None, 1:]]
  )
  slow = {"reference": world.reference}

  def loss(policy):
    batch = algorithm.rollouts.prepare(
      {"policy": policy}, slow, rollout, feedback
    )
    held = jax.lax.stop_gradient(policy)
    own = world.logprobs(held)
    other = world.logprobs(mixed(held, world.reference, beta))
    chance = jnp.exp(own[indices[:, 0]] + other[indices[:, 1]])

    def of_row(row):
      row = jax.tree.map(lambda a: a[None], row)
      return algorithm.loss({"policy": policy}, slow, row, None)[0].value()

    return jnp.sum(chance * jax.vmap(of_row)(batch))

  def descend(_, policy):
    return jax.tree.map(
      lambda a, g: a - 2.0 * g, policy, jax.grad(loss)(policy)
    )

  last = jax.jit(lambda: jax.lax.fori_loop(0, 1000, descend, world.policy))()
  policy, reference = world.logprobs(last), world.logprobs(world.reference)
  mixture = tabular.geometric_mixture(policy, reference, weight=beta)
  best = tabular.regularized_best_response(mixture, reference, game, tau=TAU)
  np.testing.assert_allclose(jnp.exp(policy), jnp.exp(best), atol=1e-4)
  # The mixture is the Nash policy of a game that is regularised more.
  nash = tabular.regularized_nash(reference, game, tau=TAU / (1 - beta))
  np.testing.assert_allclose(jnp.exp(mixture), jnp.exp(nash), atol=1e-4)
  assert jnp.max(jnp.abs(policy - reference)) > 0.1


@pytest.mark.parametrize("name", ["nash_md", "nash_ema", "best_response"])
def test_a_rollout_holds_the_policy_beside_its_opponent(table_world, name):
  """Frequencies of 4,000 of each, within five standard errors."""
  world, rows = table_world, 4000
  options = {"nash_md": {"beta": 0.5}, "nash_ema": {"decay": 0.5}}
  algorithm = algorithms.ALGORITHMS[name].factory(
    world.model, sampling=sampling(), tau=TAU, **options.get(name, {})
  )
  opponents = {
    "nash_md": mixed(world.policy, world.reference, 0.5),
    "nash_ema": world.other,
    "best_response": world.reference,
  }
  prompt = jax.tree.map(lambda a: jnp.repeat(a, rows, axis=0), world.prompt)
  rollout = jax.jit(algorithm.rollouts.sample)(
    {"policy": world.policy},
    {"reference": world.reference, "average": world.other},
    types.Prompts(prompt),
    jax.random.key(0),
  )
  for player, responses, params in (
    ("policy", rollout.responses, world.policy),
    ("opponent", rollout.opponents, opponents[name]),
  ):
    assert responses.ids.shape[1] == 1
    sampled = jax.tree.map(lambda a: a[:, 0], responses)
    expected = np.exp(world.logprobs(params))
    error = 5 * np.sqrt(expected * (1 - expected) / rows)
    for index, chance in enumerate(expected):
      response = jax.tree.map(lambda a, i=index: a[0, i], world.responses)
      same = (sampled.mask == response.mask[None]).all(-1)
      same &= ((sampled.ids == response.ids[None]) | ~sampled.mask).all(-1)
      assert abs(same.mean() - chance) < error[index], (player, index)


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"tau": 0.0}, "tau must be > 0, got 0.0"),
    ({"beta": 1.5}, r"beta must be in \[0, 1\], got 1.5"),
  ],
)
def test_settings_out_of_range_are_refused(table_world, changes, message):
  with pytest.raises(ValueError, match=message):
    algorithms.nash_md(
      table_world.model,
      sampling=sampling(),
      **{"tau": TAU, "beta": 0.5, **changes},
    )
