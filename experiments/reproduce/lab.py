"""A lab in which the optimum is known: made-up words, and the real trainer.

    python experiments/reproduce/lab.py

Responses are up to two of five words, so all 156 can be listed. A small decoder
learns by `experiment.train`, as on real text; gold reward, proxy reward and KL
are exact sums, and so is the optimum, reference exp(r / beta) / Z.

To be seen: RLOO on a proxy with an error comes near that optimum; its proxy
reward grows as the KL is let go while its gold reward turns round, which is
over-optimisation (Gao et al., 2022, arXiv:2210.10760); DPO on noisy labels
learns less of the gold reward than on clean ones; and in a game of three
classes without a best one, self-play finds the regularised Nash policy, where a
reward finds an answer that another one beats.

Hardware: two CPU cores, about two minutes.
"""

import itertools
import json
import pathlib
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import page
from matplotlib.figure import Figure
from ml_collections import config_dict

sys.path.insert(0, str(page.ROOT))

from alignment_jax import (
  data,
  experiment,
  judges,
  models,
  parallel,
  scoring,
  tabular,
)
from alignment_jax.experiment import folder, stages
from alignment_jax.training import checkpoint
from alignment_jax.types import Tokens
from configs import quickstart

WORDS = ("a", "b", "c", "d", "e")
EOS, LENGTH = 0, 3
MODEL = dict(
  name="decoder_tiny",
  width=32,
  layers=1,
  heads=2,
  kv_heads=2,
  head_width=16,
  mlp_width=64,
  dropout=0.0,
  dtype="float32",
)
# A world of which the exact optimum shows over-optimisation.
WORLD = dict(words=WORDS, seed=0)
PROXY = dict(**WORLD, noise=2.5)
BETAS = (8.0, 2.0, 0.5)
FLIP = 0.3
DPO_BETA = 1.0
# Each class loses to another; the Nash policy is (5, 5, 2) / 12.
GAME = ((0.5, 0.7, 0.0), (0.3, 0.5, 1.0), (1.0, 0.0, 0.5))
GAME_TAU = 0.05
STEPS = 200


def reproduce() -> page.Reproduction:
  with tempfile.TemporaryDirectory() as root:
    lab = Lab(pathlib.Path(root))
    rloo = {beta: lab.rloo(beta) for beta in BETAS}
    clean, noisy = (lab.dpo(flip) for flip in (0.0, FLIP))
    rows = [
      *proxy_rows(lab, rloo),
      *label_rows(lab, clean, noisy),
      *game_rows(lab, lab.self_play(), lab.best_response()),
    ]
    drawn = figure(lab, rloo)
  return page.Reproduction(
    title="The lab: a proxy, noisy labels, and a game, trained on texts",
    source="Gao et al., 2022 (arXiv:2210.10760), Rafailov et al., 2023"
    " (arXiv:2305.18290), and Munos et al., 2023 (arXiv:2312.00886), in a"
    " world of our own",
    rows=rows,
    figures={"lab": drawn},
    remarks=(
      "The policy is a decoder of one layer that is trained by the same"
      f" functions as on real text, over {len(WORDS)} prompts and"
      f" {lab.count} responses each, of which some prompts are held out; every"
      " number is an exact expectation, the mean over the others. The world was"
      " chosen so that the exact optimum shows over-optimisation; what is"
      " tested is that training follows it. The world is ours, so every source"
      " counts as uncertain."
    ),
  )


