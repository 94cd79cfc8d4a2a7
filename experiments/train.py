"""Train what a config describes, evaluate it and write a report.

    python experiments/train.py --config=configs/quickstart.py \
        --workdir=runs/quickstart [--config.optimizer.learning_rate=1e-4]

The same workdir resumes. `--plan` prints what would be done and does nothing.
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
PLAN = flags.DEFINE_bool(
  "plan", False, "Print what would be done; write nothing."
)
flags.mark_flag_as_required("config")
flags.register_multi_flags_validator(
  ["workdir", "plan"],
  lambda values: values["workdir"] is not None or values["plan"],
  message="give --workdir, the folder of the run, or --plan",
)


def main() -> None:
  from alignment_jax import experiment

  if PLAN.value:
    print(experiment.describe(experiment.plan(CONFIG.value, WORKDIR.value)))
    return
  experiment.train(CONFIG.value, WORKDIR.value, command=script.command())


if __name__ == "__main__":
  script.run(main)
