"""Fine-tuning on the best of samples (Noukhovitch et al., 2024).

arXiv:2410.18252. The quickstart's SFT policy samples two responses to each
prompt and imitates the one that VADER's rules prefer.

    python experiments/train.py --config=configs/best_of_n.py \
        --workdir=runs/best_of_n

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then best-of-n."""
  config = base.online(
    dict(name="best_of_n"),
    samples=2,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
