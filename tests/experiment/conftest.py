"""Small data that every kind of stage can learn from, and small configs."""

import json
import pathlib

import pytest

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
