"""Nash-MD: the last iterate stays under its bound, on random games.

Munos et al., 2023 (arXiv:2312.00886, v4), section 6, theorem 1.

    python experiments/reproduce/nash_md_bound.py

With the step sizes 2 / (tau (t + 2)) the bound is KL(pi*_tau, pi_T) <= 8 /
(tau^2 (T + 1)), whatever the game. What it shows: no policy of any game ever
above its line, most far below. With a fixed step size eta the method stops
short of pi*_tau, at a KL that falls as eta^2.

Hardware: one CPU core, about 20 s.
"""

from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import page
import style
from matplotlib.figure import Figure

from alignment_jax import tabular

SIZES = (3, 10, 50)
TAUS = (0.05, 0.1, 1.0)
STEPS, GAMES = 2000, 16
# The bias of a fixed step size; both in the order of the published numbers.
RATES = (1.0, 0.5, 0.25, 0.1, 0.05)
PUBLISHED_BIAS = (2.8e-4, 6.9e-5, 1.7e-5, 2.7e-6, 6.9e-7)
BIAS_TAU, BIAS_ACTIONS, BIAS_GAMES = 0.1, 6, 64

COLORS = {0.05: style.ORANGE, 0.1: style.GREEN, 1.0: style.BLUE}
DASHES = {3: ":", 10: "--", 50: "-"}


def reproduce() -> page.Reproduction:
  with jax.enable_x64(True):
    key = jax.random.key(0)
    runs = {
      size: jax.device_get(on_games(jax.random.fold_in(key, size), size))
      for size in SIZES
    }
    bias, short = (np.asarray(x) for x in fixed_rates(jax.random.key(1)))
  # [sizes, taus, games, steps], KL(pi*_tau, pi_T) for T = 1, 2, ...
  kl = np.stack([runs[size]["kl"] for size in SIZES])
  taus = np.array(TAUS)[:, None, None]
  bound = 8 / (taus**2 * (np.arange(1, STEPS + 1) + 1))
  return page.Reproduction(
    title="Nash-MD: bound of the last iterate",
    source="Munos et al., 2023 (arXiv:2312.00886, v4), section 6, theorem 1",
    rows=[*_bound_rows(runs, kl, bound), *_bias_rows(bias)],
    figures={"nash_md_bound": _figure(kl, bound, bias)},
    remarks=(
      f"{GAMES} games with uniform random preferences for each number of"
      " responses, random references (logits N(0, 1)), start at the reference,"
      " float64. pi*_tau is from mirror prox; what a best response still wins"
      " against it is at most"
      f" {page.number(max(run['doubt'].max() for run in runs.values()))}."
      " The bound holds for any game and is loose on these. Fixed eta:"
      f" {BIAS_GAMES} games of {BIAS_ACTIONS} responses, tau {BIAS_TAU},"
      " uniform reference; the last step of 2000 moves the policy by at most"
      f" {page.number(short.max())} nats. Our source, an independent NumPy"
      " program, had one game and names neither it nor its reference, so those"
      " two rows count as uncertain; its numbers are the crosses in the figure."
    ),
  )


def _bound_rows(
  runs: Mapping[int, Mapping[str, np.ndarray]],
  kl: np.ndarray,
  bound: np.ndarray,
) -> Iterator[page.Row]:
  ratio = kl / bound
  yield page.check(
    "KL(pi*_tau, pi_T) / bound, worst of T = 1..2000",
    ratio,
    published="<= 1 (theorem 1)",
    measured=", ".join(
      f"{page.number(ratio[:, i].max())} (tau {tau:g})"
      for i, tau in enumerate(TAUS)
    ),
    name="ratio",
    at_most=1,
    where="all games, n = 3, 10, 50",
  )
  taus = np.array(TAUS)[:, None, None]
  before, after = kl[..., :-1], kl[..., 1:]
  rates = 2 / (taus * (np.arange(1, STEPS) + 2))
  excess = after - (1 - rates * taus) * before - 2 * rates**2
  yield page.check(
    "violations of the one-step contraction",
    excess,
    published="none: KL' <= (1 - eta tau) KL + 2 eta^2",
    measured=f"{int((excess > 1e-12).sum())} of {excess.size}",
    name="KL' beyond it",
    at_most=0,
    tolerance=1e-12,
  )
  start = max(run["start"].max() for run in runs.values())
  yield page.check(
    "pi_1 from two different pi_0",
    start,
    published="equal, since eta_0 tau = 1",
    measured=f"differ by {page.number(start)} nats",
    below=1e-9,
    where="nats",
  )


def _bias_rows(bias: np.ndarray) -> Iterator[page.Row]:
  yield page.check(
    "fixed eta = 1, KL to pi*_tau after 2000 steps, nats",
    bias[0],
    published="2.8e-4 in one game (earlier check)",
    measured=(
      f"median {page.number(np.median(bias[0]))}, worst"
      f" {page.number(bias[0].max())};"
      f" {int((bias[0] < 1e-3).sum())} of {BIAS_GAMES} < 1e-3"
    ),
    name="",
    below=1e-3,
    where="in all games",
    certain=False,
  )
  halvings = bias[[0, 1, 3]] / bias[[1, 2, 4]]
  yield page.check(
    "ratio of these KLs when eta is halved",
    halvings,
    published="4: the bias falls as eta^2",
    measured=(
      f"median {page.numbers(np.median(halvings, axis=1), 2)}, all in"
      f" {halvings.min():.2f} to {halvings.max():.2f}"
    ),
    name="",
    equals=4,
    tolerance=0.5,
    where="in all games, eta 1, 0.5, 0.1",
    certain=False,
  )


