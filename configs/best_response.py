"""The best response on preferences (Munos et al., 2023).

arXiv:2312.00886. As `nash_md.py`, against the policy at its start alone.

    python experiments/train.py --config=configs/best_response.py \
        --workdir=runs/best_response

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import rloo


def get_config(size: str = ""):
  """The quickstart's SFT, then the best response."""
  return rloo.online(
    size, config_dict.create(name="best_response", tau=0.008), samples=1
  )
