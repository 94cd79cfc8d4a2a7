"""Train what a config describes, evaluate it and write a report.

    python experiments/train.py --config=configs/quickstart.py \
        --workdir=runs/quickstart [--config.optimizer.learning_rate=1e-4]

The same workdir resumes.
"""

import script
from absl import flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file(
  "config",
  help_string="File with get_config(), and :argument, as configs/dpo.py:tiny.",
  lock_config=True,
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
flags.mark_flags_as_required(["config", "workdir"])


def main() -> None:
  from alignment_jax import experiment

  experiment.train(CONFIG.value, WORKDIR.value, command=script.command())


if __name__ == "__main__":
  script.run(main)