def on_games(key: jax.Array, size: int) -> dict[str, jax.Array]:
  """Nash-MD with the paper's step sizes on random games with `size` responses.

  Returns:
    `kl`: KL(pi*_tau, pi_T), [taus, games, steps]; `start`: what pi_1 owes to
    pi_0, in nats; `doubt`: what is left of the yardstick's exploitability.
  """

  @jax.jit
  def run(key: jax.Array) -> dict[str, jax.Array]:
    game_key, reference_key, start_key = jax.random.split(key, 3)
    games = tabular.random_game(game_key, actions=size, batch=(GAMES,))
    shape = (GAMES, size)
    reference = jax.nn.log_softmax(jax.random.normal(reference_key, shape))
    other = jax.nn.log_softmax(jax.random.normal(start_key, shape))

    def one(tau: jax.Array) -> dict[str, jax.Array]:
      nash = tabular.regularized_nash(reference, games, tau=tau)
      doubt = tabular.regularized_exploitability(
        nash, reference, games, tau=tau
      )
      path = tabular.solve_nash_md(
        reference,
        games,
        tau=tau,
        steps=STEPS,
        metric=lambda iterate: tabular.kl(nash, iterate.policy),
      ).trajectory
      first, second = (
        tabular.nash_md_step(policy, reference, games, eta=1 / tau, tau=tau)
        for policy in (reference, other)
      )
      return {
        "kl": path.T,
        "start": jnp.abs(first - second).max(),
        "doubt": doubt.max(),
      }

    return jax.vmap(one)(jnp.array(TAUS))

  return run(key)


@jax.jit
def fixed_rates(key: jax.Array) -> tuple[jax.Array, jax.Array]:
  """KL to pi*_tau after STEPS steps: [rates, games]; size of the last step."""
  games = tabular.random_game(key, actions=BIAS_ACTIONS, batch=(BIAS_GAMES,))
  reference = jnp.full(
    (BIAS_GAMES, BIAS_ACTIONS), -jnp.log(float(BIAS_ACTIONS))
  )
  nash = tabular.regularized_nash(reference, games, tau=BIAS_TAU)

  def one(rate: jax.Array) -> tuple[jax.Array, jax.Array]:
    last = tabular.solve_nash_md(
      reference, games, tau=BIAS_TAU, steps=STEPS, eta=rate
    ).policy
    following = tabular.nash_md_step(
      last, reference, games, eta=rate, tau=BIAS_TAU
    )
    return tabular.kl(nash, last), jnp.abs(following - last).max()

  return jax.vmap(one)(jnp.array(RATES))


def _figure(kl: np.ndarray, bound: np.ndarray, bias: np.ndarray) -> Figure:
  figure, (left, right) = style.panels(
    2, width=12, height=5.4, width_ratios=(3, 2)
  )
  steps = np.arange(1, STEPS + 1)
  for j, tau in enumerate(TAUS):
    color = COLORS[tau]
    left.plot(
      steps,
      bound[j, 0],
      color=color,
      linewidth=4,
      alpha=0.35,
      label=f"bound, tau = {tau:g}",
    )
    for i, size in enumerate(SIZES):
      left.plot(
        steps,
        kl[i, j].max(0),
        DASHES[size],
        color=color,
        label=f"tau = {tau:g}, {size} responses",
      )
  left.set_xscale("log")
  left.set_yscale("log")
  left.set_ylim(1e-10, 1e4)
  left.set_xlabel("T, steps")
  left.set_ylabel(f"KL(pi*, pi_T), nats; worst of {GAMES} games")
  left.set_title("No game exceeds its bound")
  # One column for each tau: its bound, then its games.
  left.legend(
    loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, fontsize="small"
  )

  rates = np.array(RATES)
  right.plot(rates, bias, color=style.SKY, linewidth=0.7, alpha=0.6)
  right.plot(
    rates,
    np.median(bias, axis=1),
    "o-",
    color=style.BLUE,
    label=f"median of {BIAS_GAMES} games",
  )
  right.plot([], [], color=style.SKY, label="each game")
  right.plot(
    rates,
    PUBLISHED_BIAS,
    "x",
    color=style.BLACK,
    markersize=9,
    label="independent check in NumPy, one game",
  )
  right.set_ylim(bottom=5e-8)
  right.set_xscale("log")
  right.set_yscale("log")
  right.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
  right.minorticks_off()
  right.set_xlabel("fixed step size eta, nats per win rate")
  right.set_ylabel("KL(pi*, pi_2000), nats")
  right.set_title("A fixed eta leaves a bias of order eta^2")
  right.legend(loc="lower right", fontsize="small")
  return figure


if __name__ == "__main__":
  page.show(reproduce)
