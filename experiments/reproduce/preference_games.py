"""NLHF's worked examples: what a reward model cannot say of preferences.

Munos et al., 2023 (arXiv:2312.00886, v4), worked examples.

    python experiments/reproduce/preference_games.py

What it shows: dice that beat each other in a circle have no best response but a
uniform Nash policy; with three kinds of raters the Nash policy moves a little
where the optimum of a Bradley-Terry reward jumps from one response to another;
and with constrained policies the best mean reward loses to another policy,
though the rewards are a true Elo model.

Hardware: one CPU core, about 10 s.
"""

import fractions
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import page
import style
from matplotlib.figure import Figure

from alignment_jax import tabular

EPSILONS = np.linspace(-0.2, 0.2, 81)
TAU = 0.002

RESPONSES = (
  ("y1", style.BLUE, "-"),
  ("y2", style.ORANGE, "--"),
  ("y3", style.GREEN, ":"),
)


def reproduce() -> page.Reproduction:
  with jax.enable_x64(True):
    dice = dice_rows()
    raters, policies = rater_rows()
    elo, curves = elo_rows()
  return page.Reproduction(
    title="NLHF: preferences that no reward explains",
    source="Munos et al., 2023 (arXiv:2312.00886, v4), worked examples",
    rows=[*dice, *raters, *elo],
    figures={"preference_games": _figure(policies, curves)},
    remarks=(
      "Nash policies are from linear programming, rewards from a Bradley-Terry"
      " fit over a uniform behavior policy; all in float64. The examples were"
      " read in write-ups of the paper, so they count as uncertain unless their"
      " numbers were computed before as well. The middle panel is the optimum"
      f" of the fitted reward with tau {TAU} and a uniform reference; at"
      " epsilon = 0 all three rewards are equal."
    ),
  )


def dice_rows() -> list[page.Row]:
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
  # Which die wins is read off: the paper's order is not the cycle's.
  wins = np.where(circle > 0.5, circle, 1 - circle)
  return [
    page.check(
      "dice: win rates round the circle",
      wins,
      published="5/9 each, in a cycle",
      measured=", ".join(_fraction(win) for win in wins),
      equals=5 / 9,
      tolerance=1e-9,
      of="5/9",
      also=[
        page.criterion(
          len({*(circle > 0.5)}), name="directions of the cycle", equals=1
        )
      ],
      certain=False,
    ),
    page.check(
      "dice: Nash policy",
      nash,
      published="uniform",
      measured=page.numbers(nash, 4),
      equals=1 / 3,
      tolerance=1e-9,
      of="uniform",
      certain=False,
    ),
    page.check(
      "dice: Bradley-Terry rewards, nats",
      np.ptp(fit),
      published="no reward tells the dice apart",
      measured=page.numbers(np.abs(fit)),
      name="spread",
      below=1e-9,
      certain=False,
    ),
    page.check(
      "dice: a Nash-MD step (mixture, win rates, next policy)",
      step_error,
      published="(0.47273, ...), (0.50785, ...), (0.49092, ...)",
      measured=f"largest difference {page.number(step_error)}",
      at_most=5e-6,
      where="the digits printed",
    ),
  ]


def rater_rows() -> tuple[list[page.Row], dict[str, np.ndarray]]:
  """The claims, and the policies over EPSILONS that the figure shows."""
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
  rows = [
    page.check(
      "raters: Nash against (1/3 + e/2, 1/3 + e/2, 1/3 - e)",
      np.abs(nash - formula).max(),
      published="equal",
      name="error",
      below=1e-9,
      where="81 values of e in [-0.2, 0.2]",
    ),
    page.check(
      "raters: win rate of each response against Nash",
      np.abs(even - 0.5).max(),
      published="exactly 1/2",
      name="error",
      below=1e-9,
    ),
    page.check(
      "raters: response with the highest Bradley-Terry reward",
      best[below] + 1,
      published="jumps from y2 to y1 at e = 0",
      measured=(
        f"y{best[below][-1] + 1} at e = {-step:g}, y{best[above][0] + 1} at"
        f" {step:g}"
      ),
      name="y",
      equals=2,
      where="all e < 0",
      also=[
        page.criterion(best[above] + 1, name="y", equals=1, where="all e > 0")
      ],
      certain=False,
    ),
    page.check(
      f"raters: largest move of Nash per {step:g} of e, L1",
      move,
      published="continuous",
      at_most=2 * step,
      tolerance=1e-9,
      of="the slope of the formula",
      certain=False,
    ),
  ]
  return rows, {"nash": nash, "optimum": optimum}


