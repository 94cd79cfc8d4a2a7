"""What ROUGE and length as rewards do to summaries, calibrated and not.

    python experiments/reproduce/xsum_length.py

SFT on 810 news summaries; then, from that policy and with the same keys, RCfD
on ROUGE and length (Rita et al., 2024, arXiv:2404.19409), and RLOO on their
sum, where a word is rewarded and where it costs. Writes `docs/xsum_length.md`.
What is finished is kept in the workdir and not done again.

Hardware: two CPU cores, 17 minutes with other work beside it.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import page

sys.path.insert(0, str(page.ROOT))

from alignment_jax import data, experiment, judges
from configs import rcfd_xsum

COMMAND = "python experiments/reproduce/xsum_length.py"
WEIGHT = 0.02
# Name -> method, and what a word is worth in its sum with ROUGE.
ARMS = {
  "RCfD": ("rcfd", WEIGHT),
  "RLOO, a word is worth +0.02": ("rloo", WEIGHT),
  "RLOO, a word is worth -0.02": ("rloo", -WEIGHT),
}
CLOSE = 2.0  # words, between mean lengths that are called the same


def settings(method: str, weight: float, start: pathlib.Path | None):
  """The config of one arm; without a start it is that of SFT itself."""
  config = rcfd_xsum.get_config()
  config.data.dir = str(page.ROOT / "data")
  if start is None:
    config.algorithm = config.sft.algorithm
    config.optimizer, config.training = (
      config.sft.optimizer,
      config.sft.training,
    )
    config.sft, config.sampling = None, None
    config.evaluation.prompts = 0
    return config
  config.init_from = str(start)
  config.algorithm.name = method
  config.sampling.judge.judges.length.weight = weight
  return config


def run(root: pathlib.Path) -> list[dict]:
  """What each policy writes to the held-out prompts, and demonstrations."""
  start = root / "sft" / "sft"
  experiment.train(settings("sft", 0.0, None), str(root / "sft"))
  verdicts = []
  for name, (method, weight) in ARMS.items():
    work = root / f"{method}{weight:+g}"
    config = settings(method, weight, start)
    experiment.train(config, str(work))
    lines = (work / "answers.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line) for line in lines]
    verdicts.append(_verdict(name, [row["after"] for row in answers], config))
  written = [row["response"] for row in _source(config)]
  before = [row["before"] for row in answers]
  return [
    _verdict("people", written, config),
    _verdict("SFT", before, config),
    *verdicts,
  ]


def _source(config):
  chosen = config.data
  return data.open_source(chosen.source, "prompt", "test", data_dir=chosen.dir)


def _verdict(name, texts, config):
  source = _source(config)
  lengths = np.array([len(text.split()) for text in texts])
  rouge = judges.build("rouge")(
    [row["prompt"] for row in source],
    texts,
    [row["response"] for row in source],
  )
  return {
    "name": name,
    "count": len(texts),
    "words": float(lengths.mean()),
    "error": float(lengths.std() / len(lengths) ** 0.5),
    "rouge": float(rouge.mean()),
    "sample": texts[0],
  }


def write_page(verdicts: list[dict], docs: pathlib.Path) -> pathlib.Path:
  """Writes the table and what holds of the claims; returns the path."""
  words = {one["name"]: one["words"] for one in verdicts}
  people = words["people"]
  calibrated, longer, shorter = (words[name] for name in ARMS)
  claims = {
    f"RCfD writes as many words as people, give or take {CLOSE:g}": abs(
      calibrated - people
    )
    <= CLOSE,
    "RLOO writes more than twice as many for +0.02": longer > 2 * people,
    "RLOO writes less than half as many for -0.02": shorter < people / 2,
  }
  path = docs / "xsum_length.md"
  path.write_text(
    "\n".join(
      [
        "# Two rewards and the length of a summary\n",
        f"Written by `{COMMAND}`, with one seed. All three start from the SFT"
        " policy, whose summaries are about as long as people's, without a KL;"
        " the question is who keeps that length. A network of this size makes"
        " no sense yet, and what ROUGE gains it gains by frequent words.\n",
        f"| policy | words of {verdicts[0]['count']} summaries, ± standard"
        " error | ROUGE-L |",
        "|---|---|---|",
        *(
          f"| {one['name']} | {one['words']:.1f} ± {one['error']:.1f} |"
          f" {one['rouge']:.3f} |"
          for one in verdicts
        ),
        "",
        "| claim | |",
        "|---|---|",
        *(
          f"| {claim} | {'holds' if holds else 'does not hold'} |"
          for claim, holds in claims.items()
        ),
        "",
        "Their first summary:\n",
        *(f"- {one['name']}: {one['sample']}" for one in verdicts),
        "",
      ]
    )
  )
  return path


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--workdir", default="runs/xsum_length")
  root = pathlib.Path(parser.parse_args().workdir)
  root.mkdir(parents=True, exist_ok=True)
  verdicts = run(root)
  print(json.dumps(verdicts, indent=2))
  print(f"page: {write_page(verdicts, page.DOCS)}")


if __name__ == "__main__":
  main()
