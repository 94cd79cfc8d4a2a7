"""SRPO ranks the arms alike for any data; IPO and DPO can be reversed.

Choi et al., 2024, "Self-improving robust preference optimization"
(arXiv:2406.01660; ICLR 2025), the bandit with three arms.

    python experiments/reproduce/srpo_bandit.py

Arm y3 beats both others, but y1 beats y2 nearly always. Pairs from a behavior
mu that likes y2 make y1 look good: IPO and DPO then prefer it, while SRPO keeps
y3 on top for every mu. Its optimum does not contain mu.

The numbers are from a closed form that we checked; the matrix of preferences is
remembered, not read in the paper, so these rows count as uncertain. Where mu
is skewed, the numbers of IPO and DPO are for all ordered pairs.

Hardware: two CPU cores, seconds.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import page
import style
from matplotlib.figure import Figure

from alignment_jax import losses, tabular

PREFERENCES = ((0.50, 0.99, 0.30), (0.01, 0.50, 0.25), (0.70, 0.75, 0.50))
BEHAVIORS = {
  "uniform": (1 / 3, 1 / 3, 1 / 3),
  "(.7, .2, .1)": (0.7, 0.2, 0.1),
  "(.2, .7, .1)": (0.2, 0.7, 0.1),
  "(.1, .8, .1)": (0.1, 0.8, 0.1),
}
METHODS = ("SRPO", "IPO", "DPO")
BETA, ALPHA = 1.0, 0.5
STEPS, BATCH, SEEDS, RATE = 4_000, 64, 5, 0.05
# The closed forms as noted earlier: method, mu, policy, tolerance.
KNOWN = (
  ("IPO", "uniform", (0.3618, 0.2566, 0.3816), 1e-4),
  ("DPO", "uniform", (0.405, 0.069, 0.527), 1e-3),
  ("IPO", "(.2, .7, .1)", (0.394, 0.252, 0.354), 1e-3),
  ("DPO", "(.2, .7, .1)", (0.661, 0.047, 0.293), 1e-3),
  ("IPO", "(.1, .8, .1)", (0.400, 0.256, 0.344), 1e-3),
)
COLORS = (style.BLUE, style.ORANGE, style.GREEN)
HATCHES = ("", "//", "..")


def reproduce() -> page.Reproduction:
  preferences = jnp.array(PREFERENCES)
  policies, reviser = _train(jax.random.key(0), preferences)
  policies = np.asarray(policies).mean(axis=2)  # [method, mu, arm]
  exact = np.stack([_optima(mu, preferences) for mu in BEHAVIORS.values()], 1)
  return page.Reproduction(
    title="SRPO does not depend on who wrote the data",
    source="Choi et al., 2024, arXiv:2406.01660, the three-armed bandit",
    rows=[
      *_closed_forms(exact, preferences),
      *_trained(policies, exact),
      *_revision(np.asarray(reviser), preferences),
    ],
    figures={"srpo_bandit": _figure(policies, exact)},
    remarks=(
      "Trained policies are means over five seeds of tabular policies on"
      " sampled pairs with sampled labels (Adam, 4,000 steps, batches of 64,"
      " beta = tau = 1, alpha = 0.5). For mu = (.7, .2, .1) neither IPO nor"
      " DPO changes its preference with this matrix. A revision does not raise"
      " the win rate of the exact optimum, whose generator leaves nothing to"
      " improve; it does for a generator that is still the reference. The"
      " matrix of preferences is as remembered, and the published numbers are"
      " an earlier check of ours with it."
    ),
  )


def _optima(behavior: tuple[float, ...], preferences: jax.Array) -> np.ndarray:
  """The three closed forms for one mu, [method, arm] probabilities."""
  log_mu = jnp.log(jnp.array(behavior))
  uniform = jnp.log(jnp.full(3, 1 / 3))
  square = jnp.log(jnp.full((3, 3), 1 / 3))
  return np.exp(
    [
      tabular.srpo_generator(uniform, square, preferences, beta=BETA),
      tabular.psipo_optimum(
        uniform, preferences, log_mu, psi=losses.identity, tau=BETA
      ),
      tabular.dpo_optimum(uniform, preferences, log_mu, tau=BETA),
    ]
  )


@jax.jit
def _train(
  key: jax.Array, preferences: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Policies [method, mu, seed, arm], and a reviser [seed, shown, arm] alone.

  The reviser of the second response learns while the generator stays at the
  reference.
  """
  behaviors = jnp.array(list(BEHAVIORS.values()))
  n = len(BEHAVIORS)
  optimizer = optax.adam(optax.linear_schedule(RATE, 0.0, STEPS))
  uniform = -jnp.log(3.0)
  y1, y2 = (x.reshape(-1) for x in np.indices((3, 3)))  # winner, loser

  def srpo(
    log_policy: jax.Array, log_reviser: jax.Array
  ) -> jax.Array:  # one loss per (winner, loser)
    policy = (
      log_policy[..., y1],
      log_policy[..., y2],
      log_reviser[..., y2, y1],
      log_reviser[..., y1, y1],
      log_reviser[..., y2, y2],
      log_reviser[..., y1, y2],
    )
    reference = jnp.full(policy[0].shape, uniform)
    return losses.srpo_loss(*policy, *[reference] * 6, beta=BETA, alpha=ALPHA)

  def pairwise(
    loss: Callable[..., jax.Array], log_policy: jax.Array, **coefficient: float
  ) -> jax.Array:
    chosen, rejected = log_policy[..., y1], log_policy[..., y2]
    reference = jnp.full(chosen.shape, uniform)
    return loss(chosen, rejected, reference, reference, **coefficient)

  def loss(theta: dict[str, jax.Array], shares: jax.Array) -> jax.Array:
    # Runs share no parameters: the gradient of the sum is each run's own.
    policy = jax.nn.log_softmax(theta["policy"])
    reviser = jax.nn.log_softmax(theta["reviser"])
    alone = jax.nn.log_softmax(theta["alone"])
    frozen = jnp.full(alone.shape[:-2] + (3,), uniform)
    total = jnp.sum(shares * srpo(policy[0], reviser))
    total += jnp.sum(shares * pairwise(losses.ipo_loss, policy[1], tau=BETA))
    total += jnp.sum(shares * pairwise(losses.dpo_loss, policy[2], beta=BETA))
    return total + jnp.sum(shares[0] * srpo(frozen, alone))

  def draw(key: jax.Array) -> jax.Array:
    """How often each (winner, loser) is in the batch, over its size."""
    pairs, labels = jax.random.split(key)
    arms = jax.random.categorical(
      pairs,
      jnp.log(behaviors)[:, None, None, None],
      shape=(n, SEEDS, BATCH, 2),
    )
    a, b = arms[..., 0], arms[..., 1]
    won = jax.random.uniform(labels, a.shape) < preferences[a, b]
    cell = jnp.where(won, a * 3 + b, b * 3 + a)
    return jax.nn.one_hot(cell, 9).mean(axis=-2)

  def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
    theta, state = carry
    updates, state = optimizer.update(jax.grad(loss)(theta, draw(key)), state)
    return (optax.apply_updates(theta, updates), state), None

  theta = {
    "policy": jnp.zeros((len(METHODS), n, SEEDS, 3)),
    "reviser": jnp.zeros((n, SEEDS, 3, 3)),
    "alone": jnp.zeros((SEEDS, 3, 3)),
  }
  (theta, _), _ = jax.lax.scan(
    step, (theta, optimizer.init(theta)), jax.random.split(key, STEPS)
  )
  return jax.nn.softmax(theta["policy"]), jax.nn.softmax(theta["alone"])


