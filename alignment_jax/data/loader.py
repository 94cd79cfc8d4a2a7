"""Batches as a function of seed and step, so that resuming needs no state."""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from alignment_jax import errors
from alignment_jax.data import chat, formatting, padding
from alignment_jax.data.tokenizers import Tokenizer
from alignment_jax.types import (
  Demonstration,
  PreferencePair,
  Prompts,
  ScoredResponses,
  Tokens,
  on_host,
)

Batch = Demonstration | PreferencePair | Prompts | ScoredResponses
DataKind = Literal["demonstration", "preference", "feedback", "prompt"]

_RESPONSES = {
  "demonstration": ("response",),
  "preference": ("chosen", "rejected"),
  "feedback": ("response",),
  "prompt": (),
}


class Loader:
  """Rows of one kind as batches of NumPy arrays of fixed shape.

  Every epoch is a new permutation of all rows, and batches run on from one
  epoch into the next. Rows of messages are rendered with the tokenizer's chat
  template if it has one, and else joined as text.

  Args:
    source: rows in the form of `rows.canonical`.
    kind: demonstration, preference, feedback or prompt.
    tokenizer: has `encode`, `prompt_prefix`, `prompt_suffix`, `eos_id` and
      `pad_id`; and `has_template` if it may have one.
    batch_size: rows of a batch.
    prompt_length: tokens of a prompt, bos included.
    response_length: tokens of a response, eos included.
    seed: of the permutations.
    reward_scale: mean and standard deviation that rewards are scaled by; those
      of all rows if None, so that rewards have mean 0 and variance 1, as in
      Richemond et al., 2024. Held-out rows need those of the training rows.

  Raises:
    UserError: there are no rows, a size is less than 1, or the chat template
      cannot write the first row.
  """

  def __init__(
    self,
    source: Sequence[dict[str, Any]],
    kind: str,
    tokenizer: Tokenizer,
    *,
    batch_size: int,
    prompt_length: int,
    response_length: int,
    seed: int,
    reward_scale: tuple[float, float] | None = None,
  ):
    if kind not in _RESPONSES:
      raise errors.unknown("kind of data", kind, _RESPONSES)
    if len(source) == 0:
      raise errors.UserError(f"the data hold no {kind}s to load")
    sizes = {
      "batch_size": batch_size,
      "prompt_length": prompt_length,
      "response_length": response_length,
    }
    for name, size in sizes.items():
      if size < 1:
        raise errors.UserError(f"{name} must be at least 1, got {size}")
    if seed < 0:
      raise errors.UserError(f"seed must be at least 0, got {seed}")
    if reward_scale is not None and not reward_scale[1] > 0:
      raise errors.UserError(
        f"reward_scale needs a deviation above 0, got {reward_scale[1]}"
      )
    self.source = source
    self._kind = kind
    self._tokenizer = tokenizer
    self._batch_size = batch_size
    self._prompt_length = prompt_length
    self._response_length = response_length
    self._seed = seed
    self._reward_scale = reward_scale
    self._encoded = functools.lru_cache(maxsize=2**17)(self._encode)
    self._permutation = functools.lru_cache(maxsize=2)(self._permute)
    self._has_template = getattr(tokenizer, "has_template", False)
    if self._has_template:
      self._encoded(0)

  def __len__(self) -> int:
    return len(self.source)

  def batch(self, step: int) -> tuple[Batch, dict[str, int]]:
    """The batch of one step, and how many of its texts were cut or empty.

    Depends on the seed and the step alone: a resumed run sees what it would
    have seen, whatever it read before.

    Returns:
      NumPy arrays in the type of the kind (`types.ScoredResponses` with one
      response per prompt), and counts under `data/prompts_cut`,
      `data/responses_cut` and `data/empty_responses`.
    """
    return self.rows(self.indices(step))

  def indices(self, step: int) -> list[int]:
    """Indices into the source of the rows of one step's batch."""
    if step < 0:
      raise ValueError(f"step {step} is negative")
    first = step * self._batch_size
    # Python's integers: a step far into training must not overflow.
    return [
      int(self._permutation(position // len(self))[position % len(self)])
      for position in range(first, first + self._batch_size)
    ]

  def rows(self, indices: Sequence[int]) -> tuple[Batch, dict[str, int]]:
    """The rows at these indices as one batch, and how many texts were cut."""
    encoded = [self._encoded(index) for index in indices]
    pad = self._tokenizer.pad_id
    prompt = padding.left_padded(
      [row["prompt"].ids for row in encoded], self._prompt_length, pad
    )
    names = _RESPONSES[self._kind]
    responses = {
      name: padding.right_padded(
        [row[name].ids for row in encoded], self._response_length, pad
      )
      for name in names
    }
    stats = {
      "data/prompts_cut": sum(row["prompt"].cut for row in encoded),
      "data/responses_cut": sum(
        row[name].cut for row in encoded for name in names
      ),
      "data/empty_responses": sum(
        row[name].ids == [self._tokenizer.eos_id]
        for row in encoded
        for name in names
      ),
    }
    return self._assemble(prompt, responses, encoded), stats

  def _assemble(
    self,
    prompt: Tokens,
    responses: dict[str, Tokens],
    encoded: Sequence[dict[str, Any]],
  ) -> Batch:
    def numbers(name: str) -> np.ndarray:
      return np.array([row[name] for row in encoded], np.float32)

    if self._kind == "prompt":
      return Prompts(prompt=prompt)
    if self._kind == "demonstration":
      return Demonstration(prompt=prompt, response=responses["response"])
    if self._kind == "preference":
      return PreferencePair(
        prompt=prompt,
        chosen=responses["chosen"],
        rejected=responses["rejected"],
        weight=on_host(numbers("weight")),
        probability=on_host(numbers("probability")),
      )
    mean, deviation = self.reward_scale
    response = responses["response"]
    return ScoredResponses(
      prompt=prompt,
      responses=Tokens(response.ids[:, None], response.mask[:, None]),
      rewards=on_host(
        (numbers("reward")[:, None] - np.float32(mean)) / np.float32(deviation)
      ),
    )

  @functools.cached_property
  def reward_scale(self) -> tuple[float, float]:
    """Mean and standard deviation that rewards are scaled by."""
    if self._reward_scale is not None:
      return self._reward_scale
    rewards = np.array([row["reward"] for row in self.source], np.float64)
    return float(rewards.mean()), float(rewards.std()) or 1.0

  def _encode(self, index: int) -> dict[str, Any]:
    row = dict(self.source[index])
    if "chat" in row and self._has_template:
      return row | chat.encode(
        self._tokenizer,
        row["chat"],
        _RESPONSES[self._kind],
        prompt_length=self._prompt_length,
        response_length=self._response_length,
      )
    row["prompt"] = formatting.encode_prompt(
      self._tokenizer, row["prompt"], length=self._prompt_length
    )
    for name in _RESPONSES[self._kind]:
      row[name] = formatting.encode_response(
        self._tokenizer, row[name], length=self._response_length
      )
    return row

  def _permute(self, epoch: int) -> np.ndarray:
    rng = np.random.default_rng([self._seed, epoch])
    return rng.permutation(len(self))
