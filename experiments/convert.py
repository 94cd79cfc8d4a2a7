"""Import a Hugging Face folder, or export a trained policy.

    python experiments/convert.py --source=MODEL_FOLDER --target=runs/start
    python experiments/convert.py --source=runs/quickstart/ipo --target=exported

The first makes a stage that `--config.init_from` and `generate.py --stage`
take; the second a folder that `transformers.from_pretrained` loads.
"""

import script
from absl import flags

SOURCE = flags.DEFINE_string(
  "source", None, "A Hugging Face folder, or the folder of a finished stage."
)
TARGET = flags.DEFINE_string("target", None, "A new folder.")
DTYPE = flags.DEFINE_string(
  "dtype",
  "float32",
  "Type of the exported weights: float32, bfloat16 or float16.",
)
SHARD_MB = flags.DEFINE_integer(
  "shard_mb", 5000, "Largest exported file, in megabytes."
)
flags.mark_flags_as_required(["source", "target"])


def main() -> None:
  from alignment_jax import experiment

  print(
    experiment.convert(
      SOURCE.value,
      TARGET.value,
      dtype=DTYPE.value,
      max_shard_bytes=SHARD_MB.value * 2**20,
    )
  )


if __name__ == "__main__":
  script.run(main)
