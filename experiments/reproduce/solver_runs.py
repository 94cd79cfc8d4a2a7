"""The runs of `nash_solvers`: random games, a cyclic one, losses as steps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax import losses, tabular

ACTIONS, GAMES = 6, 64
TAU, BETAS = 0.1, (0.1, 0.5)
PROX_STEPS, INPO_STEPS, STEPS = 120, 100, 2000
SPPO_RATE = 0.1


def random_worlds(key: jax.Array) -> tuple[jax.Array, jax.Array]:
  games = tabular.random_game(key, actions=ACTIONS, batch=(GAMES,))
  shape = (GAMES, ACTIONS)
  return games, jnp.full(shape, -jnp.log(float(ACTIONS)))


def cyclic_world() -> tuple[jax.Array, jax.Array]:
  return tabular.cyclic_game(3), jnp.log(jnp.array([0.5, 0.3, 0.2]))


@jax.jit
def mirror_prox(key: jax.Array) -> dict[str, jax.Array]:
  """KL to pi*_beta: of mirror prox, of Nash-MD; [betas, games, steps + 1]."""
  games, reference = random_worlds(key)

  def one(beta: jax.Array) -> tuple[jax.Array, jax.Array]:
    nash = tabular.regularized_nash(reference, games, tau=beta)

    def metric(iterate: tabular.Iterate) -> jax.Array:
      return tabular.kl(nash, iterate.policy)

    first = tabular.kl(nash, reference)[:, None]
    prox = tabular.solve_mirror_prox(
      reference, games, tau=beta, steps=PROX_STEPS, metric=metric
    ).trajectory.T
    # Mirror prox asks for the preferences twice in a step.
    nash_md = tabular.solve_nash_md(
      reference, games, tau=beta, steps=2 * PROX_STEPS, metric=metric
    ).trajectory.T
    return (
      jnp.concatenate([first, prox], axis=1),
      jnp.concatenate([first, nash_md], axis=1),
    )

  prox, nash_md = jax.vmap(one)(jnp.array(BETAS))
  return {"prox": prox, "nash_md": nash_md}


@jax.jit
def inpo_ends(key: jax.Array) -> dict[str, jax.Array]:
  """KL to pi*_tau at eta = 3 tau, 10 tau, after INPO_STEPS and STEPS.

  In random games, [2, games], and on the cycle, [2].
  """

  def last(
    reference: jax.Array, games: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    nash = tabular.regularized_nash(reference, games, tau=TAU)

    def one(eta: jax.Array) -> tuple[jax.Array, jax.Array]:
      path = tabular.solve_inpo(
        reference,
        games,
        eta=eta,
        tau=TAU,
        steps=STEPS,
        metric=lambda iterate: tabular.kl(nash, iterate.policy),
      ).trajectory
      return path[INPO_STEPS - 1], path[-1]

    return jax.vmap(one)(jnp.array([3 * TAU, 10 * TAU]))

  games, reference = random_worlds(key)
  game, cycle_reference = cyclic_world()
  soon, late = last(reference, games)
  return {
    "soon": soon,
    "late": late,
    "cycle": last(cycle_reference, game)[1],
  }


@jax.jit
def on_the_cycle() -> dict[str, Any]:
  """KL(pi*_tau, .) of the policy and of the average, [2, steps] per solver.

  And how far one more step would move two of them, in nats.
  """
  game, reference = cyclic_world()
  nash = tabular.regularized_nash(reference, game, tau=TAU)

  def metric(iterate: tabular.Iterate) -> jax.Array:
    return jnp.stack(
      [tabular.kl(nash, iterate.policy), tabular.kl(nash, iterate.average)]
    )

  common = {"tau": TAU, "steps": STEPS, "metric": metric}
  runs = {
    "mirror prox": tabular.solve_mirror_prox(reference, game, **common),
    "mirror descent, eta 1": tabular.solve_mirror_descent(
      reference, game, eta=1.0, **common
    ),
    "mirror descent, eta 5": tabular.solve_mirror_descent(
      reference, game, eta=5.0, **common
    ),
    "Nash-MD, eta 5": tabular.solve_nash_md(reference, game, eta=5.0, **common),
    "Nash-MD, eta 2 / (tau (t + 2))": tabular.solve_nash_md(
      reference, game, **common
    ),
    "self-play gradient, rate 0.5": tabular.solve_self_play(
      reference, game, learning_rate=0.5, **common
    ),
  }
  # Does the last step still move?
  moves = jnp.stack(
    [
      jnp.abs(step(runs[name].policy) - runs[name].policy).max()
      for name, step in (
        (
          "mirror descent, eta 5",
          lambda policy: tabular.mirror_descent_step(
            policy, reference, game, eta=5.0, tau=TAU
          ),
        ),
        (
          "Nash-MD, eta 5",
          lambda policy: tabular.nash_md_step(
            policy, reference, game, eta=5.0, tau=TAU
          ),
        ),
      )
    ]
  )
  curves = {name: run.trajectory.T for name, run in runs.items()}
  return {"curves": curves, "moves": moves}


@jax.jit
def sppo_on_the_cycle() -> dict[str, jax.Array]:
  """Exploitability of the last policy and of the average: [2, steps]."""
  game, reference = cyclic_world()

  def metric(iterate: tabular.Iterate) -> jax.Array:
    return jnp.stack(
      [
        tabular.exploitability(iterate.policy, game),
        tabular.exploitability(iterate.average, game),
      ]
    )

  path = tabular.solve_sppo(
    reference, game, eta=SPPO_RATE, steps=STEPS, metric=metric
  ).trajectory.T
  return {"path": path, "start": tabular.exploitability(reference, game)}


@jax.jit
def sppo_with_rewards(key: jax.Array) -> dict[str, jax.Array]:
  """Win rate against the reference over 10 steps: [games, 11]; the best."""
  rewards = jax.random.normal(key, (GAMES, ACTIONS))
  games = tabular.bradley_terry(rewards)
  _, reference = random_worlds(key)
  path = tabular.solve_sppo(
    reference,
    games,
    eta=5.0,
    steps=10,
    metric=lambda iterate: tabular.win_rate(iterate.policy, reference, games),
  ).trajectory.T
  start = jnp.full((GAMES, 1), 0.5)
  return {
    "path": jnp.concatenate([start, path], axis=1),
    "best": tabular.win_rates(reference, games).max(-1),
  }


def sppo_bound() -> np.ndarray:
  """Of the average's exploitability: log(1 / min pi_0) / (eta T) + eta / 8."""
  steps = np.arange(1, STEPS + 1)
  return np.log(1 / 0.2) / (SPPO_RATE * steps) + SPPO_RATE / 8


