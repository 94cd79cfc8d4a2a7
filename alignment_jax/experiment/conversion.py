"""From a folder of the Hugging Face hub to a stage of ours, and back."""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax

from alignment_jax import data, errors, files, models, parallel
from alignment_jax.data import sentencepiece_file
from alignment_jax.experiment import folder, stage_folder
from alignment_jax.models import gguf_file, huggingface
from alignment_jax.training import checkpoint


def convert(
  source: str,
  target: str,
  *,
  dtype: str = "float32",
  max_shard_bytes: int = 5 * 2**30,
) -> str:
  """Reads whichever of the two kinds `source` is and writes the other.

  A stage that was made from the hub can be the start of a run
  (`--config.init_from`, with `--config.model.name` as printed).

  Args:
    source: a folder with `config.json` and safetensors, a .gguf file of the
      Llama family, or a finished stage.
    target: a new folder.
    dtype: of the weights in a folder for the hub.
    max_shard_bytes: of each of its files.

  Returns:
    What was written, in one line.

  Raises:
    UserError: `source` is neither, or is damaged; `target` is there already.
  """
  here, there = pathlib.Path(source), pathlib.Path(target)
  if there.exists() and any(there.iterdir()):
    raise errors.UserError(f"{there} is not empty; name a new folder")
  # What dies on the way leaves nothing that looks like a folder of models.
  part = there.with_name(there.name + ".part")
  shutil.rmtree(part, ignore_errors=True)
  try:
    summary = _write(here, part, dtype, max_shard_bytes)
    os.replace(part, there)
  finally:
    shutil.rmtree(part, ignore_errors=True)
  return f"{there}: {summary}"


def _write(
  here: pathlib.Path, there: pathlib.Path, dtype: str, max_shard_bytes: int
) -> str:
  if (here / folder.MODEL).is_file():
    return _to_hub(here, there, dtype, max_shard_bytes)
  return _from_hub(here, there, *open_hub(here))


def open_hub(
  path: pathlib.Path,
) -> tuple[
  data.HubTokenizer | data.SentencePieceTokenizer,
  Callable[..., tuple[models.Model, Any]],
]:
  """The tokenizer of a hub's folder or .gguf file, and what loads its weights.

  The loader takes the path and `place`, as `models.huggingface.load` does.

  Raises:
    UserError: `path` is neither, or its tokenizer cannot be used.
  """
  if path.suffix == ".gguf":
    file = gguf_file.GGUFFile(path)
    return data.tokenizer_from_gguf(file.metadata), gguf_file.load
  if (path / huggingface.CONFIG).is_file():
    return data.open_tokenizer(path), huggingface.load
  raise errors.UserError(
    f"{path} holds neither {huggingface.CONFIG}, as a folder of the Hugging"
    f" Face hub does, nor {folder.MODEL}, as a finished stage does, and is no"
    " .gguf file"
  )


def load_hub(
  path: pathlib.Path, tokenizer: Any, load: Callable, mesh: jax.sharding.Mesh
) -> tuple[models.Model, Any]:
  """The model and its parameters on the mesh.

  Raises:
    UserError: the files are damaged, or the tokenizer is for another model.
  """
  model, params = load(
    path, sharding_fn=lambda tree, axes: parallel.shardings(mesh, tree, axes)
  )
  rows = model.settings.vocabulary_size
  if tokenizer.vocabulary_size > rows:
    raise errors.UserError(
      f"the tokenizer in {path} has ids up to {tokenizer.vocabulary_size - 1},"
      f" but the model's vocabulary has {rows} rows"
    )
  return model, params


def _from_hub(
  here: pathlib.Path, there: pathlib.Path, tokenizer: Any, load: Callable
) -> str:
  mesh = parallel.make_mesh(data=-1, fsdp=1, tensor=1)
  model, params = load_hub(here, tokenizer, load, mesh)
  settings = model.settings
  name = models.family_of(settings)
  there.mkdir(parents=True, exist_ok=True)
  folder.write_probe(there, tokenizer)
  tokenizer.save(there / folder.TOKENIZER)
  files.write_json(
    there / folder.MODEL,
    {
      "name": name,
      "settings": dataclasses.asdict(settings),
      "algorithm": {"name": "sft"},
      "prompt_length": stage_folder.PROMPT_LENGTH,
      "response_length": stage_folder.PROMPT_LENGTH,
    },
  )
  checkpoint.save_tree(there / stage_folder.FINAL, {"policy": params})
  return f"a stage of config.model.name '{name}'"


def _to_hub(
  here: pathlib.Path, there: pathlib.Path, dtype: str, max_shard_bytes: int
) -> str:
  model, tokenizer, _ = stage_folder.open_stage(here)
  mesh = parallel.make_mesh(data=-1, fsdp=1, tensor=1)
  params = stage_folder.load_policy(here, model, mesh)
  huggingface.save(
    there,
    model.settings,
    params,
    dtype=dtype,
    max_shard_bytes=max_shard_bytes,
    config={
      "eos_token_id": tokenizer.eos_id,
      "pad_token_id": tokenizer.pad_id,
      "bos_token_id": (tokenizer.prompt_prefix or [None])[0],
    },
  )
  if isinstance(tokenizer, data.HubTokenizer):
    tokenizer.save_to_folder(there)
  else:
    # SentencePiece models have two names there.
    t5 = models.family_of(model.settings) == "t5"
    name = sentencepiece_file.T5_NAME if t5 else sentencepiece_file.LLAMA_NAME
    files.write_bytes(there / name, tokenizer.file)
  return f"{model.settings.architecture}, {dtype}"
