"""The whole pipeline on human ratings, for many methods, with a small model.

    python -m experiments.studies.rlhf_small

SFT once; judges from the first half of each text's raters; every method from
the same SFT policy, with several seeds; then a gold judge, a reward model from
the other half of the raters, scores the responses to held-out prompts. Writes
`docs/rlhf_small.md` and its figure. What is finished is kept in the workdir and
not repeated; a method that fails is reported and the others continue.

Hardware: two CPU cores; the page says how long it took. `--size=tiny` runs
every part with a toy model, learns nothing, and writes into the workdir.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import itertools
import json
import multiprocessing
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from alignment_jax import (
  experiment,
  files,
  judges,
  sampling,
  scoring,
)
from alignment_jax.evaluation import drift
from alignment_jax.experiment import feedback_from_config, stage_folder
from alignment_jax.experiment.setup import Setup
from configs import base, quickstart
from configs.base import ConfigDict
from experiments.reproduce import page
from experiments.studies import rlhf_page
from experiments.studies.rlhf_methods import METHODS

COMMAND = "python -m experiments.studies.rlhf_small"
# Side by side: networks this small leave a core idle.
PROCESSES = 2

# Folder -> what is trained there, on whose ratings, with which seed.
JUDGES = {
  "preference": (
    dict(
      name="preference_model",
      template=("\nFirst: ", "\nSecond: ", "\nBetter: "),
    ),
    "human_ratings:first",
    0,
  ),
  "reward": (
    dict(name="reward_model", pooling="mean"),
    "human_ratings:first",
    0,
  ),
  "gold": (
    dict(name="reward_model", pooling="mean"),
    "human_ratings:second",
    1,
  ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
  """How large all of it is; steps are updates."""

  width: int
  layers: int
  vocabulary: int
  sft_steps: int
  judge_steps: int
  steps: int
  batch_size: int
  prompts: int
  seeds: int
  methods: Sequence[str]


SIZES = {
  "full": Size(
    width=64,
    layers=2,
    vocabulary=1024,
    sft_steps=1000,
    judge_steps=400,
    steps=120,
    batch_size=32,
    prompts=384,
    seeds=3,
    methods=tuple(METHODS),
  ),
  "tiny": Size(
    width=16,
    layers=1,
    vocabulary=512,
    sft_steps=4,
    judge_steps=4,
    steps=4,
    batch_size=8,
    prompts=16,
    seeds=1,
    methods=("IPO", "RLOO", "Nash-MD"),
  ),
}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--size", choices=SIZES, default="full")
  parser.add_argument("--workdir", default="", help="runs/rlhf_small[_SIZE]")
  parser.add_argument("--data_dir", default="data")
  options = parser.parse_args()
  tiny = "" if options.size == "full" else f"_{options.size}"
  root = pathlib.Path(options.workdir or f"runs/rlhf_small{tiny}")
  share_programs(root)
  verdicts, failed = run(SIZES[options.size], root, options.data_dir)
  docs = root if tiny else page.DOCS
  families = {"SFT": "", **{n: m.family for n, m in METHODS.items()}}
  path = rlhf_page.write_page(verdicts, failed, families, docs, command=COMMAND)
  print(f"\n{path}")
  for name, error in failed.items():
    print(f"error: {name}: {error}", file=sys.stderr)
  sys.exit(bool(failed))


def share_programs(root: pathlib.Path) -> None:
  """Compiles once what the methods, seeds and processes have in common."""
  jax.config.update("jax_compilation_cache_dir", str(root / "compiled"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def run(
  size: Size, root: pathlib.Path, data_dir: str
) -> tuple[dict[str, Any], dict[str, str]]:
  """Trains and judges everything that is not there yet.

  Returns:
    name -> the verdict on each seed, and name -> what went wrong.
  """
  (root / "verdicts").mkdir(parents=True, exist_ok=True)
  shared, methods, failed = {}, {}, {}
  with concurrent.futures.ProcessPoolExecutor(
    PROCESSES,
    multiprocessing.get_context("spawn"),
    initializer=share_programs,
    initargs=(root,),
  ) as pool:
    for names in ("start",), tuple(JUDGES):
      running = {
        name: pool.submit(shared_stage, size, root, data_dir, name)
        for name in names
      }
      for name, stage in running.items():
        shared[name] = stage.result()
    verdicts = {
      (name, seed): pool.submit(verdict, size, root, data_dir, name, seed)
      for seed, name in itertools.product(
        range(size.seeds), ("SFT", *size.methods)
      )
    }
    for (name, seed), running_verdict in verdicts.items():
      try:
        methods.setdefault(name, []).append(running_verdict.result())
      except Exception as error:  # one method must not end the others
        failed[f"{name}, seed {seed}"] = f"{type(error).__name__}: {error}"
        print(f"FAILED {name}, seed {seed}: {error!r}", flush=True)
  whole = {n: v for n, v in methods.items() if len(v) == size.seeds}
  return {"shared": shared, "methods": whole}, failed


def verdict(
  size: Size, root: pathlib.Path, data_dir: str, name: str, seed: int
) -> dict[str, Any]:
  """What the judges say of a method, which is trained if it is not yet."""

  def work() -> dict[str, Any]:
    assess = assessor(size, root, data_dir)
    if name == "SFT":
      return assess(root / "start" / "sft", seed)
    path = root / f"{name.lower().replace(' ', '_')}-{seed}"
    return assess(aligned(size, root, data_dir, name, seed, path), seed)

  return timed(root / "verdicts" / f"{name}-{seed}.json", work)


def shared_stage(
  size: Size, root: pathlib.Path, data_dir: str, name: str
) -> dict[str, Any]:
  """What is measured of a stage that all methods share: SFT, or a judge."""
  if name == "start":
    config = study_config(size, data_dir, "human_ratings:first")
    main_stage(config, dict(name="sft"), 3e-3, size.sft_steps)
  else:
    algorithm, half, seed = JUDGES[name]
    config = study_config(size, data_dir, half)
    config.init_from = str(root / "start" / "sft")
    config.seed = seed
    config.evaluation.prompts = size.prompts
    main_stage(config, dict(algorithm), 3e-3, size.judge_steps)
  return timed(root / f"{name}.json", lambda: trained(config, root / name))


def study_config(size: Size, data_dir: str, source: str) -> ConfigDict:
  """What every config of this study shares."""
  config = quickstart.get_config().unlock()
  config.model = config_dict.create(
    name="decoder",
    width=size.width,
    layers=size.layers,
    heads=4,
    kv_heads=4,
    head_width=size.width // 4,
    mlp_width=3 * size.width,
    dropout=0.1,
    dtype="float32",
  )
  config.tokenizer.vocabulary_size = size.vocabulary
  config.data.update(
    source=source,
    dir=data_dir,
    prompt_length=8,
    response_length=24,
    min_probability=0.0,
  )
  config.sft = config.reward_model = None
  config.evaluation.update(prompts=0, batch_size=size.batch_size)
  return config


def main_stage(
  config: ConfigDict,
  algorithm: dict[str, Any],
  learning_rate: float,
  steps: int,
) -> None:
  """Gives a config its main stage."""
  stage = base.stage(
    algorithm,
    learning_rate=learning_rate,
    steps=steps,
    batch_size=config.evaluation.batch_size,
    warmup=min(20, steps // 4),
  )
  stage["training"]["checkpoint_every"] = steps // 2
  for name, section in stage.items():
    config[name] = config_dict.ConfigDict(section)


def aligned(
  size: Size,
  root: pathlib.Path,
  data_dir: str,
  name: str,
  seed: int,
  path: pathlib.Path,
) -> pathlib.Path:
  """Trains one method; returns the folder of its policy."""
  method = METHODS[name]
  config = study_config(size, data_dir, "human_ratings:first")
  config.init_from = str(root / "start" / "sft")
  config.seed = seed
  main_stage(config, dict(method.algorithm), 1e-3, size.steps)
  if method.samples:
    config.sampling = config_dict.create(
      samples=method.samples,
      temperature=1.0,
      missing_eos_penalty=0.0,
      judge=dict(name=method.judge, path=str(judge_path(root, method.judge))),
      preference_scale=1.0,
      staleness=0,
      generator_devices=0,
    )
  trained(config, path)
  return path / method.algorithm["name"]


def judge_path(root: pathlib.Path, name: str) -> pathlib.Path:
  """The finished stage of a judge that methods learn from."""
  return root / name.removesuffix("_model") / name


def trained(config: ConfigDict, path: pathlib.Path) -> dict[str, Any]:
  experiment.train(config, str(path), command=COMMAND)
  result = path / "evaluation.json"
  return json.loads(result.read_text()) if result.exists() else {}


def timed(
  path: pathlib.Path, work: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
  """What `work` returns, with its seconds; kept in `path`, and read there."""
  if path.exists():
    return json.loads(path.read_text())
  start = time.monotonic()
  result = {**work(), "seconds": time.monotonic() - start}
  files.write_json(path, result)
  return result


@functools.cache
def assessor(
  size: Size, root: pathlib.Path, data_dir: str
) -> Callable[[pathlib.Path, int], dict[str, Any]]:
  """(folder of a policy, seed) -> what the judges say of its responses.

  The prompts are the same for all, and held out.
  """
  config = study_config(size, data_dir, "human_ratings:first")
  config.init_from = str(root / "start" / "sft")
  main_stage(config, dict(name="sft"), 1e-3, 4)
  setup = Setup(experiment.plan(config), root / "start")
  model, mesh, tokenizer = setup.model, setup.mesh, setup.tokenizer
  loader = setup.loader("prompt", "test", size.batch_size)
  batch, _ = loader.rows(range(min(size.prompts, len(loader))))
  texts = [loader.source[i]["prompt"] for i in range(len(batch.prompt.ids))]
  vader = judges.build("vader")
  gold, proxy = (
    feedback_from_config.reward_scorer(
      setup, mesh, root / name / "reward_model"
    )
    for name in ("gold", "reward")
  )
  generate = jax.jit(
    lambda params, key: (
      sampling.generate(
        model,
        params,
        batch.prompt,
        key,
        eos_id=tokenizer.eos_id,
        max_tokens=config.data.response_length,
      ).responses
    )
  )
  logprobs = jax.jit(
    lambda params, responses: scoring.token_logprobs(
      model, params, batch.prompt, responses
    ).sum(axis=(1, 2))
  )

  def load(path: pathlib.Path) -> Any:
    return jax.device_get(stage_folder.load_policy(path, model, mesh))

  reference = load(root / "start" / "sft")

  def assess(path: pathlib.Path, seed: int) -> dict[str, Any]:
    params = load(path)
    # The same draws for all: equal policies give equal responses.
    responses = jax.device_get(generate(params, jax.random.key(1000 + seed)))
    response_texts = [
      tokenizer.decode([int(i) for i in ids[mask]])
      for ids, mask in zip(
        responses.ids[:, 0], responses.mask[:, 0], strict=True
      )
    ]
    kl, error = drift.kl_to_reference(
      *(np.asarray(logprobs(p, responses)) for p in (params, reference))
    )
    return {
      "kl": kl,
      "kl_error": error,
      "gold": gold(batch.prompt, responses)[:, 0].tolist(),
      "proxy": float(proxy(batch.prompt, responses).mean()),
      "vader": float(vader(texts, response_texts).mean()),
      "length": float(responses.mask.sum(axis=(1, 2)).mean()),
      "samples": [f"{texts[i]} | {response_texts[i]}" for i in range(3)],
    }

  return assess


if __name__ == "__main__":
  main()
