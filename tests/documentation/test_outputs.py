"""What passes for the output that a page shows, and what does not."""

from __future__ import annotations

import pytest

from documentation.outputs import compared, same_line
from documentation.shell import Command, ShellBlockError, commands_of

TABLE = """\
           For user 1
┏━━━┳━━━━━━━━━━━━━┳━━━━━━━┓
┃   ┃ title       ┃ score ┃
┡━━━╇━━━━━━━━━━━━━╇━━━━━━━┩
│ 1 │ Get Shorty  │ 2.946 │
│ 2 │ Real Genius │ 2.158 │
└───┴─────────────┴───────┘
"""


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("recall 0.242", "recall 0.250"),
        ("recall .242", "recall 0.236"),
        ("│    1.0 │  0.242 │", "│ 1.0 │ 0.25 │"),
        ("champion: 1998-04-22-2dee61a49b89", "champion: 1998-04-22-c3510679e5ec"),
        ("(107 partitions), run 20b98967", "(107 partitions), run d65a8bb6"),
        ("Done in 42 s.", "Done in 61.5 s."),
        ("home: …/cache/movielens; daily", "home: /somewhere/cache/movielens; daily"),
        ("created at: 2026-11-24T17:16:19", "created at: 2027-01-02T03:04:05"),
    ],
)
def test_what_may_differ(shown: str, printed: str) -> None:
    assert same_line(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("recall 0.242", "recall 0.262"),
        ("share 0.003", "share 0.004"),
        ("share 0.000", "share 0.002"),
        ("δ −0.19", "δ 0.19"),
        ("rows 41,096", "rows 41,097"),
        ("item 181", "item 182"),
        ("champion: 1998-04-22-2dee61a49b89", "champion: 1998-04-21-c3510679e5ec"),
        ("2022-04-24 05:06:07", "2022-04-24 05:06:08"),
        ("Done in 42 s.", "Gone in 42 s."),
        ("ok    champion", "WRONG champion"),
    ],
)
def test_what_may_not_differ(shown: str, printed: str) -> None:
    assert not same_line(shown, printed)


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        ("a\nb\nc\nd", True),
        ("…\nc\nd", True),
        ("a\n…", True),
        ("a\n…\nc\n…\nd", True),
        ("a\n…\nb\nd", False),
        ("a\nb\nc", False),
        ("a\n…\nc", False),
        ("…\nd\n…\nc\n…", False),
        ("a\nb\nc\nd\ne", False),
    ],
)
def test_lines_that_are_left_out_are_said_to_be(shown: str, same: bool) -> None:
    assert (compared(shown, "a\n\nb\nc\nd\n").difference is None) == same


def test_a_difference_is_told_as_a_diff() -> None:
    difference = compared(TABLE, TABLE.replace("2.158", "2.858")).difference
    assert difference is not None
    assert "-│ 2 │ Real Genius │ 2.158 │" in difference
    assert "+│ 2 │ Real Genius │ 2.858 │" in difference


def test_what_a_model_ranks_may_be_half_another_in_any_order() -> None:
    other = TABLE.replace("Get Shorty ", "Batman").replace("│ 2 │ Real Genius │ 2.158", "│ 1 │ Real Genius │ 2.366")
    assert compared(TABLE, other, "list").difference is None
    assert compared(TABLE, other).difference is not None


def test_the_parts_of_a_model_may_be_further_apart_than_what_it_is_as_a_whole() -> None:
    shown = "│ cold │ 0.041 │ 0.86 │ 276 │"
    for printed, same in (
        ("│ cold │ 0.031 │ 0.79 │ 276 │", True),
        ("│ cold │ 0.027 │ 0.86 │ 276 │", False),
        ("│ cold │ 0.041 │ 0.74 │ 276 │", False),
        ("│ cold │ 0.041 │ 0.86 │ 275 │", False),
        ("│ tail │ 0.041 │ 0.86 │ 276 │", False),
    ):
        assert (compared(shown, printed, "parts").difference is None) == same
        assert compared(shown, printed).difference is not None
    with pytest.raises(ValueError, match="'list', 'parts', 'rows' or none"):
        compared(shown, shown, "any")


def test_of_wrapped_sentences_on_what_a_model_ranks_the_frame_is_what_is_shown() -> None:
    rule = "├───┼─────────────┼───────┤\n"
    shown = TABLE.replace("│ 2 │", rule + "│ 2 │")
    other = shown.replace("│ 2.946 │", "│ 3.946 │\n│   │ and more │   │").replace("Real Genius", "Batman")
    assert compared(shown, other, "rows").difference is None
    for wrong in (other.replace("score", "value"), other.replace("user 1", "user 2"), other.replace(rule, "")):
        assert compared(shown, wrong, "rows").difference is not None


@pytest.mark.parametrize(
    "printed",
    [
        TABLE.replace("Get Shorty ", "Batman").replace("Real Genius", "Heathers"),
        TABLE.replace("2.158", "1.158"),
        TABLE.replace("│ 2 │ Real Genius │ 2.158 │\n", ""),
        TABLE.replace("score", "value"),
        TABLE.replace("For user 1", "For user 2"),
    ],
)
def test_what_a_model_ranks_is_still_what_is_shown(printed: str) -> None:
    assert compared(TABLE, printed, "list").difference is not None


def test_a_block_of_a_terminal_is_read_as_commands_with_what_they_print() -> None:
    text = (
        "$ cat > f <<'END'\nA=1\nEND\n$ twotower sql \"SELECT\n  1\"   # one\n│ 1 │\n\n$ one \\\n  two\n"
        "$ twotower sql\nlake> SELECT 2;\n│ 2 │\n"
    )
    assert list(commands_of(text)) == [
        Command("cat > f <<'END'\nA=1\nEND"),
        Command('twotower sql "SELECT\n  1"   # one', "│ 1 │"),
        Command("one \\\n  two"),
        Command("twotower sql", "│ 2 │", "SELECT 2;\n"),
    ]


@pytest.mark.parametrize("text", ["twotower doctor\n", "$ echo 'never ended\n"])
def test_a_block_of_a_terminal_that_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(ShellBlockError):
        list(commands_of(text))


def test_a_page_that_shows_an_error_wants_one() -> None:
    assert Command("x", "error: there is no lake").fails
    assert not Command("x", "no error: all is well").fails
