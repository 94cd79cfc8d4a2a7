"""Batches as a function of seed and step, so that resuming needs no state."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from alignment_jax import errors
from alignment_jax.data import formatting
from alignment_jax.types import (
  Demonstration,
  PreferencePair,
  ScoredResponses,
  Tokens,
)

_RESPONSES = {
  "demonstration": ("response",),
  "preference": ("chosen", "rejected"),
  "feedback": ("response",),
}


class Loader:
  """Rows of one kind as batches of NumPy arrays of fixed shape.

  Every epoch is a new permutation of all rows, and batches run on from one
  epoch into the next. Rewards are scaled to mean 0 and variance 1 over all
  rows, as Richemond et al., 2024, do.

  Args:
    source: rows in the form of `rows.canonical`.
    kind: demonstration, preference or feedback.
    tokenizer: has `encode`, `bos_id`, `eos_id` and `pad_id`.
    batch_size: rows of a batch.
    prompt_length: tokens of a prompt, bos included.
    response_length: tokens of a response, eos included.
    seed: of the permutations.

  Raises:
    UserError: there are no rows.
  """

  def __init__(
    self,
    source: Sequence[dict[str, Any]],
    kind: str,
    tokenizer: Any,
    *,
    batch_size: int,
    prompt_length: int,
    response_length: int,
    seed: int,
  ):
    if len(source) == 0:
      raise errors.UserError(f"the data hold no {kind}s to load")
    self.source = source
    self._kind = kind
    self._tokenizer = tokenizer
    self._batch_size = batch_size
    self._prompt_length = prompt_length
    self._response_length = response_length
    self._seed = seed
    self._encoded = functools.lru_cache(maxsize=2**17)(self._encode)
    self._permutation = functools.lru_cache(maxsize=2)(self._permute)

  def __len__(self) -> int:
    return len(self.source)

  def batch(self, step: int) -> tuple[Any, dict[str, int]]:
    """The batch of one step, and how many of its rows were cut or empty."""
    places = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
    return self.rows(
      [
        int(self._permutation(place // len(self))[place % len(self)])
        for place in places
      ]
    )

  def rows(self, indices: Sequence[int]) -> tuple[Any, dict[str, int]]:
    """The rows at these places as one batch, and what was cut or empty."""
    encoded = [self._encoded(index) for index in indices]
    pad = self._tokenizer.pad_id
    prompt = formatting.left_padded(
      [row["prompt"].ids for row in encoded], self._prompt_length, pad
    )
    names = _RESPONSES[self._kind]
    responses = {
      name: formatting.right_padded(
        [row[name].ids for row in encoded], self._response_length, pad
      )
      for name in names
    }
    stats = {
      "data/prompts_cut": sum(row["prompt"].cut for row in encoded),
      "data/responses_cut": sum(
        row[name].cut for row in encoded for name in names
      ),
    }
    return self._assemble(prompt, responses, encoded), stats

  def _assemble(
    self, prompt: Tokens, responses: dict[str, Tokens], encoded: Sequence[dict]
  ) -> Any:
    def numbers(name):
      return np.array([row[name] for row in encoded], np.float32)

    if self._kind == "demonstration":
      return Demonstration(prompt=prompt, response=responses["response"])
    if self._kind == "preference":
      return PreferencePair(
        prompt=prompt,
        chosen=responses["chosen"],
        rejected=responses["rejected"],
        weight=numbers("weight"),
        probability=numbers("probability"),
      )
    mean, deviation = self._reward_moments
    return ScoredResponses(
      prompt=prompt,
      responses=jax.tree.map(lambda a: a[:, None], responses["response"]),
      rewards=(numbers("reward")[:, None] - np.float32(mean))
      / np.float32(deviation),
    )

  @functools.cached_property
  def _reward_moments(self):
    rewards = np.array([row["reward"] for row in self.source], np.float64)
    return float(rewards.mean()), float(rewards.std()) or 1.0

  def _encode(self, index):
    row = dict(self.source[index])
    row["prompt"] = formatting.encode_prompt(
      self._tokenizer, row["prompt"], length=self._prompt_length
    )
    for name in _RESPONSES[self._kind]:
      row[name] = formatting.encode_response(
        self._tokenizer, row[name], length=self._response_length
      )
    return row

  def _permute(self, epoch):
    rng = np.random.default_rng([self._seed, int(epoch)])
    return rng.permutation(len(self))
