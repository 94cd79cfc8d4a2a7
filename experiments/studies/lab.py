"""A synthetic world with a known optimum, and the real trainer.

    python -m experiments.studies.lab

A small decoder learns by `experiment.train`, as on real text, and is compared
with exact optima. What it shows: RLOO on a proxy with an error comes near the
optimum reference exp(r / beta) / Z; its proxy reward grows as the KL may grow
while its gold reward falls again, which is over-optimization (Gao et al., 2022,
arXiv:2210.10760); DPO learns less of the gold reward from raters who err or
like short answers; and in a game of lengths without a best one, self-play finds
the regularized Nash policy, where a reward finds a length that another beats.
Writes docs/lab.md.

Hardware: two CPU cores, about two minutes.
"""

import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.reproduce import page, style
from experiments.studies import lab_world
from experiments.studies.lab_world import Lab

# By the exact optima, the gold reward is highest at the middle beta and about
# the same at the other two.
BETAS = (8.0, 2.5, 0.8)
FLIP = 0.3
LENGTH_BIAS = -1.0
LENGTHS = ("0 or 3", "1", "2")  # words: the classes of the game
# Updates of each method; SHORT runs every part, and its criteria do not hold.
STEPS = {"rloo": 400, "dpo": 800, "self_play": 400}
SHORT = dict.fromkeys(STEPS, 2)
Policies = Mapping[Any, np.ndarray]  # log-probabilities [P, A], by name or beta


def reproduce(steps: Mapping[str, int] = STEPS) -> page.Reproduction:
  """The whole study."""
  with tempfile.TemporaryDirectory() as root:
    lab = Lab(pathlib.Path(root), steps=steps)
    rloo = {beta: lab.rloo(beta) for beta in BETAS}
    dpo = {
      "clean": lab.dpo(),
      "flip": lab.dpo(flip=FLIP),
      "short": lab.dpo(length_bias=LENGTH_BIAS),
    }
    game = {
      "start": lab.reference,
      "Nash": lab.nash(),
      "self-play": lab.self_play(),
      "RLOO": lab.best_response(),
    }
  return page.Reproduction(
    title="The lab: real training compared with exact optima",
    source="Gao et al., 2022 (arXiv:2210.10760), Rafailov et al., 2023"
    " (arXiv:2305.18290), and Munos et al., 2023 (arXiv:2312.00886), in a"
    " world of our own",
    rows=[*proxy_rows(lab, rloo), *rater_rows(lab, dpo), *game_rows(lab, game)],
    figures={"lab": figure(lab, rloo, game)},
    remarks=(
      f"The prompts are {len(lab.gold)} made-up words, the responses all"
      f" {len(lab.words)} of up to three of them; the policy is a decoder of"
      " one layer, trained by the same functions as on real text for"
      f" {', '.join(f'{n} updates ({name})' for name, n in steps.items())}."
      " Every number is an exact expectation over"
      " prompts and responses. The world, its betas and its game were chosen"
      " by the exact optima (`exact` in the rows), before anything was"
      " trained; what is tested is that training follows them. The game's"
      " Nash policy without regularization is (4, 10, 1) / 15.\n\n"
      "To train in the same world by a config, with any method, judge and"
      " flag: `python experiments/train.py --config=configs/lab.py"
      " --workdir=runs/lab`. Its data are made from a seed"
      " (`alignment_jax/synthetic/lab_rows.py`), its judges are in"
      " `alignment_jax/synthetic/text_judges.py`."
    ),
  )


def proxy_rows(lab: Lab, rloo: Policies) -> Iterator[page.Row]:
  exact = {beta: lab.optimum(lab.proxy, beta) for beta in BETAS}
  betas = ", ".join(f"{beta:g}" for beta in BETAS)
  yield page.check(
    f"RLOO: share of what E proxy - beta KL can gain, beta {betas}",
    [gained(lab, rloo[beta], exact[beta], lab.proxy, beta) for beta in BETAS],
    published="1 at the optimum",
    at_least=0.9,
  )
  proxies, golds = (
    [lab.mean(rloo[beta], reward) for beta in BETAS]
    for reward in (lab.proxy, lab.gold)
  )
  yield page.check(
    "proxy reward of RLOO as the KL is let go",
    proxies,
    published="grows",
    order="increasing",
  )
  exact_golds = [lab.mean(exact[beta], lab.gold) for beta in BETAS]
  yield page.check(
    "gold reward of start; RLOO",
    golds[1] - max(golds[0], golds[2]),
    published=f"falls again; exact {page.numbers(exact_golds)}",
    measured=f"{page.number(lab.mean(lab.reference, lab.gold), 3)};"
    f" {page.numbers(golds)}",
    name="middle beta - best of the others",
    at_least=0.5,
  )


