"""Respond to prompts with a policy: a finished stage, a Hugging Face folder or
a .gguf file.

    python experiments/generate.py --model=runs/quickstart/ipo \
        --prompt="movie: The film" --prompt="product: I"
    python experiments/generate.py --model=MODEL_FOLDER --chat \
        --prompts_file=asked.jsonl --output=answers.jsonl --samples=4

The response to a single prompt is shown as it is sampled. The output has the
columns `prompt` and `response` (`responses`, a list, of several samples).
"""

import json
import sys
from collections.abc import Iterator, Sequence

import script
from absl import flags

MODEL = flags.DEFINE_string("model", None, "Stage, folder or .gguf file.")
PROMPT = flags.DEFINE_multi_string("prompt", [], "A prompt; may be repeated.")
PROMPTS_FILE = flags.DEFINE_string(
  "prompts_file", None, "JSONL with `prompt` or `messages`, or lines of text."
)
OUTPUT = flags.DEFINE_string(
  "output", None, "JSONL, written as responses come."
)
SAMPLES = flags.DEFINE_integer("samples", 1, "Responses to each prompt.")
REVISIONS = flags.DEFINE_integer(
  "revisions", 0, "Revisions of each response (by a policy trained with srpo)."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Prompts at a time.")
STREAM = flags.DEFINE_bool(
  "stream",
  None,
  "Show responses as they come; the default for a single prompt.",
)
MAX_TOKENS = flags.DEFINE_integer("max_tokens", 48, "Longest response.")
TEMPERATURE = flags.DEFINE_float(
  "temperature", 1.0, "Of sampling; 0 takes the most likely token."
)
TOP_K = flags.DEFINE_integer(
  "top_k", 0, "Sample from this many most likely tokens; 0: from all."
)
TOP_P = flags.DEFINE_float(
  "top_p", 1.0, "Sample from the most likely tokens of this total probability."
)
MIN_P = flags.DEFINE_float(
  "min_p",
  0.0,
  "Sample from tokens with this share of the top token's probability.",
)
CHAT = flags.DEFINE_bool(
  "chat", False, "Put each prompt into the model's chat template."
)
SEED = flags.DEFINE_integer("seed", 0, "Of sampling.")
flags.mark_flag_as_required("model")

Prompt = str | list[dict[str, str]]  # a text, or the messages of a chat


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


def _write(
  prompts: Sequence[Prompt], results: Iterator[list[str]], stream: bool
) -> None:
  """Shows the responses, and writes them into the output if there is one."""
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
      responses = (
        {"response": texts[0]} if SAMPLES.value == 1 else {"responses": texts}
      )
      row = {"prompt": prompt, **responses}
      file.write(json.dumps(row, ensure_ascii=False) + "\n")
      file.flush()
  if file:
    file.close()


if __name__ == "__main__":
  script.run(main)