def _closed_forms(
  exact: np.ndarray, preferences: jax.Array
) -> Iterator[page.Row]:
  names = list(BEHAVIORS)
  srpo = (0.3553, 0.2571, 0.3876)
  yield _closed("SRPO, any mu", srpo, exact[0, 0], 1e-4)
  for method, mu, policy, tolerance in KNOWN:
    measured = exact[METHODS.index(method), names.index(mu)]
    yield _closed(f"{method}, mu {mu}", policy, measured, tolerance)
  uniform = jnp.log(jnp.full(3, 1 / 3))
  small = np.exp(
    tabular.srpo_generator(
      uniform, jnp.log(jnp.full((3, 3), 1 / 3)), preferences, beta=0.1
    )
  )
  yield _closed("SRPO, beta 0.1", (0.126, 0.007, 0.867), small, 1e-3)


def _closed(
  name: str,
  published: tuple[float, ...],
  measured: np.ndarray,
  tolerance: float,
) -> page.Row:
  digits = 4 if tolerance < 1e-3 else 3
  return page.check(
    f"closed form, {name}",
    measured,
    published=page.numbers(published, digits),
    measured=page.numbers(measured, digits),
    equals=published,
    tolerance=tolerance,
    certain=False,
  )


def _trained(policies: np.ndarray, exact: np.ndarray) -> Iterator[page.Row]:
  names = list(BEHAVIORS)
  tops = policies.argmax(axis=-1) + 1  # [method, mu]

  def listed(row: np.ndarray) -> str:
    return ", ".join(f"y{top}" for top in row)

  order = "mu " + ", ".join(names)
  yield page.check(
    f"SRPO, most likely arm; {order}",
    tops[0],
    published="y3 for every mu",
    measured=listed(tops[0]),
    equals=3,
    of="y3",
    certain=False,
  )
  skewed = names.index("(.2, .7, .1)")
  for i in (1, 2):
    yield page.check(
      f"{METHODS[i]}, most likely arm; {order}",
      tops[i, 0],
      published="changes when mu is skewed",
      measured=listed(tops[i]),
      name="arm",
      equals=3,
      where="uniform mu",
      also=[
        page.criterion(
          tops[i, skewed], name="arm", below=3, where="mu (.2, .7, .1)"
        )
      ],
      certain=False,
    )
  yield page.check(
    "SRPO, largest L1 distance between two mu",
    np.abs(policies[0][:, None] - policies[0][None]).sum(axis=-1).max(),
    published="0 at the optimum",
    below=0.03,
    certain=False,
  )
  yield page.check(
    f"SRPO, L1 distance to the closed form; {order}",
    np.abs(policies[0] - exact[0]).sum(axis=-1),
    published="0.001 uniform, 0.008 skewed",
    below=0.03,
    certain=False,
  )


