"""REINFORCE with a running mean as its baseline (Williams, 1992).

As Ahmadian et al., 2024 (arXiv:2402.14740) return to it: a whole answer is one
action, and its KL to the SFT policy is in the reward. VADER's rules reward it.

    python experiments/train.py --config=configs/reinforce.py \
        --workdir=runs/reinforce

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import rloo


def get_config(size: str = ""):
  """The quickstart's SFT, then REINFORCE."""
  return rloo.online(
    size,
    config_dict.create(
      name="reinforce",
      beta=0.05,
      baseline="running",
      decay=0.99,
      kl="reward",
      kl_target=0.0,
      kl_gain=0.1,
    ),
    samples=4,
  )
