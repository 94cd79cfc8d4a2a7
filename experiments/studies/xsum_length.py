"""What ROUGE and length as rewards do to summaries, calibrated and not.

    python -m experiments.studies.xsum_length

SFT on 810 news summaries; then, from that policy and with the same keys, RCfD
on ROUGE and length (Rita et al., 2024, arXiv:2404.19409), and RLOO on their
sum, where a word is rewarded and where it costs. Writes `docs/xsum_length.md`.
What is finished is kept in the workdir and not repeated.

Hardware: two CPU cores, 17 minutes with other work beside it.
"""

import argparse
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alignment_jax import data, experiment, judges
from configs import rcfd_xsum
from configs.base import ConfigDict
from experiments.reproduce import page

COMMAND = "python -m experiments.studies.xsum_length"
WEIGHT = 0.02
# Name -> method, and what a word is worth in its sum with ROUGE.
ARMS = {
  "RCfD": ("rcfd", WEIGHT),
  "RLOO, a word is worth +0.02": ("rloo", WEIGHT),
  "RLOO, a word is worth -0.02": ("rloo", -WEIGHT),
}
CLOSE = 2.0  # words, between mean lengths that are called the same


def settings(
  method: str, weight: float, start: pathlib.Path | None
) -> ConfigDict:
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


def run(root: pathlib.Path) -> list[dict[str, Any]]:
  """What each policy writes for the held-out prompts, and demonstrations."""
  start = root / "sft" / "sft"
  experiment.train(settings("sft", 0.0, None), str(root / "sft"))
  verdicts = []
  for name, (method, weight) in ARMS.items():
    work = root / f"{method}{weight:+g}"
    config = settings(method, weight, start)
    experiment.train(config, str(work))
    lines = (work / "answers.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    verdicts.append(_verdict(name, [row["after"] for row in rows], config))
  demonstrations = [row["response"] for row in _source(config)]
  before = [row["before"] for row in rows]
  return [
    _verdict("people", demonstrations, config),
    _verdict("SFT", before, config),
    *verdicts,
  ]


def _source(config: ConfigDict) -> Sequence[Mapping[str, Any]]:
  section = config.data
  return data.open_source(
    section.source, "prompt", "test", data_dir=section.dir
  )


def _verdict(
  name: str, texts: Sequence[str], config: ConfigDict
) -> dict[str, Any]:
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


def claims(words: Mapping[str, float]) -> dict[str, page.Criterion]:
  """What is claimed of the mean lengths, by policy; the claim -> its test."""
  people = words["people"]
  calibrated, longer, shorter = (words[name] for name in ARMS)
  return {
    "RCfD writes as many words as people": page.criterion(
      calibrated - people, name="difference", equals=0, tolerance=CLOSE
    ),
    "RLOO writes more than twice as many for +0.02": page.criterion(
      longer / people, name="ratio", above=2
    ),
    "RLOO writes less than half as many for -0.02": page.criterion(
      shorter / people, name="ratio", below=0.5
    ),
  }


def write_page(
  verdicts: Sequence[Mapping[str, Any]], folder: pathlib.Path
) -> pathlib.Path:
  """Writes the table and what holds of the claims; returns the path."""
  words = {verdict["name"]: verdict["words"] for verdict in verdicts}
  return page.write(
    "xsum_length",
    "Two rewards and the length of a summary",
    [
      f"Written by `{COMMAND}`, with one seed. All three start from the SFT"
      " policy, whose summaries are about as long as people's, without a KL;"
      " the question is who keeps that length. A network of this size does not"
      " make sense yet, and what ROUGE gains it gains by frequent words.",
      page.markdown_table(
        [
          "policy",
          f"words of {verdicts[0]['count']} summaries, ± standard error",
          "ROUGE-L",
        ],
        [
          [
            verdict["name"],
            f"{verdict['words']:.1f} ± {verdict['error']:.1f}",
            f"{verdict['rouge']:.3f}",
          ]
          for verdict in verdicts
        ],
      ),
      page.markdown_table(
        ["claim", "criterion", ""],
        [
          [claim, test.text, "holds" if test.holds else "does not hold"]
          for claim, test in claims(words).items()
        ],
      ),
      "Their first summary:",
      "\n".join(f"- {v['name']}: {v['sample']}" for v in verdicts),
    ],
    figures={},
    folder=folder,
  )


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
