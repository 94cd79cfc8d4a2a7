"""In from the hub's format, through training, and out again."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers

from alignment_jax import data, errors, experiment
from alignment_jax.data import formatting
from alignment_jax.models import huggingface, zoo
from alignment_jax.models.decoder_settings import DecoderSettings

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = [f"the {word} is good and bright" for word in "sun lake hill".split()]


def _tokenizer(post=True):
  """A byte-level BPE with bos and eos, as many published models have."""
  made = tokenizers.Tokenizer(tokenizers.models.BPE())
  made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
    add_prefix_space=False
  )
  made.decoder = tokenizers.decoders.ByteLevel()
  made.train_from_iterator(
    TEXTS,
    tokenizers.trainers.BpeTrainer(
      vocab_size=300,
      show_progress=False,
      special_tokens=["<s>", "</s>"],
      initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    ),
  )
  if post:
    made.post_processor = tokenizers.processors.TemplateProcessing(
      single="<s> $A", special_tokens=[("<s>", 0)]
    )
  return made


@pytest.fixture
def hub(tmp_path):
  """A random llama with a tokenizer, in the hub's format."""
  settings = DecoderSettings(
    vocabulary_size=320,
    width=16,
    layers=2,
    heads=2,
    kv_heads=1,
    head_width=8,
    mlp_width=24,
    tied=False,
  )
  random = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(0.1 * random.normal(size=leaf.shape), leaf.dtype),
    jax.eval_shape(zoo.build(settings).init, jax.random.key(0)),
  )
  folder = tmp_path / "hub"
  huggingface.save(folder, settings, params)
  _tokenizer().save(str(folder / "tokenizer.json"))
  (folder / "tokenizer_config.json").write_text(
    json.dumps({"eos_token": "</s>", "bos_token": "<s>"})
  )
  return folder


def _leaves_equal(one, other):
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(a, b)


def test_in_and_out_again_is_the_same_folder(hub, tmp_path):
  experiment.convert(str(hub), str(tmp_path / "stage"))
  experiment.convert(str(tmp_path / "stage"), str(tmp_path / "out"))
  assert (hub / "model.safetensors").read_bytes() == (
    tmp_path / "out" / "model.safetensors"
  ).read_bytes()
  for name in ("tokenizer.json", "tokenizer_config.json"):
    one, other = (
      json.loads((folder / name).read_text())
      for folder in (hub, tmp_path / "out")
    )
    assert one == other
  config = json.loads((tmp_path / "out" / "config.json").read_text())
  assert config["eos_token_id"] == 1 and config["bos_token_id"] == 0


def test_an_imported_policy_trains_and_is_exported(hub, tmp_path):
  mine = tmp_path / "mine.jsonl"
  with mine.open("w") as file:
    for index in range(12):
      row = {
        "prompt": f"say {index}",
        "chosen": TEXTS[index % 3],
        "rejected": "no",
      }
      file.write(json.dumps(row) + "\n")

  def run(script, *arguments):
    done = subprocess.run(
      [sys.executable, f"experiments/{script}.py", *map(str, arguments)],
      cwd=ROOT,
      env={**os.environ, "JAX_PLATFORMS": "cpu"},
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

  stage, workdir = tmp_path / "start", tmp_path / "run"
  output = run("convert", f"--source={hub}", f"--target={stage}")
  assert "config.model.name 'decoder'" in output
  run(
    "train",
    "--config=configs/dpo.py:tiny",
    f"--workdir={workdir}",
    f"--config.data.source={mine}",
    f"--config.init_from={stage}",
    "--config.model.name=decoder",
    "--config.reward_model.training.steps=0",
    "--config.training.steps=3",
    "--config.evaluation.prompts=0",
  )
  run("convert", f"--source={workdir}/dpo", f"--target={tmp_path}/out")
  _, before = huggingface.load(hub)
  model, after = huggingface.load(tmp_path / "out")
  assert model.settings.vocabulary_size == 320
  moved = [
    float(jnp.abs(a - b).max())
    for a, b in zip(
      jax.tree.leaves(before), jax.tree.leaves(after), strict=True
    )
  ]
  assert max(moved) > 1e-4


def test_special_tokens_are_neither_doubled_nor_lost(hub):
  tokenizer = data.open_tokenizer(hub)
  assert (tokenizer.prompt_prefix, tokenizer.prompt_suffix) == ([0], [])
  prompt = formatting.encode_prompt(tokenizer, "the sun", length=20)
  answer = formatting.encode_response(tokenizer, "is good", length=20)
  assert prompt.ids.count(0) == 1 and prompt.ids[0] == 0
  assert answer.ids.count(1) == 1 and answer.ids[-1] == 1
  assert tokenizer.decode(prompt.ids) == "the sun"
  assert tokenizer.pad_id == tokenizer.eos_id == 1  # none of its own


def test_a_tokenizer_in_one_file_is_the_same_tokenizer(hub, tmp_path):
  tokenizer = data.open_tokenizer(hub)
  tokenizer.save(tmp_path / "tokenizer.model")
  again = data.load_tokenizer(tmp_path / "tokenizer.model")
  text = "the lake is bright – naïve 🙂\n"
  assert again.encode(text) == tokenizer.encode(text)
  assert again.decode(again.encode(text)) == text


def _lose(name):
  return lambda hub: (hub / name).unlink()


def _small(hub):
  config = json.loads((hub / "config.json").read_text())
  config["vocab_size"] = 100
  (hub / "config.json").write_text(json.dumps(config))
  settings = huggingface.read_settings(hub)
  params = zoo.build(settings).init(jax.random.key(0))
  (hub / "model.safetensors").unlink()
  huggingface.save(hub, settings, params)


@pytest.mark.parametrize(
  "damage, message",
  [
    (
      _lose("tokenizer.json"),
      "no tokenizer.json and no spiece.* in .*save the tokenizer",
    ),
    (_lose("tokenizer_config.json"), "which token ends a text"),
    (_lose("config.json"), "holds neither config.json.*nor model.json"),
    (_small, "vocabulary has 100 rows"),
  ],
)
def test_a_folder_that_cannot_be_used_is_refused_and_nothing_is_written(
  hub, tmp_path, damage, message
):
  damage(hub)
  with pytest.raises(errors.UserError, match=message):
    experiment.convert(str(hub), str(tmp_path / "stage"))
  assert not (tmp_path / "stage").exists()


def test_what_died_on_the_way_does_not_stand_in_the_way(
  hub, tmp_path, monkeypatch
):
  def die(*args):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr("alignment_jax.training.checkpoint.save_tree", die)
    with pytest.raises(KeyboardInterrupt):
      experiment.convert(str(hub), str(tmp_path / "stage"))
  assert sorted(p.name for p in tmp_path.iterdir()) == ["hub"]
  # Killed for good: the folder that was being written is still there.
  (tmp_path / "stage.part" / "final").mkdir(parents=True)
  experiment.convert(str(hub), str(tmp_path / "stage"))
  assert sorted(p.name for p in tmp_path.iterdir()) == ["hub", "stage"]


def test_a_folder_with_files_is_not_written_into(hub):
  with pytest.raises(errors.UserError, match="is not empty; name a new folder"):
    experiment.convert(str(hub), str(hub))
