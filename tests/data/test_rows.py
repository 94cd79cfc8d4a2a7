"""A user's row, in each form of the field, becomes ours or a clear error."""

import pytest

from alignment_jax import errors
from alignment_jax.data import rows


def user(text):
  return {"role": "user", "content": text}


def assistant(text):
  return {"role": "assistant", "content": text}


PAIR = {"prompt": "q", "chosen": "good", "rejected": "bad"}


@pytest.mark.parametrize(
  "kind, row, expected",
  [
    (
      "preference",
      PAIR,
      {**PAIR, "probability": 1.0, "weight": 1.0},
    ),
    (
      "preference",
      {**PAIR, "probability": 0.25, "weight": 2, "chosen_reward": 1, "id": 7},
      {**PAIR, "probability": 0.25, "weight": 2.0, "chosen_reward": 1.0},
    ),
    ("demonstration", PAIR, {"prompt": "q", "response": "good"}),
    ("prompt", PAIR, {"prompt": "q", "response": "good"}),
    ("prompt", {"prompt": "q", "id": 7}, {"prompt": "q"}),
    ("prompt", {"prompt": "q", "response": " "}, {"prompt": "q"}),
    (
      "prompt",
      {"prompt": "q", "completion": "a"},
      {"prompt": "q", "response": "a"},
    ),
    (
      "demonstration",
      {"prompt": "q", "completion": "a"},
      {"prompt": "q", "response": "a"},
    ),
    (
      "demonstration",
      {"prompt": "q", "response": "a", "reward": -1},
      {"prompt": "q", "response": "a"},
    ),
    (
      "feedback",
      {"prompt": "q", "response": "a", "reward": -1},
      {"prompt": "q", "response": "a", "reward": -1.0},
    ),
    (
      "feedback",
      {"prompt": "q", "completion": "a", "label": True},
      {"prompt": "q", "response": "a", "reward": 1.0},
    ),
    (
      "feedback",
      {"prompt": "q", "completion": "a", "label": False},
      {"prompt": "q", "response": "a", "reward": 0.0},
    ),
    (
      "feedback",
      {"prompt": "q", "response": "a", "reward": 3.5, "label": False},
      {"prompt": "q", "response": "a", "reward": 3.5},
    ),
    (
      "demonstration",
      {"messages": [user("q"), assistant("a")]},
      {"prompt": "q", "response": "a"},
    ),
    (
      "demonstration",
      {
        "messages": [user("q"), assistant("a"), user("r"), assistant("b")],
      },
      {"prompt": "user: q\nassistant: a\nuser: r", "response": "b"},
    ),
    (
      "feedback",
      {"messages": [user("q"), assistant("a"), user("thanks")], "reward": 2},
      {"prompt": "q", "response": "a", "reward": 2.0},
    ),
    (
      "preference",
      {
        "prompt": [user("q")],
        "chosen": [assistant("good")],
        "rejected": [assistant("bad")],
      },
      {**PAIR, "probability": 1.0, "weight": 1.0},
    ),
    (
      "preference",  # the prompt is what both conversations begin with
      {
        "chosen": [user("q"), assistant("good")],
        "rejected": [user("q"), assistant("bad")],
      },
      {**PAIR, "probability": 1.0, "weight": 1.0},
    ),
    (
      "demonstration",
      {
        "chosen": [user("q"), assistant("good")],
        "rejected": [user("q"), assistant("bad")],
      },
      {"prompt": "q", "response": "good"},
    ),
  ],
)
def test_a_row_is_understood(kind, row, expected):
  found = rows.canonical(row, kind, "here")
  found.pop("chat", None)
  assert found == expected


@pytest.mark.parametrize(
  "kind, row, expected",
  [
    ("preference", PAIR, None),
    ("demonstration", {"prompt": "q", "response": [assistant("a")]}, None),
    (
      "demonstration",
      {"messages": [user("q"), assistant("a"), user("thanks")]},
      {"prompt": [user("q")], "response": [assistant("a")]},
    ),
    (
      "demonstration",  # a text that answers messages is the assistant's
      {"prompt": [user("q")], "response": "a"},
      {"prompt": [user("q")], "response": [assistant("a")]},
    ),
    (
      "preference",
      {
        "chosen": [user("q"), assistant("good")],
        "rejected": [user("q"), assistant("bad")],
      },
      {
        "prompt": [user("q")],
        "chosen": [assistant("good")],
        "rejected": [assistant("bad")],
      },
    ),
  ],
)
def test_messages_are_kept_where_the_prompt_is_a_chat(kind, row, expected):
  found = rows.canonical(row, kind, "here").get("chat")
  assert found == (expected and {"where": "here", **expected})


