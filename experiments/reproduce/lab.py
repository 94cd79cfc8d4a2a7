"""A lab in which the optimum is known: made-up words, and the real trainer.

    python experiments/reproduce/lab.py

A small decoder learns by `experiment.train`, as on real text, and is held
against exact optima. To be seen: RLOO on a proxy with an error comes near the
optimum reference exp(r / beta) / Z; its proxy reward grows as the KL is let go
while its gold reward turns round, which is over-optimization (Gao et al., 2022,
arXiv:2210.10760); DPO learns less of the gold reward from raters who err or
like short answers; and in a game of lengths without a best one, self-play finds
the regularized Nash policy, where a reward finds a length that another beats.
Writes docs/lab.md.

Hardware: two CPU cores, about two minutes.
"""

import pathlib
import sys
import tempfile
from collections.abc import Mapping

import numpy as np
import page
from matplotlib.figure import Figure

sys.path.insert(0, str(page.ROOT))

import lab_world

# Chosen by the exact optima: the gold reward is highest at the middle one, and
# about the same at the other two.
BETAS = (8.0, 2.5, 0.8)
FLIP = 0.3
LENGTH_BIAS = -1.0
LENGTHS = ("three words or none", "one", "two")  # the classes of the game
# Updates of each method; SHORT runs every part, and its criteria do not hold.
STEPS = {"rloo": 400, "dpo": 800, "self_play": 400}
SHORT = dict.fromkeys(STEPS, 2)


def reproduce(steps: Mapping[str, int] = STEPS) -> page.Reproduction:
  """The whole study."""
  with tempfile.TemporaryDirectory() as root:
    lab = lab_world.Lab(pathlib.Path(root), steps=steps)
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
    title="The lab: real training held against exact optima",
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


def proxy_rows(lab, rloo):
  exact = {beta: lab.optimum(lab.proxy, beta) for beta in BETAS}
  shares = [
    gained(lab, rloo[beta], exact[beta], lab.proxy, beta) for beta in BETAS
  ]
  proxies, golds = (
    [lab.mean(rloo[beta], reward) for beta in BETAS]
    for reward in (lab.proxy, lab.gold)
  )
  told = [lab.mean(exact[beta], lab.gold) for beta in BETAS]
  betas = ", ".join(f"{beta:g}" for beta in BETAS)
  return [
    page.Row(
      quantity=f"RLOO: share of what E proxy - beta KL can gain, beta {betas}",
      published="1 at the optimum",
      measured=page.numbers(shares),
      criterion="each >= 0.9",
      holds=min(shares) >= 0.9,
    ),
    page.Row(
      quantity="proxy reward of RLOO as the KL is let go",
      published="grows",
      measured=page.numbers(proxies),
      criterion="increasing",
      holds=bool(np.all(np.diff(proxies) > 0)),
    ),
    page.Row(
      quantity="gold reward of start; RLOO",
      published=f"turns round; exact {page.numbers(told)}",
      measured=f"{page.number(lab.mean(lab.reference, lab.gold), 3)};"
      f" {page.numbers(golds)}",
      criterion="the middle beta is best by 0.5",
      holds=golds[1] >= max(golds[0], golds[2]) + 0.5,
    ),
  ]


