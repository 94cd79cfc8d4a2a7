"""Responses of a policy to prompts, all at once or token by token."""

import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from alignment_jax import errors, models, parallel, sampling
from alignment_jax.data import padding
from alignment_jax.experiment import conversion, folder, methods, stage_folder
from alignment_jax.experiment.prompts import Prompt
from alignment_jax.rollouts.revisions import self_revise
from alignment_jax.types import Tokens

# Tokens between two looks at what was sampled, when it is shown as it comes.
_CHUNK = 8


class Policy(NamedTuple):
  """What responds.

  Attributes:
    model: the network.
    params: its parameters.
    tokenizer: of its texts.
    prompt_length: tokens that it reads of a prompt.
    mesh: where it lies.
    template: token ids around a response that is shown to be improved; None of
      a policy that was not trained to do so.
  """

  model: models.Model
  params: Any
  tokenizer: Any
  prompt_length: int
  mesh: jax.sharding.Mesh
  template: list[list[int]] | None = None


def open_policy(path: str) -> Policy:
  """The policy in a finished stage, a folder of the hub or a .gguf file.

  Raises:
    UserError: `path` is none of them, is damaged, or holds no policy.
  """
  here = pathlib.Path(path)
  if not here.exists():
    raise errors.UserError(f"{here} is not there")
  mesh = parallel.make_mesh(data=-1, fsdp=1, tensor=1)
  if (here / folder.MODEL).is_file():
    model, tokenizer, metadata = stage_folder.open_stage(here)
    params = stage_folder.load_policy(here, model, mesh)
    section, template = metadata["algorithm"], None
    if methods.method_named(section["name"]).revises:
      template = [tokenizer.encode(text) for text in section["template"]]
    return Policy(
      model, params, tokenizer, metadata["prompt_length"], mesh, template
    )
  tokenizer, load = conversion.open_hub(here)
  model, params = conversion.load_hub(here, tokenizer, load, mesh)
  return Policy(model, params, tokenizer, stage_folder.PROMPT_LENGTH, mesh)


