"""Online DPO (Guo et al., 2024, arXiv:2402.04792).

DPO on the better and the worse of two of the policy's own responses, by VADER's
rules. With `--config.sampling.samples=4` the best and the worst of four.

    python experiments/train.py --config=configs/online_dpo.py \
        --workdir=runs/online_dpo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then online DPO."""
  config = base.online(
    dict(name="online_dpo", beta=0.1, feedback="reward"),
    samples=2,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
