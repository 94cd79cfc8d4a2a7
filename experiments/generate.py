"""Answer prompts with a trained policy.

    python experiments/generate.py --stage=runs/quickstart/ipo \
        --prompt="movie: The film" --prompt="product: I"
"""

import script
from absl import flags

STAGE = flags.DEFINE_string("stage", None, "Folder of a finished stage.")
PROMPT = flags.DEFINE_multi_string("prompt", None, "A prompt; may be repeated.")
MAX_TOKENS = flags.DEFINE_integer("max_tokens", 48, "Longest response.")
TEMPERATURE = flags.DEFINE_float(
  "temperature", 1.0, "Of sampling; 0 takes the most likely token."
)
TOP_K = flags.DEFINE_integer("top_k", 0, "Sample among so many; 0: all.")
TOP_P = flags.DEFINE_float(
  "top_p", 1.0, "Sample among the most likely tokens of this probability."
)
CHAT = flags.DEFINE_bool(
  "chat", False, "Put each prompt into the model's chat template."
)
SEED = flags.DEFINE_integer("seed", 0, "Of sampling.")
flags.mark_flags_as_required(["stage", "prompt"])


def main() -> None:
  from alignment_jax import experiment

  texts = experiment.generate(
    STAGE.value,
    PROMPT.value,
    seed=SEED.value,
    max_tokens=MAX_TOKENS.value,
    chat=CHAT.value,
    temperature=TEMPERATURE.value,
    top_k=TOP_K.value,
    top_p=TOP_P.value,
  )
  for prompt, text in zip(PROMPT.value, texts, strict=True):
    print(f"{prompt} | {text}")


if __name__ == "__main__":
  script.run(main)
