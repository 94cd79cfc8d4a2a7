"""Conversations in a model's own chat template."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from alignment_jax import errors
from alignment_jax.data import formatting

Messages = Sequence[Mapping[str, Any]]


class Template:
  """A chat template, which is a Jinja program of the checkpoint.

  It runs in a sandbox that can read its arguments and nothing else. There is no
  `strftime_now`: the same row is the same text on every day. `{% generation %}`
  blocks are read as what stands in them.

  Args:
    config: of the tokenizer: its `chat_template` and special tokens.

  Raises:
    UserError: there is no template, or it does not compile.
  """

  def __init__(self, config: Mapping[str, Any]):
    import jinja2.ext
    from jinja2 import exceptions, sandbox

    class Generation(jinja2.ext.Extension):
      tags = frozenset({"generation"})

      def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(
          ("name:endgeneration",), drop_needle=True
        )

    def refuse(message):
      raise exceptions.TemplateError(message)

    source = template_of(config)
    if not source:
      raise errors.UserError("the tokenizer has no chat template")
    environment = sandbox.ImmutableSandboxedEnvironment(
      trim_blocks=True,
      lstrip_blocks=True,
      extensions=[Generation, jinja2.ext.loopcontrols],
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    environment.globals["raise_exception"] = refuse
    try:
      self._program = environment.from_string(source)
    except exceptions.TemplateError as error:
      raise errors.UserError(
        f"the chat template does not compile: {error}"
      ) from error
    self._special = {
      name: value["content"] if isinstance(value, Mapping) else value
      for name, value in config.items()
      if name in ("bos_token", "eos_token", "pad_token", "unk_token")
    }

  def render(self, messages: Messages, *, answer: bool) -> str:
    """Messages as text; with `answer`, up to where the model is to answer.

    Raises:
      UserError: the template does not take these messages.
    """
    try:
      return self._program.render(
        messages=[dict(message) for message in messages],
        add_generation_prompt=answer,
        **self._special,
      )
    except Exception as error:  # whatever a template does
      raise errors.UserError(
        f"the chat template cannot take these messages: {error}"
      ) from error


def template_of(config: Mapping[str, Any]) -> str | None:
  """The template in a tokenizer's config; of several, the default one."""
  template = config.get("chat_template")
  if isinstance(template, list):
    named = {entry["name"]: entry["template"] for entry in template}
    return named.get("default")
  return template


def end_of_turn(tokenizer: Any) -> int | None:
  """The special token that the template puts behind an answer, if it does."""
  asked = [{"role": "user", "content": "a"}]
  try:
    _, tails = _apart(
      tokenizer.template,
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

  The prompt ends where the template asks for an answer, and has the tokens that
  generation sees. A response is what the template puts after that: what it
  writes behind the token that ends a text is left out, and a response without
  that token gets it; `HubTokenizer.encode_from` says what happens at the
  border. A template that asks for an
  answer in other words than those before the answers of a row (such as with
  an opened block of thoughts) ends the prompt where they part.

  Args:
    tokenizer: a `HubTokenizer` with a template.
    conversation: message lists under `prompt` and each of `names`; `where`
      names the row.
    names: of the responses.
    prompt_length: tokens of a prompt, special ones included.
    response_length: tokens of a response, eos included.

  Raises:
    UserError: the template refuses the messages, or writes the prompt in
      another way when an answer follows.
  """
  try:
    prompt, responses = _apart(
      tokenizer.template,
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


def _apart(template, prompt, responses):
  """The prompt as text, and each response as what follows it."""
  wholes = {
    name: template.render([*prompt, *messages], answer=False)
    for name, messages in responses.items()
  }
  asked = template.render(prompt, answer=True)
  shared = os.path.commonprefix([asked, *wholes.values()])
  if shared != asked:
    told = template.render(prompt, answer=False)
    if not shared.startswith(told):
      raise errors.UserError(
        "the tokenizer's chat template does not begin the conversation with"
        f" its prompt: they part after {shared[-40:]!r}, where the prompt goes"
        f" on with {asked[len(shared) :][:40]!r}; give the row as plain text"
        " instead"
      )
  return shared, {name: text[len(shared) :] for name, text in wholes.items()}


def _until_eos(tokenizer, ids):
  """Without what stands behind the last eos, if that is but space."""
  if tokenizer.eos_id not in ids:
    return ids
  end = len(ids) - ids[::-1].index(tokenizer.eos_id)
  return ids if tokenizer.decode(ids[end:]).strip() else ids[:end]
