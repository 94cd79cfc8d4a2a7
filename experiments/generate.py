"""Answer prompts with a policy: a finished stage, a Hugging Face folder or a
.gguf file.

    python experiments/generate.py --model=runs/quickstart/ipo \
        --prompt="movie: The film" --prompt="product: I"
    python experiments/generate.py --model=MODEL_FOLDER --chat \
        --prompts_file=asked.jsonl --output=answers.jsonl --samples=4

A single prompt is answered while you watch. The output has the columns `prompt`
and `response` (`responses`, a list, of several samples).
"""

import json
import sys

import script
from absl import flags

MODEL = flags.DEFINE_string("model", None, "Stage, folder or .gguf file.")
PROMPT = flags.DEFINE_multi_string("prompt", [], "A prompt; may be repeated.")
PROMPTS_FILE = flags.DEFINE_string(
  "prompts_file", None, "JSONL with `prompt` or `messages`, or lines of text."
)
OUTPUT = flags.DEFINE_string("output", None, "JSONL, written as answers come.")
SAMPLES = flags.DEFINE_integer("samples", 1, "Answers to each prompt.")
REVISIONS = flags.DEFINE_integer(
  "revisions", 0, "Improve each answer so often (a policy trained by srpo)."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Prompts at a time.")
STREAM = flags.DEFINE_bool(
  "stream", None, "Show answers as they come; for one prompt unless said."
)
MAX_TOKENS = flags.DEFINE_integer("max_tokens", 48, "Longest response.")
TEMPERATURE = flags.DEFINE_float(
  "temperature", 1.0, "Of sampling; 0 takes the most likely token."
)
TOP_K = flags.DEFINE_integer("top_k", 0, "Sample among so many; 0: all.")
TOP_P = flags.DEFINE_float(
  "top_p", 1.0, "Sample among the most likely tokens of this probability."
)
MIN_P = flags.DEFINE_float(
  "min_p", 0.0, "Sample among tokens with this share of the likeliest's."
)
CHAT = flags.DEFINE_bool(
  "chat", False, "Put each prompt into the model's chat template."
)
SEED = flags.DEFINE_integer("seed", 0, "Of sampling.")
flags.mark_flag_as_required("model")


def main() -> None:
  from alignment_jax import errors, experiment

  prompts = list(PROMPT.value)
  if PROMPTS_FILE.value:
    prompts += experiment.read_prompts(PROMPTS_FILE.value)
  if not prompts:
    raise errors.UserError("give --prompt or --prompts_file")
  stream = STREAM.value
  if stream is None:
    stream = (
      len(prompts) == 1
      and SAMPLES.value == 1
      and not OUTPUT.value
      and not REVISIONS.value
    )
  results = experiment.generate(
    MODEL.value,
    prompts,
    seed=SEED.value,
    max_tokens=MAX_TOKENS.value,
    batch_size=BATCH_SIZE.value,
    samples=SAMPLES.value,
    revisions=REVISIONS.value,
    chat=CHAT.value,
    show=(lambda piece: print(piece, end="", flush=True)) if stream else None,
    temperature=TEMPERATURE.value,
    top_k=TOP_K.value,
    top_p=TOP_P.value,
    min_p=MIN_P.value,
  )
  try:
    _write(prompts, results, stream)
  except KeyboardInterrupt:
    print("\nstopped", file=sys.stderr)
    sys.exit(130)


def _write(prompts, results, stream):
  from alignment_jax import errors

  try:
    file = open(OUTPUT.value, "w", encoding="utf-8") if OUTPUT.value else None
  except OSError as error:
    raise errors.UserError(
      f"cannot write {OUTPUT.value}: {error.strerror}"
    ) from error
  for prompt in prompts:
    shown = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    if stream:
      print(f"{shown} | ", end="", flush=True)
    texts = next(results, None)
    if texts is None:  # interrupted
      break
    if stream:
      print()
    elif not file:
      for text in texts:
        print(f"{shown} | {text}")
    if file:
      answer = (
        {"response": texts[0]} if SAMPLES.value == 1 else {"responses": texts}
      )
      row = {"prompt": prompt, **answer}
      file.write(json.dumps(row, ensure_ascii=False) + "\n")
      file.flush()
  if file:
    file.close()


if __name__ == "__main__":
  script.run(main)