class Lab:
  """A start policy, files of data, and exact expectations.

  The trainer holds some prompts out; expectations are over those it learns
  from.

  Attributes:
    gold: reward of every response to every prompt, [P, A].
    proxy: the same of what is learnt from.
    reference: log-probabilities of the start, [P, A].
    count: A.
    kinds: class of every response in the game, [A].
  """

  def __init__(self, root: pathlib.Path):
    self._root = root
    self._mesh = parallel.make_mesh(data=1, fsdp=1, tensor=1)
    self._model = models.make_model(
      MODEL["name"],
      vocabulary_size=len(WORDS) + 1,
      **{name: value for name, value in MODEL.items() if name != "name"},
    )
    self._prompt, self._responses, self._texts = enumerated()
    self.count = len(self._texts)
    self.kinds = np.array(
      [sum(map(WORDS.index, text.split())) % 3 for text in self._texts]
    )
    self.gold, self.proxy = (
      np.stack([judge([w] * self.count, self._texts) for w in WORDS])
      for judge in (
        judges.build("lab_gold", **WORLD),
        judges.build("lab_proxy", **PROXY),
      )
    )
    params = jax.jit(self._model.init)(jax.random.key(0))
    self._write_start(params)
    self.reference = self.logprobs(params)
    learnt = data.open_source(
      str(self._prompts()), "prompt", "train", data_dir=str(root)
    )
    self._seen = [
      WORDS.index(word) for word in sorted({row["prompt"] for row in learnt})
    ]

  def logprobs(self, params) -> np.ndarray:
    """Log-probability of every response to every prompt, [P, A]."""
    return np.asarray(
      jax.jit(
        lambda p: scoring.token_logprobs(
          self._model, p, self._prompt, self._responses
        ).sum(axis=-1)
      )(params)
    )

  def optimum(self, reward: np.ndarray, beta: float) -> np.ndarray:
    """Log of reference exp(reward / beta) / Z, [P, A]."""
    return np.asarray(
      tabular.tilted(jnp.asarray(self.reference), jnp.asarray(reward), tau=beta)
    )

  def mean(self, log_policy: np.ndarray, values: np.ndarray) -> float:
    """The exact expectation of `values`, averaged over prompts."""
    sums = (np.exp(log_policy) * values).sum(axis=-1)
    return float(sums[self._seen].mean())

  def kl(self, log_policy: np.ndarray) -> float:
    """KL to the start in nats."""
    return self.mean(log_policy, log_policy - self.reference)

  def objective(self, log_policy, reward, beta) -> float:
    """E reward - beta KL."""
    return self.mean(log_policy, reward) - beta * self.kl(log_policy)

  def rloo(self, beta: float) -> np.ndarray:
    """What RLOO on the proxy ends with."""
    config = self._config(dict(name="rloo", beta=beta), self._prompts())
    config.sampling = sampling(dict(name="lab_proxy", **PROXY))
    return self._trained(config, f"rloo-{beta}")

  def self_play(self) -> np.ndarray:
    """What self-play in the game ends with."""
    config = self._config(dict(name="self_play", tau=GAME_TAU), self._prompts())
    config.sampling = sampling(
      dict(name="lab_class_preference", words=WORDS, matrix=GAME)
    )
    return self._trained(config, "self_play")

  def best_response(self) -> np.ndarray:
    """What RLOO ends with on win rates against the start."""
    config = self._config(dict(name="rloo", beta=GAME_TAU), self._prompts())
    config.sampling = sampling(
      dict(
        name="lab_class",
        words=WORDS,
        matrix=GAME,
        opponent=tuple(self.classes(self.reference).tolist()),
      )
    )
    return self._trained(config, "best_response")

  def classes(self, log_policy: np.ndarray) -> np.ndarray:
    """How often the responses are of each class, [3]."""
    shares = [
      self.mean(log_policy, np.asarray(self.kinds == c)) for c in range(3)
    ]
    return np.array(shares) / sum(shares)

  def nash(self) -> np.ndarray:
    """Log of the regularised Nash policy of the game, [P, A]."""
    game = jnp.asarray(np.array(GAME, np.float32)[self.kinds][:, self.kinds])
    return np.stack(
      [
        np.asarray(
          tabular.regularised_nash(jnp.asarray(row), game, tau=GAME_TAU)
        )
        for row in self.reference
      ]
    )

  def dpo(self, flip: float) -> np.ndarray:
    """What DPO on labelled pairs ends with; some labels are turned round."""
    config = self._config(
      dict(name="dpo", beta=DPO_BETA, label_smoothing=0.0, aggregation="sum"),
      self._pairs(flip),
    )
    return self._trained(config, f"dpo-{flip}")

  def _trained(self, config, name):
    path = self._root / name
    experiment.train(config, str(path))
    stage = path / config.algorithm.name
    return self.logprobs(stages.load_policy(stage, self._model, self._mesh))

  def _config(self, algorithm, source):
    config = quickstart.get_config("tiny").unlock()
    config.model = config_dict.create(**MODEL)
    config.init_from = str(self._root / "start")
    config.data.update(
      source=str(source), prompt_length=1, response_length=LENGTH
    )
    config.mesh.data = 1
    config.sft = config.reward_model = None
    config.evaluation.prompts = 0
    stage = quickstart.stage(
      algorithm, learning_rate=1e-2, steps=STEPS, batch_size=32, warmup=10
    )
    stage["training"].update(log_every=100, checkpoint_every=STEPS)
    for field, section in stage.items():
      config[field] = config_dict.ConfigDict(section)
    return config

  def _prompts(self):
    """Prompts alone; the demonstrations are not used."""
    return self._file(
      "prompts.jsonl",
      [{"prompt": word, "response": "a"} for word in WORDS for _ in range(8)],
    )

  def _pairs(self, flip):
    """Pairs of the reference's responses, labelled by Bradley and Terry."""
    rng = np.random.default_rng(0)
    rows = []
    for place, word in enumerate(WORDS):
      probabilities = np.exp(self.reference[place].astype(np.float64))
      probabilities /= probabilities.sum()
      drawn = rng.choice(self.count, (4000, 2), p=probabilities)
      for one, two in drawn:
        margin = self.gold[place, one] - self.gold[place, two]
        wins = rng.random() < 1 / (1 + np.exp(-margin))
        if wins == (rng.random() < flip):
          one, two = two, one
        texts = self._texts[one], self._texts[two]
        if all(texts) and texts[0] != texts[1]:
          rows.append(
            {"prompt": word, "chosen": texts[0], "rejected": texts[1]}
          )
    return self._file(f"pairs-{flip}.jsonl", rows)

  def _file(self, name, rows):
    path = self._root / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path

  def _write_start(self, params):
    """The start as the folder of a stage."""
    path = self._root / "start"
    path.mkdir()
    word_tokenizer().save(path / folder.TOKENIZER)
    folder.write_json(
      path / folder.MODEL,
      {
        "name": MODEL["name"],
        "settings": {
          **{n: v for n, v in MODEL.items() if n != "name"},
          "vocabulary_size": len(WORDS) + 1,
        },
        "algorithm": {"name": "sft"},
        "sampling": None,
        "prompt_length": 1,
        "response_length": LENGTH,
      },
    )
    checkpoint.save_tree(path / stages.FINAL, {"policy": params})


