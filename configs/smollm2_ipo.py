"""IPO with LoRA on a real pretrained model and people's film ratings.

Azar et al., 2023 (arXiv:2310.12036) with the adapters of Hu et al., 2021
(arXiv:2106.09685), on SmolLM2-135M-Instruct. There is no SFT and no reward
model: the imported model is both start and reference, and VADER's rules judge.

    make smollm2
    python experiments/train.py --config=configs/smollm2_ipo.py \
        --workdir=runs/smollm2_ipo

Measured (seed 0) on two CPU cores, 9 minutes with evaluation: 56.6 % of 256
prompts won under VADER (95 % interval 52.0 to 61.1), a tie counting half; KL to
the imported model 0.9 nats per response; length +0.6 %. Another split of the
same pairs gave 59.2 % (54.5 to 63.7).
`:tiny` trains a toy from nothing and adapts that, in about a minute.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """LoRA on a pretrained model; `tiny` adapts a toy after its own SFT."""
  if size == "tiny":
    config = base.offline(
      dict(name="ipo", tau=0.058, aggregation="sum"),
      learning_rate=1e-3,
      steps=300,
    )
    config.lora.rank = 4
    return base.sized(config, size)
  config = base.offline(
    dict(name="ipo", tau=0.1, aggregation="sum"),
    learning_rate=1e-3,
    steps=60,
    batch_size=16,
    warmup=5,
  )
  config.lora.rank = 8
  config.init_from = "data/smollm2"
  config.model = dict(name="decoder", dtype="float32")
  config.data.source = "human_ratings/movie"
  config.data.response_length = 16
  # Of 960 pairs none may be spent on what raters disagree about.
  config.data.min_probability = 0.95
  config.sft.training.steps = 0
  config.reward_model.training.steps = 0
  config.training.log_every = 2
  config.training.checkpoint_every = 1000
  config.evaluation.prompts = 256
  config.evaluation.batch_size = 32
  return base.sized(config, size)
