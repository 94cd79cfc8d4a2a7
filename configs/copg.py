"""CoPG (Flet-Berliac et al., 2024, arXiv:2406.19185).

Contrasts two responses by their rewards, which are VADER's. It needs no ratio
to the policy that sampled, so `--config.sampling.staleness=4` or
`--config.training.epochs=2` keep its optimum.

    python experiments/train.py --config=configs/copg.py \
        --workdir=runs/copg

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then CoPG."""
  config = base.online(
    dict(name="copg", beta=0.06),
    samples=2,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
