"""J-BOND (Sessa et al., 2024, arXiv:2407.14622).

The quickstart's SFT policy is pulled towards the better of two responses of its
moving average, as VADER's rules rank them. `beta` and `eta` are the paper's.

    python experiments/train.py --config=configs/jbond.py \
        --workdir=runs/jbond

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then J-BOND."""
  config = base.online(
    dict(name="jbond", beta=0.5, gamma=0.5, eta=0.02),
    samples=1,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