def _revision(
  reviser: np.ndarray, preferences: jax.Array
) -> Iterator[page.Row]:
  wins = np.asarray(preferences, np.float64)
  # y0 from the reference, y1 from the reviser that was shown y0.
  rates = np.einsum("syr,ry->s", reviser, wins) / 3
  error = rates.std(ddof=1) / SEEDS**0.5
  yield page.check(
    "win rate of one revision over a reference response",
    (rates.mean() - 0.5) / error,
    published="revising improves (no number)",
    measured=f"{rates.mean():.4f} +- {error:.4f} (SE)",
    name="standard errors above 0.5",
    above=3,
    certain=False,
  )


def _figure(policies: np.ndarray, exact: np.ndarray) -> Figure:
  figure, axes = style.panels(3, width=10, height=4.2, sharey=True)
  positions = np.arange(len(BEHAVIORS))
  for i, (axis, method) in enumerate(zip(axes, METHODS, strict=True)):
    axis.grid(visible=False, axis="x")
    for arm in range(3):
      where = positions + 0.26 * (arm - 1)
      axis.bar(
        where,
        policies[i, :, arm],
        width=0.24,
        color=COLORS[arm],
        hatch=HATCHES[arm],
        edgecolor="white",
        label=rf"$\pi(y_{arm + 1})$",
      )
      axis.plot(
        where,
        exact[i, :, arm],
        "k_",
        markersize=9,
        label="closed form" if arm == 2 else None,
      )
    axis.axhline(1 / 3, color=style.GREY, linewidth=0.8, linestyle=":")
    axis.set_title(method)
    axis.set_xticks(positions, list(BEHAVIORS), rotation=20)
    axis.set_xlabel(r"behavior $\mu$ that the pairs come from")
  axes[0].set_ylabel("probability of the arm")
  style.key_below(figure, axes[0], columns=4)
  figure.suptitle(
    r"$y_3$ beats both others: SRPO prefers it for every $\mu$, IPO and DPO"
    " do not"
  )
  return figure


if __name__ == "__main__":
  page.show(reproduce)