def test_equal_conversations_still_leave_a_response():
  both = [user("q"), assistant("a")]
  row = rows.canonical(
    {"chosen": both, "rejected": list(both)}, "preference", "here"
  )
  assert (row["prompt"], row["chosen"], row["rejected"]) == ("q", "a", "a")


@pytest.mark.parametrize(
  "kind, row",
  [
    ("preference", {"prompt": "q", "response": "a"}),
    ("feedback", PAIR),
    ("feedback", {"prompt": "q", "response": "a"}),
    ("feedback", {"prompt": "q", "response": "a", "reward": None}),
    ("demonstration", {"text": "a"}),
    ("demonstration", {"prompt": None, "response": "a"}),
    ("demonstration", {}),
    ("preference", {"prompt": "q", "chosen": "a"}),
    ("preference", {"chosen": "q a", "rejected": "q b"}),
    ("preference", {"chosen": [user("q"), assistant("a")]}),
  ],
)
def test_missing_columns_are_named_with_those_found(kind, row):
  with pytest.raises(rows.MissingColumns) as caught:
    rows.canonical(row, kind, "f.jsonl line 3")
  message = str(caught.value)
  assert message.startswith("f.jsonl line 3")
  assert ", ".join(rows.NEEDED[kind]) in message
  assert (", ".join(row) or "none") in message


@pytest.mark.parametrize(
  "kind, row, message",
  [
    ("demonstration", [1], "object"),
    ("demonstration", "text", "object"),
    (
      "demonstration",
      {"prompt": 1, "response": "a"},
      "'prompt' must be a text",
    ),
    ("demonstration", {"prompt": "", "response": "a"}, "'prompt' is empty"),
    ("demonstration", {"prompt": " \n", "response": "a"}, "'prompt' is empty"),
    ("demonstration", {"prompt": "q", "response": "\t"}, "'response' is empty"),
    (
      "demonstration",
      {"prompt": "q", "response": "\ud800"},
      "'response' .*surrogate",
    ),
    (
      "demonstration",
      {"prompt": "q", "response": {"a": 1}},
      "'response' must be a text, got dict",
    ),
    ("demonstration", {"prompt": ["q"], "response": "a"}, "messages"),
    ("demonstration", {"messages": "hello"}, "messages"),
    ("demonstration", {"messages": []}, "assistant"),
    ("demonstration", {"messages": [user("q")]}, "assistant"),
    ("demonstration", {"messages": [assistant("a")]}, "assistant"),
    ("demonstration", {"messages": [{"role": "user"}]}, "messages"),
    ("demonstration", {"prompt": [], "response": "a"}, "'prompt' is empty"),
    ("preference", {**PAIR, "rejected": " "}, "'rejected' is empty"),
    ("preference", {**PAIR, "probability": 1.01}, r"in \[0, 1\], got 1.01"),
    ("preference", {**PAIR, "probability": -0.1}, r"in \[0, 1\]"),
    ("preference", {**PAIR, "probability": float("nan")}, "finite"),
    ("preference", {**PAIR, "weight": -1}, "'weight' must be >= 0"),
    ("preference", {**PAIR, "weight": float("inf")}, "finite"),
    ("preference", {**PAIR, "chosen_reward": "high"}, "'chosen_reward'"),
    (
      "preference",
      {"chosen": [user("q"), assistant("a")], "rejected": "b"},
      "'rejected' must be a list",
    ),
    (
      "preference",
      {
        "chosen": [user("q"), assistant("a")],
        "rejected": [user("r"), assistant("b")],
      },
      "share no first message",
    ),
    ("feedback", {"prompt": "q", "response": "a", "reward": "3"}, "finite"),
    (
      "feedback",
      {"prompt": "q", "response": "a", "reward": float("nan")},
      "finite number, got nan",
    ),
    ("feedback", {"prompt": "q", "response": "a", "reward": [1]}, "finite"),
    ("feedback", {"prompt": "q", "response": "a", "reward": 10**400}, "finite"),
    ("feedback", {"prompt": "q", "response": "a", "label": "yes"}, "finite"),
  ],
)
def test_a_bad_row_is_an_error_with_its_place(kind, row, message):
  with pytest.raises(errors.UserError, match=message) as caught:
    rows.canonical(row, kind, "f.jsonl line 3")
  assert str(caught.value).startswith("f.jsonl line 3")
  assert "\n" not in str(caught.value)
