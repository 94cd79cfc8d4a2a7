"""NLHF's worked examples: what a reward model cannot say of preferences.

Munos et al., 2023 (arXiv:2312.00886, v4), worked examples.

    python experiments/reproduce/preference_games.py

To be seen: dice that beat each other in a circle have no best answer but a
uniform Nash policy; with three kinds of raters the Nash policy moves a little
where the optimum of a Bradley-Terry reward jumps from one answer to another;
and with constrained policies the best mean reward loses to another policy,
though the rewards are a true Elo model.

Hardware: one CPU core, about 10 s.
"""

import fractions

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import page

from alignment_jax import tabular

EPSILONS = np.linspace(-0.2, 0.2, 81)
TAU = 0.002

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
ANSWERS = (("y1", BLUE, "-"), ("y2", ORANGE, "--"), ("y3", GREEN, ":"))


def reproduce() -> page.Reproduction:
  with jax.enable_x64(True):
    dice, raters, elo = dice_rows(), rater_rows(), elo_rows()
  return page.Reproduction(
    title="NLHF: preferences that no reward explains",
    source="Munos et al., 2023 (arXiv:2312.00886, v4), worked examples",
    rows=[*dice[0], *raters[0], *elo[0]],
    figures={"preference_games": figure(raters[1], elo[1])},
    remarks=(
      "Nash policies are from linear programming, rewards from a Bradley-Terry"
      " fit over a uniform behavior policy; all in float64. The examples were"
      " read in write-ups of the paper, so they count as uncertain unless their"
      " numbers were computed before as well. The middle panel is the optimum"
      f" of the fitted reward with tau {TAU} and a uniform reference; at"
      " epsilon = 0 all three rewards are equal."
    ),
  )


def dice_rows():
  game = tabular.dice_example()
  nash = tabular.linear_program_nash(np.asarray(game)).policy
  circle = np.asarray(game)[[0, 1, 2], [1, 2, 0]]
  uniform = jnp.log(jnp.full(3, 1 / 3))
  fit = np.asarray(tabular.bradley_terry_fit(game, uniform))

  policy = jnp.log(jnp.array([0.6, 0.3, 0.1]))
  settings = {"eta": 5.0, "tau": 0.1}
  mixture = tabular.geometric_mixture(policy, uniform, weight=0.5)
  step = [
    jnp.exp(mixture),
    tabular.win_rates(mixture, game),
    jnp.exp(tabular.nash_md_step(policy, uniform, game, **settings)),
  ]
  expected = [
    (0.47273, 0.33427, 0.19299),
    (0.50785, 0.48446, 0.50769),
    (0.49092, 0.30882, 0.20026),
  ]
  step_error = np.abs(np.array(step) - np.array(expected)).max()
  # Which die wins is read off: the paper's order is not the circle's.
  wins = np.where(circle > 0.5, circle, 1 - circle)
  cyclic = len({*(circle > 0.5)}) == 1
  return [
    page.Row(
      quantity="dice: win rates round the circle",
      published="5/9 each, in a cycle",
      measured=", ".join(_fraction(win) for win in wins),
      criterion="5/9 to 1e-9, one way round",
      holds=bool(cyclic and np.abs(wins - 5 / 9).max() < 1e-9),
      certain=False,
    ),
    page.Row(
      quantity="dice: Nash policy",
      published="uniform",
      measured=page.numbers(nash, 4),
      criterion="uniform to 1e-9",
      holds=bool(np.abs(nash - 1 / 3).max() < 1e-9),
      certain=False,
    ),
    page.Row(
      quantity="dice: Bradley-Terry rewards, nats",
      published="no reward tells the dice apart",
      measured=page.numbers(np.abs(fit)),
      criterion="equal to 1e-9",
      holds=bool(np.ptp(fit) < 1e-9),
      certain=False,
    ),
    page.Row(
      quantity="dice: a Nash-MD step (mixture, win rates, next policy)",
      published="(0.47273, ...), (0.50785, ...), (0.49092, ...)",
      measured=f"largest difference {page.number(step_error)}",
      criterion="5e-6, the digits printed",
      holds=bool(step_error <= 5e-6),
    ),
  ], None


