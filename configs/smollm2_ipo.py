"""draft"""

from ml_collections import config_dict

from configs import quickstart


def get_config(size: str = "") -> config_dict.ConfigDict:
  config = quickstart.get_config(size)
  config.lora.rank = 4 if size == "tiny" else 16
  config.lora.alpha = 32.0
  if size == "tiny":
    return config
  config.init_from = "data/smollm2"
  config.model = config_dict.create(name="decoder", dtype="float32")
  config.data.source = "human_ratings/movie"
  config.data.response_length = 24
  config.sft.training.steps = 0
  config.reward_model.training.steps = 0
  config.update(
    quickstart.stage(
      dict(name="ipo", tau=0.1, aggregation="sum"),
      learning_rate=1e-3,
      steps=60,
      batch_size=16,
      warmup=5,
    )
  )
  config.lora.alpha = 32.0
  config.training.log_every = 2
  config.training.checkpoint_every = 1000
  config.evaluation.prompts = 256
  config.evaluation.batch_size = 32
  return config
