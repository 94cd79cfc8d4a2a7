"""The lab of `lab.py`: a start policy, real training runs, exact expectations.

Responses are up to three of five words, so all 156 can be listed: gold reward,
proxy, KL, and the optimum reference exp(r / beta) / Z are sums.
"""

import itertools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import config_dict

from alignment_jax import (
  data,
  experiment,
  files,
  judges,
  models,
  parallel,
  scoring,
  tabular,
)
from alignment_jax.experiment import folder, stage_folder
from alignment_jax.synthetic.text_judges import WORDS
from alignment_jax.training import checkpoint
from alignment_jax.types import Tokens
from configs import base, quickstart

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
# Of three words or none, one, and two: each loses to another, and the Nash
# policy is (4, 10, 1) / 15.
GAME = dict(
  matrix=((0.5, 0.55, 0.0), (0.45, 0.5, 0.7), (1.0, 0.3, 0.5)),
  numbers=(1,) * len(WORDS),
)
GAME_TAU = 0.03
DPO_BETA = 1.0


class Lab:
  """A start policy, and what the trainer makes of it.

  Attributes:
    gold: reward of every response to every prompt, [P, A].
    proxy: the same of what is learned from.
    words: of every response, [A].
    kinds: class of every response in the game, [A].
    reference: log-probabilities of the start, [P, A].

  Args:
    root: an empty folder for the runs.
    steps: of a run of each method.
  """

  def __init__(self, root: pathlib.Path, *, steps: Mapping[str, int]) -> None:
    self._steps = steps
    self._root = root
    self._mesh = parallel.make_mesh(data=1, fsdp=1, tensor=1)
    self._model = models.make_model(
      MODEL["name"],
      vocabulary_size=len(WORDS) + 1,
      **{name: value for name, value in MODEL.items() if name != "name"},
    )
    self._prompt, self._responses, texts = enumerated()
    self.words = np.array([len(text.split()) for text in texts])
    self.kinds = self.words % len(GAME["matrix"])
    self.gold, self.proxy = (
      np.stack([judge([word] * len(texts), texts) for word in WORDS])
      for judge in (judges.build("lab_gold"), judges.build("lab_proxy"))
    )
    params = jax.jit(self._model.init)(jax.random.key(0))
    self._write_start(params)
    self.reference = self.logprobs(params)

  def logprobs(self, params: Any) -> np.ndarray:
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
      tabular.tilted(
        jnp.asarray(self.reference),
        jnp.asarray(reward, jnp.float32),
        tau=beta,
      )
    )

  def mean(self, log_policy: np.ndarray, values: np.ndarray) -> float:
    """The exact expectation of `values`, averaged over prompts."""
    return float((np.exp(log_policy) * values).sum(axis=-1).mean())

  def kl(self, log_policy: np.ndarray) -> float:
    """KL to the start in nats."""
    return self.mean(log_policy, log_policy - self.reference)

  def objective(
    self, log_policy: np.ndarray, reward: np.ndarray, beta: float
  ) -> float:
    """E reward - beta KL."""
    return self.mean(log_policy, reward) - beta * self.kl(log_policy)

  def classes(self, log_policy: np.ndarray) -> np.ndarray:
    """How often the responses are of each class, [3]."""
    shares = np.array(
      [
        self.mean(log_policy, self.kinds == c)
        for c in range(len(GAME["matrix"]))
      ]
    )
    return shares / shares.sum()

  def nash(self) -> np.ndarray:
    """Log of the regularized Nash policy of the game, [P, A]."""
    matrix = np.array(GAME["matrix"], np.float32)
    game = jnp.asarray(matrix[self.kinds][:, self.kinds])
    return np.stack(
      [
        np.asarray(
          tabular.regularized_nash(jnp.asarray(row), game, tau=GAME_TAU)
        )
        for row in self.reference
      ]
    )

  def rloo(self, beta: float) -> np.ndarray:
    """What RLOO on the proxy ends with."""
    config = self._config(dict(name="rloo", beta=beta))
    config.sampling = sampling(dict(name="lab_proxy"))
    return self._trained(config, f"rloo-{beta}")

  def dpo(self, **raters: float) -> np.ndarray:
    """What DPO ends with on the pairs of such raters, settings of the source.

    The optimum is that of reward over beta = 1, since raters prefer by the
    sigmoid of the difference in reward.
    """
    config = self._config(
      dict(name="dpo", beta=DPO_BETA, label_smoothing=0.0, aggregation="sum")
    )
    options = ",".join(f"{name}={value}" for name, value in raters.items())
    config.data.source = f"lab:{options}"
    return self._trained(config, f"dpo-{options}")

  def self_play(self) -> np.ndarray:
    """What self-play in the game ends with."""
    config = self._config(dict(name="self_play", tau=GAME_TAU))
    config.sampling = sampling(dict(name="lab_class_preference", **GAME))
    return self._trained(config, "self_play")

  def best_response(self) -> np.ndarray:
    """What RLOO ends with on win rates against the start."""
    config = self._config(dict(name="rloo", beta=GAME_TAU))
    config.sampling = sampling(
      dict(
        name="lab_class",
        **GAME,
        opponent=tuple(self.classes(self.reference).tolist()),
      )
    )
    return self._trained(config, "best_response")

  def _trained(self, config: config_dict.ConfigDict, name: str) -> np.ndarray:
    path = self._root / name
    experiment.train(config, str(path))
    stage = path / config.algorithm.name
    return self.logprobs(
      stage_folder.load_policy(stage, self._model, self._mesh)
    )

  def _config(self, algorithm: dict[str, Any]) -> config_dict.ConfigDict:
    config = quickstart.get_config("tiny").unlock()
    config.model = config_dict.create(**MODEL)
    config.init_from = str(self._root / "start")
    config.data.update(source="lab", prompt_length=1, response_length=LENGTH)
    config.mesh.data = 1
    config.sft = config.reward_model = None
    config.evaluation.prompts = 0
    steps = self._steps[algorithm["name"]]
    stage = base.stage(
      algorithm,
      learning_rate=3e-3,
      steps=steps,
      batch_size=32,
      warmup=min(10, steps),
    )
    stage["training"].update(log_every=100, checkpoint_every=steps)
    for field, section in stage.items():
      config[field] = config_dict.ConfigDict(section)
    return config

  def _write_start(self, params: Any) -> None:
    """The start as the folder of a stage."""
    path = self._root / "start"
    path.mkdir()
    word_tokenizer().save(path / folder.TOKENIZER)
    files.write_json(
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
    checkpoint.save_tree(path / stage_folder.FINAL, {"policy": params})


def sampling(judge: dict[str, Any]) -> config_dict.ConfigDict:
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

  tokenizer = tokenizers.Tokenizer(
    tokenizers.models.WordLevel(
      {"</s>": EOS, **{word: n for n, word in enumerate(WORDS, start=1)}},
      unk_token="</s>",
    )
  )
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  tokenizer.add_special_tokens(["</s>"])
  return data.HubTokenizer.from_description(
    {
      "tokenizer": json.loads(tokenizer.to_str()),
      "config": {"eos_token": "</s>"},
      "eos_id": EOS,
      "pad_id": EOS,
    }
  )


def enumerated() -> tuple[Tokens, Tokens, list[str]]:
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
  for index, row in enumerate(rows):
    ids[index, : len(row)], mask[index, : len(row)] = row, True
  texts = [" ".join(WORDS[i - 1] for i in row if i != EOS) for row in rows]
  prompt = Tokens(
    jnp.arange(1, len(WORDS) + 1, dtype=jnp.int32)[:, None],
    jnp.ones((len(WORDS), 1), bool),
  )
  responses = jax.tree.map(
    lambda a: jnp.broadcast_to(a, (len(WORDS), *a.shape)), Tokens(ids, mask)
  )
  return prompt, responses, texts