def elo_rows() -> tuple[list[page.Row], dict[str, np.ndarray]]:
  """The claims, and the curves over shares that the figure shows."""
  rewards = tabular.elo_example()
  game = tabular.bradley_terry(rewards)
  shares = jnp.linspace(0, 1 / 3, 201)
  family = tabular.tied_policies(shares)
  count = len(shares)

  def against(policy: jax.Array) -> np.ndarray:
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
  # At most 0 means that nothing of the family beats it: its equilibrium.
  exploited = on_third.max() - 0.5
  rows = [
    page.check(
      "Elo: policy of the highest mean reward, pi(y1) = 2 pi(y2)",
      np.exp(best_reward),
      published="(2/3, 1/3, 0)",
      equals=[2 / 3, 1 / 3, 0],
      tolerance=1e-9,
      certain=False,
    ),
    page.check(
      "Elo: P((0, 0, 1) beats it)",
      lost,
      published="50/99",
      measured=f"{page.number(lost, 6)} = {_fraction(lost)}",
      equals=50 / 99,
      tolerance=1e-9,
      of="50/99",
      certain=False,
    ),
    page.check(
      "Elo: what the family wins against (0, 0, 1) beyond 1/2",
      exploited,
      published="0: it is optimal for the win rate",
      measured=page.number(max(exploited, 0.0)),
      at_most=1e-9,
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


def _fraction(value: float) -> str:
  return str(fractions.Fraction(float(value)).limit_denominator(1000))


def _figure(
  policies: Mapping[str, np.ndarray], curves: Mapping[str, np.ndarray]
) -> Figure:
  figure, axes = style.panels(3, width=13.5, height=4.2)
  for axis, name, title in (
    (axes[0], "nash", "The Nash policy moves smoothly with the raters"),
    (axes[1], "optimum", "The Bradley-Terry optimum jumps"),
  ):
    for i, (label, color, dash) in enumerate(RESPONSES):
      axis.plot(EPSILONS, policies[name][:, i], dash, color=color, label=label)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("epsilon: a share 1/3 - epsilon of raters is of kind 1")
    axis.set_ylabel("probability of the response")
    axis.set_title(title)
  axes[0].legend(loc="upper center", ncols=3, title="y1 and y2 coincide")
  axes[1].legend(loc="center right")

  shares = curves["shares"]
  wins = axes[2]
  wins.plot(
    shares,
    curves["on_third"],
    color=style.BLUE,
    label="win rate against (0, 0, 1)",
  )
  wins.plot(
    shares,
    curves["on_reward"],
    "--",
    color=style.ORANGE,
    label="win rate against (2/3, 1/3, 0)",
  )
  wins.axhline(0.5, color=style.GREY, linewidth=0.8, linestyle=":")
  wins.set_xlabel("s, policy (2 s, s, 1 - 3 s)")
  wins.set_ylabel("win rate")
  wins.set_title("Elo: more reward, fewer wins")
  reward = wins.twinx()
  reward.grid(visible=False)
  reward.plot(
    shares, curves["mean"], "-.", color=style.GREEN, label="mean reward (right)"
  )
  reward.set_ylabel("mean reward, nats", color=style.GREEN)
  reward.set_ylim(top=0.752)
  wins.set_ylim(top=0.508)
  lines = [*wins.get_lines()[:2], *reward.get_lines()]
  reward.legend(lines, [line.get_label() for line in lines], loc="upper center")
  return figure


if __name__ == "__main__":
  page.show(reproduce)
