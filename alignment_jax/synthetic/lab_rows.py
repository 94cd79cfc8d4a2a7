"""Rows of the lab: made-up words, and raters whose reward is known.

A prompt is one word, a response up to three. Raters go by the gold reward of
`text_judges`, or by a proxy of it, and err as often as one says. No file is
read: a seed makes the rows, so a method that learns from them can be held
against the optimum.

    lab:flip=0.3,votes=1,seed=0

Settings, all with a default:
  flip: probability that a rater's label is flipped, in [0, 1/2]; 0.
  noise: how far what raters go by is off the gold, as in `lab_proxy_judge`; 0.
  length_bias: reward per word that only raters give; 0.
  votes: raters of each pair; with 0 a pair has the exact probability; 1.
  rows: of the train split; the others have an eighth of it; 16384.
  seed: of prompts, responses and labels; 0.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from alignment_jax import errors
from alignment_jax.synthetic import text_judges

LONGEST = 3  # words of a response


class Settings(NamedTuple):
  """Of the rows; see above."""

  flip: float = 0.0
  noise: float = 0.0
  length_bias: float = 0.0
  votes: int = 1
  rows: int = 16384
  seed: int = 0


_LEAST = {"votes": 0, "rows": 8, "seed": 0}
# A split's own draws: no row of one is in another but by chance.
_DRAWS = {"train": 0, "validation": 1, "test": 2}


def rows(text: str, kind: str, split: str) -> Sequence[dict[str, Any]]:
  """Rows of one kind.

  Prompts are uniform words; responses have a uniform number of uniform words.
  The two responses of a pair differ. `chosen` is what most raters prefer, ties
  by a coin, and `probability` the share of raters that prefer it; the gold
  rewards of both stand beside it. Feedback has the reward that raters go by.

  Args:
    text: settings, such as `flip=0.3,votes=0`; empty for the defaults.
    kind: preference or feedback, or any other for demonstrations.
    split: train, validation or test.

  Raises:
    UserError: a setting is unknown or out of range.
  """
  return draw(read(text), kind, split)


def read(text: str) -> Settings:
  """The settings in a text, with the defaults of the rest.

  Raises:
    UserError: one is unknown, no number, or out of range.
  """
  defaults = Settings()._asdict()
  settings = dict(defaults)
  for part in filter(None, text.split(",")):
    name, _, value = part.partition("=")
    if name not in defaults:
      raise errors.unknown("setting of the source 'lab'", name, defaults)
    kind = type(defaults[name])
    try:
      settings[name] = kind(value)
    except ValueError:
      settings[name] = math.nan
    least = _LEAST.get(name, -math.inf)
    if not (least <= settings[name] < math.inf):
      what = "an integer" if kind is int else "a number"
      bound = f" of at least {least}" if name in _LEAST else ""
      raise errors.UserError(
        f"{name} of the source 'lab' must be {what}{bound}, got '{value}'"
      )
  return Settings(**settings)


@functools.lru_cache(maxsize=8)
def draw(settings: Settings, kind: str, split: str) -> list[dict[str, Any]]:
  """The rows of one kind in a split, drawn from the seed once."""
  prefer = text_judges.lab_rater_preference(
    flip=settings.flip,
    noise=settings.noise,
    length_bias=settings.length_bias,
  )
  count = settings.rows if split == "train" else settings.rows // 8
  rng = np.random.default_rng([settings.seed, _DRAWS[split]])
  words = np.array(text_judges.WORDS)
  prompts = rng.choice(words, count).tolist()
  first = _responses(rng, words, count)
  if kind == "preference":
    second = _others(rng, words, first)
    probability = prefer(prompts, first, second).astype(np.float64)
    return _pairs(rng, prompts, first, second, probability, settings.votes)
  table = [
    {"prompt": prompt, "response": response}
    for prompt, response in zip(prompts, first, strict=True)
  ]
  if kind == "feedback":
    judge = text_judges.lab_proxy_judge(
      noise=settings.noise, length_bias=settings.length_bias
    )
    rewards = judge(prompts, first)
    for row, reward in zip(table, rewards, strict=True):
      row["reward"] = float(reward)
  return table


def _pairs(
  rng: np.random.Generator,
  prompts: list[str],
  first: list[str],
  second: list[str],
  probability: np.ndarray,
  votes: int,
) -> list[dict[str, Any]]:
  """Pairs of which the first is preferred with these probabilities."""
  if votes:
    probability = rng.binomial(votes, probability) / votes
  tie = (probability == 0.5) & (rng.random(len(prompts)) < 0.5)
  swap = (probability < 0.5) | tie
  gold = text_judges.lab_gold_judge()
  rewards = gold(prompts, first), gold(prompts, second)
  table = []
  for index, prompt in enumerate(prompts):
    chosen, rejected = (1, 0) if swap[index] else (0, 1)
    texts = first[index], second[index]
    table.append(
      {
        "prompt": prompt,
        "chosen": texts[chosen],
        "rejected": texts[rejected],
        "probability": float(max(probability[index], 1 - probability[index])),
        "chosen_reward": float(rewards[chosen][index]),
        "rejected_reward": float(rewards[rejected][index]),
      }
    )
  return table


def _responses(
  rng: np.random.Generator, words: np.ndarray, count: int
) -> list[str]:
  lengths = rng.integers(1, LONGEST + 1, count)
  drawn = rng.choice(words, (count, LONGEST))
  return [
    " ".join(row[:length]) for row, length in zip(drawn, lengths, strict=True)
  ]


def _others(
  rng: np.random.Generator, words: np.ndarray, first: list[str]
) -> list[str]:
  """Responses that differ from these; drawn again where they do not."""
  second = _responses(rng, words, len(first))
  while same := [i for i, text in enumerate(first) if text == second[i]]:
    redrawn = _responses(rng, words, len(same))
    for index, text in zip(same, redrawn, strict=True):
      second[index] = text
  return second
