"""Fetch, check and count the data before training on them.

    python experiments/prepare_data.py --source=human_ratings --data_dir=data

The source is what a config's `data.source` takes: `human_ratings`, `xsum`, a
file (`FILE.jsonl`, `FILE.parquet`) or `tfds:NAME[/CONFIG]`.
"""

import script
from absl import flags

SOURCE = flags.DEFINE_string(
  "source", "human_ratings", "human_ratings, xsum, FILE.jsonl, tfds:NAME, ..."
)
DATA_DIR = flags.DEFINE_string("data_dir", "data", "Where data are kept.")


def main() -> None:
  from alignment_jax.data import summary

  print(summary.summarize(SOURCE.value, data_dir=DATA_DIR.value))


if __name__ == "__main__":
  script.run(main)
