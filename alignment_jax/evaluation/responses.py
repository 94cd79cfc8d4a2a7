"""What a policy responds to a list of prompts."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Key

from alignment_jax import parallel, sampling
from alignment_jax.data import buckets
from alignment_jax.models import base
from alignment_jax.types import Tokens

# Columns of padding that no prompt needs are cut down to a multiple of this.
BUCKET = 8


@runtime_checkable
class Decoder(Protocol):
  """What is asked of a tokenizer here."""

  @property
  def eos_id(self) -> int: ...

  def decode(self, ids: list[int], /) -> str: ...


class Responses(NamedTuple):
  """One response to each of N prompts.

  Attributes:
    prompts: as text.
    texts: the responses as text.
    prompt: [N, T] token ids, left-padded.
    tokens: [N, T] token ids of the responses, right-padded.
  """

  prompts: Sequence[str]
  texts: Sequence[str]
  prompt: Tokens
  tokens: Tokens

  def lengths(self) -> np.ndarray:
    """Tokens of each response, the end-of-sequence token included."""
    return np.sum(self.tokens.mask, axis=-1)


def sample(
  model: base.Model,
  params: base.Params,
  tokenizer: Decoder,
  prompts: Sequence[str],
  prompt: Tokens,
  key: Key[Array, ""],
  *,
  mesh: jax.sharding.Mesh,
  batch_size: int,
  **settings: Any,
) -> Responses:
  """Samples one response to each prompt.

  Args:
    model: the network.
    params: its parameters.
    tokenizer: of the prompts.
    prompts: N texts.
    prompt: the same as tokens on the host.
    key: batch n uses `fold_in(key, n)`.
    mesh: where to run.
    batch_size: prompts at a time.
    **settings: of `sampling.generate`.
  """

  def generate(params: base.Params, prompt: Tokens, key: Array) -> Tokens:
    return sampling.generate(
      model, params, prompt, key, eos_id=tokenizer.eos_id, **settings
    ).responses

  run = parallel.guarded(
    parallel.jit(generate, out_shardings=parallel.replicated(mesh)), "responses"
  )
  # All batches are cut to one width, so that there is still one program.
  prompt = buckets.trim(prompt, BUCKET)
  parts = []
  for index, part in enumerate(parallel.batches(prompt, batch_size)):
    out = run(
      params, parallel.put_batch(mesh, part), jax.random.fold_in(key, index)
    )
    parts.append(jax.tree.map(lambda a: np.asarray(a)[:, 0], out))
  count = len(prompts)
  tokens = jax.tree.map(lambda *a: np.concatenate(a)[:count], *parts)
  texts = [
    tokenizer.decode([int(i) for i in ids[mask]])
    for ids, mask in zip(tokens.ids, tokens.mask, strict=True)
  ]
  return Responses(list(prompts), texts, prompt, tokens)