def sampling(judge):
  """Eight responses to each prompt, and who judges them."""
  return config_dict.create(
    samples=8,
    temperature=1.0,
    missing_eos_penalty=0.0,
    judge=judge,
    preference_scale=1.0,
    staleness=0,
    generator_devices=0,
  )


def word_tokenizer() -> data.HubTokenizer:
  """One token for each word, and one that ends a response."""
  import tokenizers

  made = tokenizers.Tokenizer(
    tokenizers.models.WordLevel(
      {"</s>": EOS, **{word: n for n, word in enumerate(WORDS, start=1)}},
      unk_token="</s>",
    )
  )
  made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  made.add_special_tokens(["</s>"])
  return data.HubTokenizer(
    {
      "tokenizer": json.loads(made.to_str()),
      "config": {"eos_token": "</s>"},
      "eos_id": EOS,
      "pad_id": EOS,
    }
  )


def enumerated():
  """All prompts, all responses as tokens [P, A, T], and those as texts."""
  words = range(1, len(WORDS) + 1)
  rows = [
    (*start, EOS)
    for length in range(LENGTH)
    for start in itertools.product(words, repeat=length)
  ]
  rows += list(itertools.product(words, repeat=LENGTH))
  ids = np.zeros((len(rows), LENGTH), np.int32)
  mask = np.zeros((len(rows), LENGTH), bool)
  for place, row in enumerate(rows):
    ids[place, : len(row)], mask[place, : len(row)] = row, True
  texts = [" ".join(WORDS[i - 1] for i in row if i != EOS) for row in rows]
  prompt = Tokens(
    jnp.arange(1, len(WORDS) + 1, dtype=jnp.int32)[:, None],
    jnp.ones((len(WORDS), 1), bool),
  )
  responses = jax.tree.map(
    lambda a: jnp.broadcast_to(a, (len(WORDS), *a.shape)), Tokens(ids, mask)
  )
  return prompt, responses, texts


