"""Elastic Reset (Noukhovitch et al., 2023, arXiv:2312.07551).

RLOO on VADER's rules, where the policy falls back to its moving average, and
the average to its start, every 50 updates. Between two resets the average
forgets as much of its start as in the paper's largest run: 0.975^50 = 0.28, and
0.995^260 = 0.27. The run ends with a reset.

    python experiments/train.py --config=configs/elastic_reset.py \
        --workdir=runs/elastic_reset

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then RLOO with resets."""
  config = base.online(
    dict(
      name="rloo",
      beta=0.05,
      clip=None,
      kl="reward",
      kl_target=None,
      kl_gain=0.1,
    ),
    samples=4,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  config.reference_update = dict(
    name="elastic_reset", decay=0.975, period=4 if size == "tiny" else 50
  )
  return base.sized(config, size)
