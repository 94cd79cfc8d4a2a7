"""Self-play preference optimisation (Wu et al., 2024, arXiv:2405.00675).

The best and the worst of five answers of the policy before each iteration learn
their win rates. `eta` is far below the paper's 1000, whose answers are longer.

    python experiments/train.py --config=configs/sppo.py \
        --workdir=runs/sppo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import rloo


def get_config(size: str = ""):
  """The quickstart's SFT, then SPPO."""
  return rloo.online(
    size, config_dict.create(name="sppo", eta=10.0, refresh_every=50), samples=5
  )
