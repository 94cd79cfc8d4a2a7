"""SRPO (Choi et al., 2024, arXiv:2406.01660).

The quickstart with a policy that answers, and that improves an answer it is
shown between two texts. `alpha` is that of published code.

    python experiments/train.py --config=configs/srpo.py \
        --workdir=runs/srpo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import quickstart


def get_config(size: str = ""):
  """The quickstart with another loss."""
  config = quickstart.get_config(size)
  config.algorithm = config_dict.create(
    name="srpo",
    beta=0.1,
    alpha=0.8,
    template=("\nAn answer: ", "\nA better answer: "),
  )
  # The answer that is shown stands in the prompt as well.
  config.training.batch_size = 8 if size == "tiny" else 16
  return config
