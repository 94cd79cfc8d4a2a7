"""Conversations in templates of the styles in use, as tokens."""

import json

import jax
import numpy as np
import pytest
import tokenizers

from alignment_jax import errors
from alignment_jax.data import (
  HubTokenizer,
  Loader,
  chat,
  load_tokenizer,
  open_tokenizer,
  rows,
  tokenizer_fingerprint,
)

LLAMA2 = (
  "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\\n' +"
  " messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% set messages ="
  " messages[1:] %}{% else %}{% set system = '' %}{% endif %}{% for m in"
  " messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{"
  " raise_exception('roles must alternate') }}{% endif %}{% if m['role'] =="
  " 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '') +"
  " m['content'].strip() + ' [/INST]' }}{% else %}{{ ' ' +"
  " m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
  "{% for m in messages %}{{ (bos_token if loop.first else '') +"
  " '<|start|>' + m['role'] + '<|end|>\\n\\n' + m['content'] | trim +"
  " '<|eot|>' }}{% endfor %}{% if add_generation_prompt %}{{"
  " '<|start|>assistant<|end|>\\n\\n' }}{% endif %}"
)
CHATML = (
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role =="
  " 'assistant' %}{% generation %}{{ m.content }}<|im_end|>\n"
  "{% endgeneration %}{% else %}{{ m.content }}<|im_end|>\n{% endif %}"
  "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
  "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{"
  " raise_exception('no system role') }}{% endif %}{{ '<turn>' + ('model' if"
  " m.role == 'assistant' else m.role) + '\\n' + m.content | trim +"
  " '<end>\\n' }}{% endfor %}{% if add_generation_prompt %}{{"
  " '<turn>model\\n' }}{% endif %}"
)
STYLES = {
  "llama2": (LLAMA2, "</s>"),
  "llama3": (LLAMA3, "<|eot|>"),
  "chatml": (CHATML, "<|im_end|>"),
  "gemma": (GEMMA, "<end>"),
}
SPECIAL = "<s> </s> <|start|> <|end|> <|eot|> <|im_start|> <|im_end|> <turn>"
SPECIAL = [*SPECIAL.split(), "<end>"]
# What GPT-like models make one token of, and what crosses borders.
MERGES = [("\u010a", "\u010a"), ("\u0120", "a")]


def make(template, eos="</s>", bos=True):
  """A byte-level BPE whose only merges are two newlines, and " a"."""
  letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
  pieces = [*SPECIAL, *letters, *("".join(pair) for pair in MERGES)]
  made = tokenizers.Tokenizer(
    tokenizers.models.BPE(
      vocab={piece: token_id for token_id, piece in enumerate(pieces)},
      merges=MERGES,
    )
  )
  made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
    add_prefix_space=False, use_regex=False
  )
  made.decoder = tokenizers.decoders.ByteLevel()
  made.add_special_tokens(SPECIAL)
  steps = [tokenizers.processors.ByteLevel(trim_offsets=True)]
  if bos:
    steps.append(
      tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
      )
    )
  made.post_processor = tokenizers.processors.Sequence(steps)
  return HubTokenizer.from_description(
    {
      "tokenizer": json.loads(made.to_str()),
      "config": {
        "bos_token": "<s>",
        "eos_token": "</s>",
        **({"chat_template": template} if template else {}),
      },
      "eos_id": SPECIAL.index(eos),
      "pad_id": SPECIAL.index(eos),
    }
  )


def turns(*texts, system=None):
  roles = ["user", "assistant"] * len(texts)
  turns = [
    {"role": r, "content": t} for r, t in zip(roles, texts, strict=False)
  ]
  return [{"role": "system", "content": system}] * (system is not None) + turns


def encode(tokenizer, messages, length=200):
  row = rows.canonical({"messages": messages}, "demonstration", "f line 1")
  found = chat.encode(
    tokenizer,
    row["chat"],
    ["response"],
    prompt_length=length,
    response_length=length,
  )
  return found["prompt"], found["response"]


def text(tokenizer, ids):
  return tokenizer.fast.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("bos", [True, False])
def test_a_conversation_has_one_bos_and_ends_with_one_eos(style, bos):
  template, eos = STYLES[style]
  tokenizer = make(template, eos, bos)
  prompt, response = encode(tokenizer, turns("hi", "yo"))
  begins = bos or style != "chatml"
  assert prompt.ids.count(0) == begins and (prompt.ids[0] == 0) == begins
  assert response.ids.count(tokenizer.eos_id) == 1
  assert response.ids[-1] == tokenizer.eos_id
  assert tokenizer.decode(response.ids).strip() == "yo"