@jax.jit
def loss_gaps(key: jax.Array) -> dict[str, jax.Array]:
  """How far the losses are from the steps that they stand for."""
  game_key, policy_key, reference_key = jax.random.split(key, 3)
  game = tabular.random_game(game_key, actions=ACTIONS)
  policy = jax.nn.log_softmax(jax.random.normal(policy_key, (ACTIONS,)))
  reference = jax.nn.log_softmax(jax.random.normal(reference_key, (ACTIONS,)))
  first, second = (axis.ravel() for axis in jnp.indices((ACTIONS, ACTIONS)))
  weights = jnp.exp(policy[first] + policy[second])
  wins = game[first, second]
  eta = 0.3

  def inpo(logits: jax.Array) -> jax.Array:
    new = jax.nn.log_softmax(logits)

    def pair(chosen: jax.Array, rejected: jax.Array) -> jax.Array:
      tables = (new, reference, policy)
      values = [table[side] for table in tables for side in (chosen, rejected)]
      return losses.inpo_loss(*values, eta=eta, tau=TAU)

    each = wins * pair(first, second) + (1 - wins) * pair(second, first)
    return jnp.sum(weights * each)

  gains = tabular.win_rates(policy, game)

  def dno(logits: jax.Array) -> jax.Array:
    new = jax.nn.log_softmax(logits)
    each = losses.dno_loss(
      new[first],
      new[second],
      policy[first],
      policy[second],
      gains[first],
      gains[second],
      eta=eta,
    )
    return jnp.sum(weights * each)

  def online_ipo(logits: jax.Array) -> jax.Array:
    new = jax.nn.log_softmax(logits)
    each = losses.online_ipo_loss(
      new[first],
      new[second],
      reference[first],
      reference[second],
      wins,
      tau=TAU,
    )
    return jnp.sum(weights * each)

  inpo_step = tabular.inpo_step(policy, reference, game, eta=eta, tau=TAU)
  dno_step = tabular.sppo_step(policy, game, eta=1 / eta)
  play = tabular.self_play_gradient(policy, policy, reference, game, tau=TAU)
  return {
    "inpo": jnp.abs(jax.grad(inpo)(inpo_step)).max(),
    "dno": jnp.abs(jax.grad(dno)(dno_step)).max(),
    "online_ipo": jnp.abs(jax.grad(online_ipo)(policy) + 4 / TAU * play).max(),
  }