def proxy_rows(lab, rloo):
  strong, middle, weak = BETAS
  gaps = [
    lab.objective(lab.optimum(lab.proxy, beta), lab.proxy, beta)
    - lab.objective(policy, lab.proxy, beta)
    for beta, policy in rloo.items()
  ]
  start = lab.reference
  span = [
    lab.objective(lab.optimum(lab.proxy, beta), lab.proxy, beta)
    - lab.objective(start, lab.proxy, beta)
    for beta in BETAS
  ]
  shares = [1 - gap / whole for gap, whole in zip(gaps, span, strict=True)]
  proxies = [lab.mean(rloo[beta], lab.proxy) for beta in BETAS]
  golds = [lab.mean(rloo[beta], lab.gold) for beta in BETAS]
  exact = [lab.mean(lab.optimum(lab.proxy, b), lab.gold) for b in BETAS]
  return [
    page.Row(
      quantity="RLOO: share of what E proxy - beta KL can gain, beta "
      + ", ".join(f"{b:g}" for b in BETAS),
      published="1 at the optimum",
      measured=page.numbers(shares),
      criterion="each >= 0.9",
      holds=min(shares) >= 0.9,
      certain=False,
    ),
    page.Row(
      quantity="proxy reward of RLOO as the KL is let go",
      published="grows",
      measured=page.numbers(proxies),
      criterion="increasing",
      holds=bool(np.all(np.diff(proxies) > 0)),
      certain=False,
    ),
    page.Row(
      quantity="gold reward of RLOO; of the exact optimum",
      published="turns round",
      measured=f"{page.numbers(golds)}; {page.numbers(exact)}",
      criterion="the weakest beta is below the best",
      holds=golds[-1] < max(golds),
      certain=False,
    ),
  ]


def label_rows(lab, clean, noisy):
  best = lab.optimum(lab.gold, DPO_BETA)
  gains = [
    lab.mean(p, lab.gold) - lab.mean(lab.reference, lab.gold)
    for p in (best, clean, noisy)
  ]
  objectives = [
    lab.objective(p, lab.gold, DPO_BETA) for p in (best, clean, noisy)
  ]
  return [
    page.Row(
      quantity="gain in gold reward: optimum; DPO; DPO with"
      f" {FLIP:.0%} of labels turned round",
      published="noise costs",
      measured=page.numbers(gains),
      criterion="noisy < clean",
      holds=gains[2] < gains[1],
      certain=False,
    ),
    page.Row(
      quantity="E gold - beta KL of the same three",
      published="largest at the optimum",
      measured=page.numbers(objectives),
      criterion="optimum > clean > noisy",
      holds=objectives[0] > objectives[1] > objectives[2],
      certain=False,
    ),
  ]


def game_rows(lab, played, responded):
  nash = lab.classes(lab.nash())
  start, ours, theirs = (
    lab.classes(p) for p in (lab.reference, played, responded)
  )
  # The win rate of the class that beats it most often.
  worst = [float((np.array(GAME) @ c).max()) for c in (start, ours, theirs)]
  return [
    page.Row(
      quantity="game: share of each class, start; regularised Nash; self-play",
      published="self-play finds it",
      measured="; ".join(page.numbers(c) for c in (start, nash, ours)),
      criterion="each within 0.1",
      holds=bool(np.abs(ours - nash).max() <= 0.1),
      certain=False,
    ),
    page.Row(
      quantity="game: win rate of the best class against start; self-play;"
      " RLOO on the win rate against the start",
      published="1/2 at Nash; a reward's answer can be beaten",
      measured=page.numbers(worst),
      criterion="self-play < 0.6 < RLOO",
      holds=worst[1] < 0.6 < worst[2],
      certain=False,
    ),
  ]


def figure(lab, rloo) -> Figure:
  """Gold and proxy against KL: the exact path, and what was trained."""
  drawn = Figure(figsize=(5.4, 3.6), layout="constrained")
  axes = drawn.subplots()
  path = [lab.optimum(lab.proxy, float(b)) for b in np.geomspace(0.2, 60.0, 40)]
  for name, reward, colour in (
    ("proxy", lab.proxy, "#D55E00"),
    ("gold", lab.gold, "#0072B2"),
  ):
    axes.plot(
      [lab.kl(p) for p in path],
      [lab.mean(p, reward) for p in path],
      color=colour,
      label=f"{name}, exact optimum",
    )
    axes.plot(
      [lab.kl(p) for p in rloo.values()],
      [lab.mean(p, reward) for p in rloo.values()],
      "o",
      color=colour,
      label=f"{name}, RLOO",
    )
  axes.set(xlabel="KL to the start, nats", ylabel="mean reward")
  axes.legend(frameon=False, fontsize=8)
  axes.spines[["top", "right"]].set_visible(False)
  return drawn


if __name__ == "__main__":
  page.show(reproduce)