@pytest.mark.parametrize("style", STYLES)
def test_the_prompt_is_what_generation_reads(style):
  template, eos = STYLES[style]
  tokenizer = make(template, eos)
  messages = turns("hi", "yo", "more", "ok")
  prompt, response = encode(tokenizer, messages)
  asked = tokenizer.chat(messages[:-1])
  assert prompt.ids == ([0] if style == "chatml" else []) + tokenizer.encode(
    asked
  )
  whole = tokenizer.chat(messages, add_generation_prompt=False)
  rendered = text(tokenizer, prompt.ids) + text(tokenizer, response.ids)
  assert rendered.removeprefix("<s>") == whole.removeprefix("<s>").rstrip("\n")


def test_a_system_message_stands_in_the_prompt():
  prompt, _ = encode(make(LLAMA2), turns("hi", "yo", system="be kind"))
  assert "<<SYS>>\nbe kind\n<</SYS>>\n\nhi [/INST]" in text(
    make(LLAMA2), prompt.ids
  )


def test_an_end_of_turn_that_is_not_eos_is_kept_before_it():
  tokenizer = make(GEMMA, "</s>")
  _, response = encode(tokenizer, turns("hi", "yo"))
  assert text(tokenizer, response.ids) == "yo<end>\n</s>"


def test_a_token_over_the_border_is_taken_apart():
  # " a" and two newlines are one token each in the whole text.
  template = (
    "{% for m in messages %}{{ m.role }}:\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
  )
  tokenizer = make(template)
  for answer in ("\nno", "\n\n\nno"):
    prompt, response = encode(tokenizer, turns("q", answer))
    assert text(tokenizer, prompt.ids).endswith("assistant:\n")
    assert text(tokenizer, response.ids) == answer + "</s>"
  spaced = make(
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
  )
  prompt, response = encode(spaced, turns("q", "a b"))
  assert text(spaced, prompt.ids).endswith("assistant: ")
  assert text(spaced, response.ids) == "a b</s>"


def test_a_generation_prompt_that_differs_ends_where_it_parts():
  template = CHATML.replace(
    "assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"
  )
  tokenizer = make(template, "<|im_end|>")
  prompt, response = encode(tokenizer, turns("hi", "yo"))
  assert text(tokenizer, prompt.ids).endswith("<|im_start|>assistant\n")
  assert text(tokenizer, response.ids) == "yo<|im_end|>"


def test_a_prompt_that_is_written_anew_is_one_error_with_its_row():
  template = (
    "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
  )
  with pytest.raises(
    errors.UserError, match="f line 1: the tokenizer's chat template .*parts? "
  ):
    encode(make(template), turns("hi", "yo"))


@pytest.mark.parametrize(
  "template, messages, message",
  [
    (GEMMA, turns("hi", "yo", system="be kind"), "no system role"),
    (LLAMA2, turns("hi", "yo", "x", "y")[1:], "roles must alternate"),
    ("{% for %}", turns("hi", "yo"), "does not compile"),
    ("{{ nothing('%d') }}", turns("hi", "yo"), "nothing"),
  ],
)
def test_a_template_that_refuses_is_one_error_with_its_row(
  template, messages, message
):
  if messages[0]["role"] == "assistant":
    messages = [*turns("x")[:1], *turns("y")[:1], *messages]
  with pytest.raises(errors.UserError, match=f"f line 1: .*{message}"):
    encode(make(template), messages)


def test_what_does_not_fit_is_cut_and_counted():
  tokenizer = make(LLAMA3, "<|eot|>")
  prompt, response = encode(tokenizer, turns("hi" * 20, "yo" * 20), length=30)
  assert prompt.cut and len(prompt.ids) == 30 and prompt.ids[0] == 0
  assert text(tokenizer, prompt.ids).endswith("assistant<|end|>\n\n")
  assert response.cut and tokenizer.eos_id not in response.ids


def _loader(tokenizer, table, kind):
  return Loader(
    [rows.canonical(row, kind, f"line {n}") for n, row in enumerate(table, 1)],
    kind,
    tokenizer,
    batch_size=1,
    prompt_length=64,
    response_length=16,
    seed=0,
  )