def rater_rows(lab, dpo):
  beta = lab_world.DPO_BETA
  best = lab.optimum(lab.gold, beta)
  short = lab.optimum(lab.gold + LENGTH_BIAS * lab.words, beta)
  golds = {
    name: lab.mean(policy, lab.gold) - lab.mean(lab.reference, lab.gold)
    for name, policy in {"best": best, "shortest": short, **dpo}.items()
  }
  objectives = [
    lab.objective(policy, lab.gold, beta)
    for policy in (best, dpo["clean"], dpo["flip"])
  ]
  words = [
    lab.mean(policy, np.broadcast_to(lab.words, lab.gold.shape))
    for policy in (best, short, dpo["clean"], dpo["short"])
  ]
  return [
    page.Row(
      quantity="gain in gold reward: DPO; DPO with"
      f" {FLIP:.0%} of labels turned round",
      published=f"noise costs; exact {page.number(golds['best'], 3)}",
      measured=page.numbers([golds["clean"], golds["flip"]]),
      criterion="noisy < clean",
      holds=golds["flip"] < golds["clean"],
    ),
    page.Row(
      quantity="E gold - beta KL of optimum; the same two",
      published="largest at the optimum",
      measured=page.numbers(objectives),
      criterion="decreasing",
      holds=bool(np.all(np.diff(objectives) < 0)),
    ),
    page.Row(
      quantity="words of a response: DPO; DPO on raters who take off"
      f" {-LENGTH_BIAS:g} per word",
      published=f"shorter; exact {page.numbers(words[:2])}",
      measured=page.numbers(words[2:]),
      criterion="shorter by half of what is exact",
      holds=words[2] - words[3] >= (words[0] - words[1]) / 2,
    ),
    page.Row(
      quantity="gain in gold reward of the latter",
      published=f"less; exact {page.number(golds['shortest'], 3)}",
      measured=page.number(golds["short"], 3),
      criterion="less than DPO on raters without that bias",
      holds=golds["short"] < golds["clean"],
    ),
  ]


def game_rows(lab, game):
  shares = {name: lab.classes(policy) for name, policy in game.items()}
  # The win rate of the class that beats it most often.
  worst = {
    name: float((np.array(lab_world.GAME["matrix"]) @ share).max())
    for name, share in shares.items()
  }
  names = ("start", "Nash", "self-play")
  return [
    page.Row(
      quantity="game: share of three words or none, one, two; at the start,"
      " regularized Nash, self-play",
      published="self-play finds it",
      measured="; ".join(page.numbers(shares[name]) for name in names),
      criterion="each within 0.1",
      holds=bool(np.abs(shares["self-play"] - shares["Nash"]).max() <= 0.1),
    ),
    page.Row(
      quantity="game: win rate of the best length against start; self-play;"
      " RLOO on the win rate against the start",
      published="1/2 at Nash; a reward's answer can be beaten",
      measured=page.numbers(
        [worst[name] for name in ("start", "self-play", "RLOO")]
      ),
      criterion="self-play < 0.6 < RLOO",
      holds=worst["self-play"] < 0.6 < worst["RLOO"],
    ),
  ]


def gained(lab, policy, optimum, reward, beta) -> float:
  """The share of what the objective can gain over the start."""
  start, now, best = (
    lab.objective(one, reward, beta) for one in (lab.reference, policy, optimum)
  )
  return (now - start) / (best - start)


def figure(lab, rloo, game) -> Figure:
  """Proxy and gold against KL, exact and trained; the classes of the game."""
  drawn = Figure(figsize=(10.5, 3.4), layout="constrained")
  left, middle, right = drawn.subplots(1, 3)
  path = [lab.optimum(lab.proxy, float(b)) for b in np.geomspace(0.4, 60.0, 40)]
  for axes, title, reward, color in (
    (left, "proxy: what is learned from", lab.proxy, "#D55E00"),
    (middle, "gold: what counts", lab.gold, "#0072B2"),
  ):
    axes.plot(
      [lab.kl(p) for p in path],
      [lab.mean(p, reward) for p in path],
      color=color,
      label="exact optimum",
    )
    axes.plot(
      [lab.kl(p) for p in rloo.values()],
      [lab.mean(p, reward) for p in rloo.values()],
      "o",
      color=color,
      label="RLOO",
    )
    axes.set(xlabel="KL to the start, nats", ylabel="reward", title=title)
    axes.legend(frameon=False, fontsize=8)
  bottom = np.zeros(len(game))
  for kind, share in enumerate(np.stack([*map(lab.classes, game.values())]).T):
    right.bar(list(game), share, bottom=bottom, label=LENGTHS[kind])
    bottom += share
  right.set(title="game: lengths of responses", ylabel="share")
  right.legend(
    frameon=False,
    fontsize=8,
    ncols=len(LENGTHS),
    loc="upper center",
    bbox_to_anchor=(0.5, -0.08),
  )
  for axes in (left, middle, right):
    axes.spines[["top", "right"]].set_visible(False)
  return drawn


if __name__ == "__main__":
  page.show_study(reproduce, "lab", command="make lab")
