"""Small data that every kind of stage can learn from, and small configs."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers

from alignment_jax.models import huggingface, zoo
from alignment_jax.models.decoder_settings import DecoderSettings

TEMPLATE = (
  "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
  "{% if add_generation_prompt %}assistant: {% endif %}"
)
WORDS = "sun rain tree bird song road hill lake fire wind".split()


@pytest.fixture(scope="session")
def words():
  """The nouns of the rows below."""
  return WORDS


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """Rows with the columns of every kind of data; each split has a few."""
  path = tmp_path_factory.mktemp("data") / "rows.jsonl"
  rows = [
    {
      "prompt": f"Say number {index} about the {WORDS[index % 10]}",
      "response": f"the {WORDS[index % 7]} is good and bright",
      "reward": index / 10,
      "chosen": f"the {WORDS[index % 7]} is good and bright",
      "rejected": f"no {WORDS[index % 7]} here",
    }
    for index in range(24)
  ]
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return path


@pytest.fixture(scope="session")
def small():
  """(config, source) -> the config, for two steps on few rows."""

  def shrink(config, source: pathlib.Path):
    config.model.layers = 1
    config.data.source = str(source)
    config.data.response_length = 8
    config.tokenizer.vocabulary_size = 300
    config.training.steps = 2
    config.evaluation.prompts = 2
    return config.unlock()

  return shrink


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
  """A random decoder over bytes, so that characters come in pieces."""
  letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
  made = tokenizers.Tokenizer(
    tokenizers.models.BPE(
      vocab={p: i for i, p in enumerate(["<s>", "</s>", *letters])}, merges=[]
    )
  )
  made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
    add_prefix_space=False
  )
  made.decoder = tokenizers.decoders.ByteLevel()
  made.add_special_tokens(["<s>", "</s>"])
  settings = DecoderSettings(
    vocabulary_size=258,
    width=16,
    layers=1,
    heads=2,
    kv_heads=1,
    head_width=8,
    mlp_width=24,
    tied=False,
  )
  random = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(random.normal(size=leaf.shape), leaf.dtype),
    jax.eval_shape(zoo.build(settings).init, jax.random.key(0)),
  )
  folder = tmp_path_factory.mktemp("models") / "hub"
  huggingface.save(folder, settings, params)
  made.save(str(folder / "tokenizer.json"))
  (folder / "tokenizer_config.json").write_text(
    json.dumps({"eos_token": "</s>", "chat_template": TEMPLATE})
  )
  return folder
