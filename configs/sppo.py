"""Self-play preference optimization (Wu et al., 2024, arXiv:2405.00675).

The best and the worst of five responses, sampled from the policy before each
iteration, are fitted to their win rates. `eta` is far below the paper's 1000,
whose responses are longer.

    python experiments/train.py --config=configs/sppo.py \
        --workdir=runs/sppo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then SPPO."""
  config = base.online(
    dict(name="sppo", eta=10.0, refresh_every=50),
    samples=5,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