def test_pairs_of_conversations_are_templated_and_share_their_prompt():
  tokenizer = make(CHATML, "<|im_end|>", bos=False)
  pair = {"chosen": turns("q", "good"), "rejected": turns("q", "bad")}
  batch, counts = _loader(tokenizer, [pair], "preference").batch(0)

  def rendered(tokens):
    return text(tokenizer, np.asarray(tokens.ids)[np.asarray(tokens.mask)])

  assert rendered(batch.prompt) == (
    "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
  )
  assert rendered(batch.chosen) == "good<|im_end|>"
  assert rendered(batch.rejected) == "bad<|im_end|>"
  assert set(counts.values()) == {0}


@pytest.mark.parametrize("template", [None, CHATML])
def test_texts_are_joined_where_there_is_no_chat_or_no_template(template):
  row = {"messages": turns("q", "a")} if template is None else {
    "prompt": "q", "response": "a"
  }  # fmt: skip
  plain = _loader(
    make(None), [{"prompt": "q", "response": "a"}], "demonstration"
  )
  other = _loader(make(template), [row], "demonstration")
  jax.tree.map(
    np.testing.assert_array_equal, plain.batch(0)[0], other.batch(0)[0]
  )


def test_a_template_that_cannot_take_the_data_is_refused_before_training():
  row = {"messages": turns("hi", "yo", system="x")}
  with pytest.raises(errors.UserError, match="line 1: .*no system role"):
    _loader(make(GEMMA), [row], "demonstration")


def test_json_in_a_template_is_what_transformers_writes():
  # Jinja's own filter writes < > & ' as escapes that no model was trained on.
  template = (
    "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "<call>{{ c.arguments | tojson }}{{ c.arguments | tojson(indent=1) }}"
    "</call>{% endfor %}{% endfor %}"
  )
  calls = [{"arguments": {"query": "3 < 5 & it's <b>é</b>"}}]
  messages = [{"role": "assistant", "content": "", "tool_calls": calls}]
  value = calls[0]["arguments"]
  assert make(template).chat(messages) == (
    f"<call>{json.dumps(value, ensure_ascii=False)}"
    f"{json.dumps(value, ensure_ascii=False, indent=1)}</call>"
  )


def test_today_is_one_day_for_ever_in_a_template():
  # As Mistral's asks for it, and as Llama 3's does where there is a clock.
  template = (
    "{%- set today = strftime_now('%Y-%m-%d') %}Today is {{ today }}."
    "{%- if strftime_now is defined %} {{ strftime_now('%d %b %Y, %A') }}"
    "{%- endif %} {{ messages[0].content }}"
  )
  expected = "Today is 2024-07-26. 26 Jul 2024, Friday hi"
  assert make(template).chat(turns("hi")) == expected


@pytest.mark.parametrize(
  "attack",
  [
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.append(messages) }}",
    "{{ raise_exception.__globals__ }}",
    "{% for i in range(10 ** 9) %}{% endfor %}",
  ],
)
def test_a_template_reaches_its_arguments_alone(attack):
  tokenizer = make(attack)
  try:
    assert tokenizer.chat(turns("hi")) == ""  # what is unsafe is undefined
  except errors.UserError as error:
    assert "cannot take these messages" in str(error)


def test_a_tokenizer_without_a_template_says_so():
  with pytest.raises(errors.UserError, match="no chat template"):
    make(None).chat(turns("hi"))


@pytest.mark.parametrize("template", [None, CHATML])
def test_one_file_and_a_folder_keep_the_tokenizer(template, tmp_path):
  made = make(template, "<|im_end|>")
  made.save(tmp_path / "one_file")
  made.save_to_folder(tmp_path)
  (tmp_path / "config.json").write_text("{}")
  again = [
    load_tokenizer(tmp_path / "one_file"),
    open_tokenizer(tmp_path),
  ]
  for tokenizer in again:
    assert (
      tokenizer_fingerprint(tokenizer)[:-2]
      == (tokenizer_fingerprint(made)[:-2])
    )
    assert tokenizer.has_template == (template is not None)
    if template:
      assert tokenizer.chat(turns("hi")) == made.chat(turns("hi"))
  assert (again[0].eos_id, again[0].pad_id) == (made.eos_id, made.pad_id)


def test_the_end_of_a_turn_is_found():
  for template, eos in STYLES.values():
    assert chat.end_of_turn(make(template)) == SPECIAL.index(eos)


def test_of_several_templates_the_default_one_counts():
  named = [
    {"name": "tool_use", "template": "no"},
    {"name": "default", "template": CHATML},
  ]
  assert make(named).chat(turns("q")) == make(CHATML).chat(turns("q"))