def generate(
  path: str,
  prompts: Sequence[Prompt],
  *,
  seed: int,
  max_tokens: int,
  batch_size: int = 32,
  samples: int = 1,
  revisions: int = 0,
  chat: bool = False,
  show: Callable[[str], None] | None = None,
  **sampler: Any,
) -> Iterator[list[str]]:
  """The responses to each prompt in turn, `samples` of them.

  Messages are written with the model's chat template. A prompt that is too long
  keeps its end; how many were cut is said on standard error.

  Args:
    path: see `open_policy`.
    prompts: what to respond to.
    seed: of the sampling; batch n of it uses `fold_in(key(seed), n)`.
    max_tokens: of a response.
    batch_size: prompts at a time, rounded up to the devices.
    samples: responses per prompt.
    revisions: how often a response is shown to the policy and improved; the
      last is given. For a policy that SRPO trained.
    chat: whether a text is what a user says, for the chat template.
    show: is given the text of a response as it comes, in pieces of whole
      characters. Prompts are then taken one by one, and the responses are
      those of `batch_size` 1. An interrupt ends with what was there.
    **sampler: of `sampling.start`.

  Raises:
    UserError: the path holds no policy, a prompt is empty, there is no chat
      template, or a setting is out of range.
  """
  _check(prompts, batch_size, samples, show, revisions)
  policy = open_policy(path)
  if revisions and policy.template is None:
    raise errors.UserError(
      f"the policy in {path} was not trained to revise; give the folder of a"
      " stage of srpo, or 0 revisions"
    )
  texts = [_text(policy, prompt, chat, path) for prompt in prompts]
  tokens, cut = padding.prompt_tokens(
    policy.tokenizer, texts, length=policy.prompt_length
  )
  if cut and parallel.is_main_process():
    print(
      f"{cut} of {len(prompts)} prompts are longer than {policy.prompt_length}"
      " tokens; of those the end was read",
      file=sys.stderr,
    )
  settings = {
    "eos_id": policy.tokenizer.eos_id,
    "max_tokens": max_tokens,
    "samples": samples,
    **sampler,
  }
  unit = policy.mesh.shape["data"]
  if show is None:
    size = -(-min(batch_size, len(prompts)) // unit) * unit
    parts = parallel.batches(tokens, size)
    return _batched(policy, parts, seed, len(prompts), settings, revisions)
  # One by one; several devices all do the same.
  parts = (
    jax.tree.map(lambda array, row=row: array[[row] * unit], tokens)
    for row in range(len(prompts))
  )
  return _streamed(policy, parts, seed, show, settings)


def new_piece(text: str, shown: str, *, ended: bool) -> str:
  """What can be shown of a response that grows, beside what was shown of it.

  A character that came in part is kept back: it may become whole with the next
  token, or take those beside it along for a while.

  Args:
    text: the response so far.
    shown: the pieces of it before this one.
    ended: whether nothing comes any more.
  """
  whole = text if ended else text.rstrip("\ufffd")
  return whole[len(shown) :] if ended or whole.startswith(shown) else ""


def _batched(
  policy: Policy,
  parts: Iterable[Tokens],
  seed: int,
  count: int,
  settings: Mapping[str, Any],
  revisions: int,
) -> Iterator[list[str]]:
  def run(params: PyTree, prompt: Tokens, key: jax.Array) -> Tokens:
    if revisions and policy.template is not None:
      revised = self_revise(
        policy.model,
        params,
        prompt,
        key,
        template=policy.template,
        revisions=revisions,
        **settings,
      )
      return jax.tree.map(lambda array: array[:, -1:], revised)
    return sampling.generate(
      policy.model, params, prompt, key, **settings
    ).responses

  run = parallel.jit(run, out_shardings=parallel.replicated(policy.mesh))
  for number, part in enumerate(parts):
    key = jax.random.fold_in(jax.random.key(seed), number)
    out = run(policy.params, parallel.put_batch(policy.mesh, part), key)
    ids, mask = np.asarray(out.ids), np.asarray(out.mask)
    for row in range(min(len(ids), count)):
      yield [
        policy.tokenizer.decode(sample[real])
        for sample, real in zip(ids[row], mask[row], strict=True)
      ]
    count -= len(ids)


def _streamed(
  policy: Policy,
  parts: Iterable[Tokens],
  seed: int,
  show: Callable[[str], None],
  settings: Mapping[str, Any],
) -> Iterator[list[str]]:
  def start(params: PyTree, prompt: Tokens, key: jax.Array) -> Any:
    return sampling.start(policy.model, params, prompt, key, **settings)

  def advance(params: PyTree, state: Any, tokens: jax.Array) -> Any:
    return sampling.advance(policy.model, params, state, tokens)

  laid_out = parallel.jit(policy.model.for_decoding)(policy.params)
  start = parallel.jit(start)
  advance = parallel.jit(advance, donate_argnums=1)
  for number, part in enumerate(parts):
    key = jax.random.fold_in(jax.random.key(seed), number)
    shown = text = ""
    ended = False
    try:
      state = start(policy.params, parallel.put_batch(policy.mesh, part), key)
      while not ended:
        ids, mask = np.asarray(state.ids)[0], np.asarray(state.mask)[0]
        ended = bool(state.done[0]) or int(state.length) == len(ids)
        text = policy.tokenizer.decode(ids[mask])
        piece = new_piece(text, shown, ended=ended)
        show(piece)
        shown += piece
        if not ended:
          state = advance(laid_out, state, jnp.int32(_CHUNK))
    except KeyboardInterrupt:
      yield [text]
      return
    yield [text]


def _check(
  prompts: Sequence[Prompt],
  batch_size: int,
  samples: int,
  show: Callable[[str], None] | None,
  revisions: int,
) -> None:
  if not prompts:
    raise errors.UserError("there is no prompt to respond to")
  for number, prompt in enumerate(prompts, 1):
    if not (prompt.strip() if isinstance(prompt, str) else prompt):
      raise errors.UserError(f"prompt {number} is empty")
  if batch_size < 1:
    raise errors.UserError(f"batch_size must be >= 1, got {batch_size}")
  if revisions < 0:
    raise errors.UserError(f"revisions must be >= 0, got {revisions}")
  if revisions and (samples != 1 or show):
    raise errors.UserError(
      "revisions go with 1 sample that is not shown as it comes, got"
      f" {samples} {'shown ' if show else ''}samples"
    )
  if show and samples != 1:
    raise errors.UserError(
      f"responses can be shown as they come with 1 sample, got {samples}"
    )


def _text(policy: Policy, prompt: Prompt, chat: bool, path: str) -> str:
  if isinstance(prompt, str) and not chat:
    return prompt
  if not getattr(policy.tokenizer, "has_template", False):
    raise errors.UserError(f"the tokenizer in {path} has no chat template")
  if isinstance(prompt, str):
    prompt = [{"role": "user", "content": prompt}]
  return policy.tokenizer.chat(prompt)