def rater_rows(lab: Lab, dpo: Policies) -> Iterator[page.Row]:
  beta = lab_world.DPO_BETA
  best = lab.optimum(lab.gold, beta)
  short = lab.optimum(lab.gold + LENGTH_BIAS * lab.words, beta)
  golds = {
    name: lab.mean(policy, lab.gold) - lab.mean(lab.reference, lab.gold)
    for name, policy in {"best": best, "shortest": short, **dpo}.items()
  }
  yield page.check(
    f"gain in gold reward: DPO; DPO with {FLIP:.0%} of labels flipped",
    golds["flip"] - golds["clean"],
    published=f"noise costs; exact {page.number(golds['best'], 3)}",
    measured=page.numbers([golds["clean"], golds["flip"]]),
    name="noisy - clean",
    below=0,
  )
  yield page.check(
    "E gold - beta KL of optimum; the same two",
    [
      lab.objective(policy, lab.gold, beta)
      for policy in (best, dpo["clean"], dpo["flip"])
    ],
    published="largest at the optimum",
    order="decreasing",
  )
  words = [
    lab.mean(policy, np.broadcast_to(lab.words, lab.gold.shape))
    for policy in (best, short, dpo["clean"], dpo["short"])
  ]
  yield page.check(
    "words of a response: DPO; DPO on raters who subtract"
    f" {-LENGTH_BIAS:g} per word",
    (words[2] - words[3]) / (words[0] - words[1]),
    published=f"shorter; exact {page.numbers(words[:2])}",
    measured=page.numbers(words[2:]),
    name="shortening / exact",
    at_least=0.5,
  )
  yield page.check(
    "gain in gold reward of the latter",
    golds["short"] - golds["clean"],
    published=f"less; exact {page.number(golds['shortest'], 3)}",
    measured=page.number(golds["short"], 3),
    name="beyond DPO on raters without that bias",
    below=0,
  )


def game_rows(lab: Lab, game: Policies) -> Iterator[page.Row]:
  shares = {name: lab.classes(policy) for name, policy in game.items()}
  # The win rate of the class that beats it most often.
  worst = {
    name: float((np.array(lab_world.GAME["matrix"]) @ share).max())
    for name, share in shares.items()
  }
  yield page.check(
    "game: share of three words or none, one, two; at the start,"
    " regularized Nash, self-play",
    shares["self-play"],
    published="self-play finds it",
    measured="; ".join(
      page.numbers(shares[name]) for name in ("start", "Nash", "self-play")
    ),
    equals=shares["Nash"],
    tolerance=0.1,
  )
  yield page.check(
    "game: win rate of the best length against start; self-play;"
    " RLOO on the win rate against the start",
    worst["self-play"],
    published="1/2 at Nash; a reward's response can be beaten",
    measured=page.numbers(
      [worst[name] for name in ("start", "self-play", "RLOO")]
    ),
    name="self-play",
    below=0.6,
    also=[page.criterion(worst["RLOO"], name="RLOO", above=0.6)],
  )


def gained(
  lab: Lab,
  policy: np.ndarray,
  optimum: np.ndarray,
  reward: np.ndarray,
  beta: float,
) -> float:
  """The share of what the objective can gain over the start."""
  start, now, best = (
    lab.objective(log_policy, reward, beta)
    for log_policy in (lab.reference, policy, optimum)
  )
  return (now - start) / (best - start)


def figure(lab: Lab, rloo: Policies, game: Policies) -> Figure:
  """Proxy and gold against KL, exact and trained; the classes of the game."""
  figure, (left, middle, right) = style.panels(3, width=11, height=3.6)
  path = [lab.optimum(lab.proxy, float(b)) for b in np.geomspace(0.4, 60.0, 40)]
  for axis, title, reward, color in (
    (left, "Proxy reward, which RLOO learns from", lab.proxy, style.ORANGE),
    (middle, "Gold reward, which raters go by", lab.gold, style.BLUE),
  ):
    for policies, mark, label in (
      (path, "-", "exact optima over beta"),
      (list(rloo.values()), "o", "RLOO"),
    ):
      axis.plot(
        [lab.kl(policy) for policy in policies],
        [lab.mean(policy, reward) for policy in policies],
        mark,
        color=color,
        label=label,
      )
    axis.set(xlabel="KL to the start, nats", ylabel="mean reward", title=title)
  left.legend(loc="lower right")
  middle.legend(loc="lower center")
  bottom = np.zeros(len(game))
  shares = np.stack([lab.classes(policy) for policy in game.values()]).T
  for label, share, color in zip(
    LENGTHS, shares, (style.BLUE, style.ORANGE, style.GREEN), strict=True
  ):
    right.bar(
      list(game),
      share,
      bottom=bottom,
      color=color,
      edgecolor="white",
      label=label,
    )
    bottom += share
  right.grid(visible=False, axis="x")
  right.set(title="Game of lengths", ylabel="share of responses")
  right.legend(
    title="words in the response",
    ncols=len(LENGTHS),
    loc="upper center",
    bbox_to_anchor=(0.5, -0.1),
  )
  return figure


if __name__ == "__main__":
  page.show_study(reproduce, "lab", command="make lab")
