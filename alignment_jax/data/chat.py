"""Conversations in a model's own chat template."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from alignment_jax import errors
from alignment_jax.data import formatting


def end_of_turn(tokenizer: Any) -> int | None:
  """The token that the template puts behind a response, if it puts one."""
  asked = [{"role": "user", "content": "a"}]
  try:
    _, tails = _split(
      tokenizer,
      asked,
      {"b": [{"role": "assistant", "content": "b"}]},
    )
  except errors.UserError:  # whoever gives it messages will be told
    return None
  _, _, tail = tails["b"].partition("b")
  ids = tokenizer.encode(tail.lstrip()) if tail else []
  return ids[0] if ids else None


def encode(
  tokenizer: Any,
  conversation: Mapping[str, Any],
  names: Sequence[str],
  *,
  prompt_length: int,
  response_length: int,
) -> dict[str, formatting.Encoded]:
  """A row's prompt and responses in the tokenizer's template, as tokens.

  The prompt ends where the template asks for a response, and has the tokens
  that generation sees. A response is what the template puts after that: what
  it writes behind the token that ends a text is left out, and a response
  without that token gets it; `HubTokenizer.encode_from` says what happens at
  the border. Where the template asks for a response in other words than those
  before the responses of a row (such as with an opened block of thoughts), the
  prompt ends where the two part.

  Args:
    tokenizer: a `HubTokenizer` with a template.
    conversation: message lists under `prompt` and each of `names`; `where`
      names the row.
    names: of the responses.
    prompt_length: tokens of a prompt, special ones included.
    response_length: tokens of a response, eos included.

  Raises:
    UserError: the template refuses the messages, or writes the prompt in
      another way when a response follows.
  """
  try:
    prompt, responses = _split(
      tokenizer,
      conversation["prompt"],
      {name: conversation[name] for name in names},
    )
  except errors.UserError as error:
    raise errors.UserError(f"{conversation['where']}: {error}") from error
  result = {
    "prompt": formatting.dressed_prompt(
      tokenizer, tokenizer.encode(prompt), length=prompt_length
    )
  }
  for name, text in responses.items():
    ids = tokenizer.encode_from(prompt + text, len(prompt))
    result[name] = formatting.ended_response(
      tokenizer, _until_eos(tokenizer, ids), length=response_length
    )
  return result


def _split(
  tokenizer: Any,
  prompt: Sequence[Mapping[str, Any]],
  responses: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[str, dict[str, str]]:
  """The prompt as text, and each response as what follows it."""
  wholes = {
    name: tokenizer.chat([*prompt, *messages], add_generation_prompt=False)
    for name, messages in responses.items()
  }
  asked = tokenizer.chat(prompt)
  shared = os.path.commonprefix([asked, *wholes.values()])
  if shared != asked:
    told = tokenizer.chat(prompt, add_generation_prompt=False)
    if not shared.startswith(told):
      raise errors.UserError(
        "the tokenizer's chat template does not begin the conversation with"
        f" its prompt: they part after {shared[-40:]!r}, where the prompt goes"
        f" on with {asked[len(shared) :][:40]!r}; give the row as plain text"
        " instead"
      )
  return shared, {name: text[len(shared) :] for name, text in wholes.items()}


def _until_eos(tokenizer: Any, ids: list[int]) -> list[int]:
  """Without what stands behind the last eos, if that is but space."""
  if tokenizer.eos_id not in ids:
    return ids
  end = len(ids) - ids[::-1].index(tokenizer.eos_id)
  return ids if tokenizer.decode(ids[end:]).strip() else ids[:end]
