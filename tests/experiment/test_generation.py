"""Answers from a folder of the hub: at once, as they come, and to a file."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from alignment_jax import data, errors, experiment
from alignment_jax.experiment import generation

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLER = {"seed": 3, "max_tokens": 20, "temperature": 1.5}


@pytest.fixture
def bare(hub, tmp_path):
  """The same without a chat template."""
  for path in hub.iterdir():
    (tmp_path / path.name).write_bytes(path.read_bytes())
  (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
  return tmp_path


def test_what_is_shown_as_it_comes_is_what_is_answered(hub):
  prompts = ["abc", "a longer one"]
  at_once = list(
    experiment.generate(str(hub), prompts, batch_size=1, **SAMPLER)
  )
  shown = []
  streamed = list(
    experiment.generate(str(hub), prompts, show=shown.append, **SAMPLER)
  )
  assert len(shown) > len(prompts)  # in several pieces
  assert "".join(shown) == "".join(text for (text,) in streamed)
  assert streamed[0] == at_once[0]


@pytest.mark.parametrize(
  "text", ["a\u00e9 \u65e5\u672c\U0001f642.", "\u65e5", "a\ufffdb", "\ufffd"]
)
def test_a_character_is_shown_whole(hub, text):
  tokenizer = data.open_tokenizer(hub)
  ids = tokenizer.encode(text)
  pieces = []
  for count in range(1, len(ids) + 1):
    so_far = tokenizer.decode(ids[:count])
    pieces.append(
      generation.new_piece(so_far, "".join(pieces), ended=count == len(ids))
    )
  assert "".join(pieces) == text
  assert len(pieces) == len(text.encode())
  if "\ufffd" not in text:
    assert not any("\ufffd" in piece for piece in pieces)


def test_several_samples_of_several_prompts_in_their_order(hub):
  prompts = [f"prompt {i}" for i in range(11)]
  found = list(
    experiment.generate(str(hub), prompts, samples=2, batch_size=8, **SAMPLER)
  )
  assert [len(texts) for texts in found] == [2] * 11
  assert any(one != other for one, other in found)


def test_a_chat_is_what_the_template_writes(hub):
  greedy = {"seed": 0, "max_tokens": 6, "temperature": 0.0}
  messages = [{"role": "user", "content": "hi"}]
  asked = "user: hi\nassistant: "
  plain = next(experiment.generate(str(hub), [asked], **greedy))
  assert next(experiment.generate(str(hub), [messages], **greedy)) == plain
  chat = experiment.generate(str(hub), ["hi"], chat=True, **greedy)
  assert next(chat) == plain


def test_an_interrupt_ends_with_what_was_there(hub):
  shown = []

  def show(piece):
    shown.append(piece)
    if len(shown) == 2:
      raise KeyboardInterrupt

  found = list(
    experiment.generate(str(hub), ["abc", "never"], show=show, **SAMPLER)
  )
  assert found == [["".join(shown)]]


def test_prompts_that_are_cut_are_counted(hub, capsys):
  list(experiment.generate(str(hub), ["x" * 600, "y"], seed=0, max_tokens=1))
  assert "1 of 2 prompts are longer than 512 tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"path": "nowhere"}, "nowhere is not there"),
    ({"path": "."}, "neither config.json"),
    ({"prompts": []}, "no prompt"),
    ({"prompts": ["a", " "]}, "prompt 2 is empty"),
    ({"samples": 2, "show": print}, "1 sample, got 2"),
    ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
    ({"temperature": -1.0}, "temperature"),
  ],
)
def test_what_cannot_be_generated_is_one_error(hub, tmp_path, changes, message):
  call = {"path": str(hub), "prompts": ["a"], **SAMPLER, **changes}
  if call["path"] == ".":
    call["path"] = str(tmp_path)
  with pytest.raises(errors.UserError, match=message):
    list(experiment.generate(call.pop("path"), call.pop("prompts"), **call))


def test_a_chat_needs_a_template(bare):
  with pytest.raises(errors.UserError, match="no chat template"):
    experiment.generate(str(bare), ["a"], chat=True, **SAMPLER)


def test_prompts_are_read_from_a_file(tmp_path):
  messages = [{"role": "user", "content": "c"}]
  lines = [{"prompt": "a", "response": "x"}, {"prompt": messages}]
  lines.append({"messages": messages})
  path = tmp_path / "asked.jsonl"
  path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
  assert experiment.read_prompts(str(path)) == ["a", messages, messages]
  (tmp_path / "asked.txt").write_bytes(b"one\r\n\ntwo\n")
  assert experiment.read_prompts(str(tmp_path / "asked.txt")) == ["one", "two"]


@pytest.mark.parametrize(
  "line, message",
  [
    ("{", "line 2 is not JSON"),
    ("[1]", "line 2 needs 'prompt'"),
    ('{"text": "a"}', "line 2 needs 'prompt'"),
    ('{"prompt": 3}', "line 2 needs 'prompt'"),
    ('{"messages": [1]}', "line 2 must be a list of messages"),
    (
      '{"messages": [{"role": "assistant", "content": "a"}]}',
      "line 2 ends with an assistant's message",
    ),
  ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path, line, message):
  path = tmp_path / "asked.jsonl"
  path.write_text('{"prompt": "a"}\n' + line + "\n")
  with pytest.raises(errors.UserError, match=message):
    experiment.read_prompts(str(path))


@pytest.mark.parametrize("content", [None, "", "\n \n"])
def test_a_file_without_prompts_is_one_error(tmp_path, content):
  path = tmp_path / "asked.txt"
  if content is not None:
    path.write_text(content)
  with pytest.raises(errors.UserError, match="asked.txt"):
    experiment.read_prompts(str(path))


def test_the_script_writes_rows_that_can_be_trained_on(hub, tmp_path):
  asked, answered = tmp_path / "asked.jsonl", tmp_path / "answered.jsonl"
  messages = [{"role": "user", "content": "\u00e9"}]
  lines = [{"prompt": "a"}, {"messages": messages}]
  asked.write_text("".join(json.dumps(line) + "\n" for line in lines))
  done = subprocess.run(
    [
      sys.executable,
      "experiments/generate.py",
      f"--model={hub}",
      f"--prompts_file={asked}",
      f"--output={answered}",
      "--max_tokens=4",
      "--min_p=0.1",
    ],
    cwd=ROOT,
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  found = [json.loads(line) for line in answered.read_text().splitlines()]
  assert [row["prompt"] for row in found] == ["a", messages]
  assert all(isinstance(row["response"], str) for row in found)