def rater_rows():
  games = jnp.stack([tabular.three_raters(e) for e in EPSILONS])
  nash = tabular.linear_program_nash(np.asarray(games)).policy
  formula = np.stack(
    [1 / 3 + EPSILONS / 2, 1 / 3 + EPSILONS / 2, 1 / 3 - EPSILONS], axis=-1
  )
  uniform = jnp.log(jnp.full(games.shape[:-1], 1 / 3))
  rewards = np.asarray(jax.jit(tabular.bradley_terry_fit)(games, uniform))
  optimum = np.asarray(
    jnp.exp(tabular.tilted(uniform, jnp.asarray(rewards), tau=TAU))
  )
  even = np.asarray(tabular.win_rates(jnp.log(nash), games))
  best = rewards.argmax(-1)
  below, above = EPSILONS < -1e-9, EPSILONS > 1e-9
  move = np.abs(np.diff(nash, axis=0)).sum(-1).max()
  step = EPSILONS[1] - EPSILONS[0]
  jumps = bool((best[below] == 1).all() and (best[above] == 0).all())
  rows = [
    page.Row(
      quantity="raters: Nash against (1/3 + e/2, 1/3 + e/2, 1/3 - e)",
      published="equal",
      measured=f"error {page.number(np.abs(nash - formula).max())}",
      criterion="error < 1e-9, 81 values of e in [-0.2, 0.2]",
      holds=bool(np.abs(nash - formula).max() < 1e-9),
    ),
    page.Row(
      quantity="raters: win rate of each answer against Nash",
      published="exactly 1/2",
      measured=f"error {page.number(np.abs(even - 0.5).max())}",
      criterion="error < 1e-9",
      holds=bool(np.abs(even - 0.5).max() < 1e-9),
    ),
    page.Row(
      quantity="raters: answer with the highest Bradley-Terry reward",
      published="jumps from y2 to y1 at e = 0",
      measured=(
        f"y{best[below][-1] + 1} at e = {-step:g}, y{best[above][0] + 1} at"
        f" {step:g}"
      ),
      criterion="y2 for all e < 0, y1 for all e > 0",
      holds=jumps,
      certain=False,
    ),
    page.Row(
      quantity=f"raters: largest move of Nash per {step:g} of e, L1",
      published="continuous",
      measured=page.number(move),
      criterion=f"<= {2 * step:g}, the slope of the formula",
      holds=bool(move <= 2 * step + 1e-9),
      certain=False,
    ),
  ]
  return rows, {"nash": nash, "optimum": optimum}


def elo_rows():
  rewards = tabular.elo_example()
  game = tabular.bradley_terry(rewards)
  shares = jnp.linspace(0, 1 / 3, 201)
  family = tabular.tied_policies(shares)
  count = len(shares)

  def against(policy):
    opponent = jnp.broadcast_to(policy, family.shape)
    return np.asarray(
      tabular.win_rate(family, opponent, jnp.broadcast_to(game, (count, 3, 3)))
    )

  mean = np.asarray(
    tabular.expected(family, jnp.broadcast_to(rewards, family.shape))
  )
  best_reward, third = family[mean.argmax()], family[0]
  on_reward, on_third = against(best_reward), against(third)
  lost = float(tabular.win_rate(third, best_reward, game))
  # Nothing of the family wins against it: an equilibrium of the family.
  exploited = on_third.max() - 0.5
  rows = [
    page.Row(
      quantity="Elo: policy of the highest mean reward, pi(y1) = 2 pi(y2)",
      published="(2/3, 1/3, 0)",
      measured=page.numbers(np.exp(best_reward)),
      criterion="equal to 1e-9",
      holds=bool(np.abs(np.exp(best_reward) - [2 / 3, 1 / 3, 0]).max() < 1e-9),
      certain=False,
    ),
    page.Row(
      quantity="Elo: P((0, 0, 1) beats it)",
      published="50/99",
      measured=f"{page.number(lost, 6)} = {_fraction(lost)}",
      criterion="50/99 to 1e-9",
      holds=bool(abs(lost - 50 / 99) < 1e-9),
      certain=False,
    ),
    page.Row(
      quantity="Elo: what the family wins against (0, 0, 1) beyond 1/2",
      published="0: it is optimal for the win rate",
      measured=page.number(max(exploited, 0.0)),
      criterion="<= 1e-9",
      holds=bool(exploited <= 1e-9),
      certain=False,
    ),
  ]
  curves = {
    "shares": np.asarray(shares),
    "mean": mean,
    "on_reward": on_reward,
    "on_third": on_third,
  }
  return rows, curves


def _fraction(value):
  return str(fractions.Fraction(float(value)).limit_denominator(1000))


def figure(raters, elo):
  figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.2), layout="constrained")
  for axis, name, title in (
    (axes[0], "nash", "Nash moves a little with the raters"),
    (axes[1], "optimum", "The Bradley-Terry optimum jumps"),
  ):
    for i, (label, color, dash) in enumerate(ANSWERS):
      axis.plot(
        EPSILONS,
        raters[name][:, i],
        dash,
        color=color,
        label=label,
        linewidth=2,
      )
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("epsilon: raters of kind 1 are 1/3 - epsilon")
    axis.set_ylabel("probability of the answer")
    axis.set_title(title)
  axes[0].legend(loc="upper center", ncols=3)
  axes[1].legend(loc="center right")

  shares = elo["shares"]
  axes[2].plot(
    shares, elo["on_third"], color=BLUE, label="win rate against (0, 0, 1)"
  )
  axes[2].plot(
    shares,
    elo["on_reward"],
    "--",
    color=ORANGE,
    label="win rate against (2/3, 1/3, 0)",
  )
  axes[2].axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
  axes[2].set_xlabel("s, policy (2 s, s, 1 - 3 s)")
  axes[2].set_ylabel("win rate")
  axes[2].set_title("Elo: more reward, fewer wins")
  reward = axes[2].twinx()
  reward.plot(shares, elo["mean"], "-.", color=GREEN, label="mean reward")
  reward.set_ylabel("mean reward, nats", color=GREEN)
  handles = axes[2].get_lines()[:2] + reward.get_lines()
  reward.set_ylim(top=0.752)
  axes[2].set_ylim(top=0.508)
  reward.legend(
    handles, [line.get_label() for line in handles], loc="upper center"
  )
  return figure


if __name__ == "__main__":
  page.show(reproduce)
