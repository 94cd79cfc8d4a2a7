"""What importing the data room costs, and what it needs of the `hf` extra."""

import os
import pathlib
import subprocess
import sys

import pytest

from alignment_jax.data import HubTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = """
import pathlib, sys
for name in ("transformers", "tokenizers", "jinja2", "safetensors", "gguf"):
  sys.modules[name] = None  # an import of it raises ImportError
from alignment_jax import data, errors
"""
DESCRIPTION = '{"tokenizer": {}, "config": {}, "eos_id": 0, "pad_id": 0}'
GGUF = {
  "tokenizer.ggml.model": "gpt2",
  "tokenizer.ggml.tokens": ["a", "</s>"],
  "tokenizer.ggml.token_type": [1, 3],
  "tokenizer.ggml.merges": [],
  "tokenizer.ggml.bos_token_id": 1,
  "tokenizer.ggml.eos_token_id": 1,
  "tokenizer.ggml.add_bos_token": True,
  "tokenizer.chat_template": "<{{ messages[0].content }}>{{ eos_token }}",
}


def run(code, folder, path=()):
  """Runs a program in a folder; returns its last line, and all it wrote."""
  finished = subprocess.run(
    [sys.executable, "-c", code],
    cwd=folder,
    env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *path])},
    capture_output=True,
    text=True,
  )
  assert finished.returncode == 0, finished.stderr
  return finished.stdout.strip(), finished.stderr


@pytest.mark.parametrize(
  "call",
  [
    "data.open_tokenizer(pathlib.Path('hub'))",
    "data.open_tokenizer(pathlib.Path('spiece'))",
    "data.load_tokenizer(pathlib.Path('one_file'))",
    f"data.HubTokenizer.from_description({DESCRIPTION})",
    f"data.tokenizer_from_gguf({GGUF})",
  ],
)
def test_without_the_extra_one_line_says_what_to_install(call, tmp_path):
  for folder in ("hub", "spiece"):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "config.json").write_text("{}")
    (tmp_path / folder / "tokenizer_config.json").write_text("{}")
  (tmp_path / "hub" / "tokenizer.json").write_text("{}")
  (tmp_path / "spiece" / "spiece.model").write_bytes(b"")
  (tmp_path / "one_file").write_text(DESCRIPTION)
  message, _ = run(
    BLOCK + f"try:\n  {call}\nexcept errors.UserError as e:\n  print(e)",
    tmp_path,
  )
  assert "pip install -e '.[hf]'" in message
  assert len(message.splitlines()) == 1


def test_without_the_extra_texts_become_batches(tmp_path):
  printed, _ = run(
    BLOCK
    + """
from alignment_jax.data import rows
text = "a line of words " * 30
tokenizer = data.SentencePieceTokenizer.train(
  [text], "model", vocabulary_size=400
)
row = {"messages": [{"role": "user", "content": "a line"},
                    {"role": "assistant", "content": "of words"}]}
row = rows.canonical(row, "demonstration", "line 1")
loader = data.Loader([row], "demonstration", tokenizer, batch_size=1,
                     prompt_length=8, response_length=8, seed=0)
print(loader.batch(0)[0].response.mask.any())
""",
    tmp_path,
  )
  assert printed == "True"


def test_a_hub_tokenizer_imports_no_torch_even_where_it_is_installed(tmp_path):
  pytest.importorskip("tokenizers")
  # Found as a package of that name and version is, and of no use: enough to
  # see whether it is imported.
  stub = tmp_path / "packages"
  (stub / "torch").mkdir(parents=True)
  (stub / "torch" / "__init__.py").write_text("")
  (stub / "torch-2.13.0.dist-info").mkdir()
  (stub / "torch-2.13.0.dist-info" / "METADATA").write_text(
    "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n"
  )
  printed, noise = run(
    f"""
import sys
from alignment_jax import data
tokenizer = data.tokenizer_from_gguf({GGUF})
assert tokenizer.encode("a") == [0]
assert tokenizer.chat([{{"role": "user", "content": "a"}}]) == "<a></s>"
import transformers
assert transformers.utils.is_torch_available()
print("torch" in sys.modules)
""",
    tmp_path,
    [str(stub)],
  )
  assert printed == "False"


def test_nothing_is_said_where_torch_is_not_installed(tmp_path):
  pytest.importorskip("tokenizers")
  _, noise = run(
    "import sys; sys.modules['torch'] = None\nfrom alignment_jax import data\n"
    f"data.tokenizer_from_gguf({GGUF})",
    tmp_path,
  )
  assert noise == ""


def test_a_gguf_tokenizer_has_what_its_metadata_say():
  pytest.importorskip("tokenizers")
  from alignment_jax import data

  made = data.tokenizer_from_gguf(GGUF)
  assert isinstance(made, HubTokenizer)
  assert (made.prompt_prefix, made.prompt_suffix) == ([1], [])
  assert (made.eos_id, made.pad_id, made.vocabulary_size) == (1, 1, 2)
  assert made.decode([0, 1]) == "a"
  bare = data.tokenizer_from_gguf(
    {**GGUF, "tokenizer.ggml.add_bos_token": False}
  )
  assert bare.prompt_prefix == []


def test_what_prepares_data_imports_no_jax(tmp_path):
  printed, _ = run(
    """
import sys
from alignment_jax import data, judges, synthetic
from alignment_jax.data import chat, formatting, rows, summary, xsum
assert data.open_source("lab:rows=8", "preference", "train", data_dir="")
assert judges.build("lab_gold")(["a"], ["b"]).shape == (1,)
print([name for name in ("jax", "flax", "transformers") if name in sys.modules])
assert data.Loader.__name__ == "Loader"
print("jax" in sys.modules)
""",
    tmp_path,
  )
  assert printed.splitlines() == ["[]", "True"]
