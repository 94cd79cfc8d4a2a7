"""Judge a finished run again, with as many held-out prompts as you like.

python experiments/evaluate.py --workdir=runs/quickstart --prompts=1000
"""

import script
from absl import flags

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run.")
PROMPTS = flags.DEFINE_integer(
  "prompts", None, "Held-out prompts to respond to; default: as in the config."
)
flags.mark_flag_as_required("workdir")


def main() -> None:
  from alignment_jax import experiment

  experiment.evaluate(
    WORKDIR.value, prompts=PROMPTS.value, command=script.command()
  )


if __name__ == "__main__":
  script.run(main)
