"""What is left in a log of text that was written for a terminal."""

from __future__ import annotations

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console as RichConsole
from rich.progress import Progress
from tqdm import tqdm

from lineart.tracking.capture import Collapser
from lineart.tracking.capture.terminal import ROW_LIMIT


def collapsed(*parts: str) -> str:
    collapser = Collapser()
    return "".join(collapser.feed(part) for part in parts) + collapser.finish()


@pytest.mark.parametrize(
    "written, kept",
    [
        ("", ""),
        ("a", "a\n"),
        ("a\n\nb\n", "a\n\nb\n"),
        ("\n", "\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("10%\r50%\r100%\n", "100%\n"),
        ("loading\rdone\n", "doneing\n"),
        ("loading\r\x1b[Kdone\n", "done\n"),
        ("loading\x1b[2K\rdone\n", "done\n"),
        ("abc\x1b[1G\x1b[1Kx\n", "xbc\n"),
        ("  trailing blanks  \n", "  trailing blanks  \n"),
        ("long text\rok       \n", "ok\n"),
        ("\x1b[31mred\x1b[0m \x1b[38;2;1;2;3mrgb\x1b[m\n", "red rgb\n"),
        ("\x1b]0;title\x07a\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\\n", "alink\n"),
        ("\x1b(Ba\x1b=b\n", "ab\n"),
        ("ab\b\bc\n", "cb\n"),
        ("col\tumn\x00\x07\n", "col\tumn\n"),
        ("one\ntwo\n\x1b[2A1\n\x1b[1B", "1ne\ntwo\n"),
        ("one\ntwo\n\x1b[2F\x1b[2Kuno\x1b[Enext\n", "uno\nnext\n"),
        ("bar\n\x1b[99Atop\n", "top\n"),
        ("a\nb\nc\x1b[2A\r\x1b[Jx", "x\n"),
        ("kept\n\x1b[2J\x1b[Hframe\n", "kept\nframe\n"),
        ("kept\n\x1b[Hframe 1\n\x1b[Hframe 2\n", "kept\nframe 2\n"),
        ("a\x1b7bc\x1b8X\n", "aXc\n"),
        ("a\x1b[sbc\x1b[uX\n", "aXc\n"),
        ("a\n\x1bMb\n", "b\n"),
        ("before\n\x1b[?1049heditor\x1b[5;5Hscreen\x1b[?1049lafter\n", "before\nafter\n"),
        ("x\x1b[3Cy\n", "x   y\n"),
        ("日本語 text\r日 \n", "日 語 text\n"),
        ("e\u0301tude\rX\n", "Xtude\n"),
        ("👩\u200d🔬 ok\n", "👩\u200d🔬 ok\n"),
        ("unfinished \x1b[", "unfinished \n"),
        ("\x1b[31", ""),
    ],
)
def test_text_is_left_as_a_terminal_shows_it(written: str, kept: str) -> None:
    assert collapsed(written) == kept
    assert collapsed(*written) == kept


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs"]) | st.sampled_from("\n\t"), max_size=300))
def test_plain_text_is_left_as_it_is(text: str) -> None:
    assert collapsed(text) == (text if text.endswith("\n") or not text else text + "\n")


@given(
    st.lists(
        st.sampled_from(
            [
                "\x1b[A",
                "\x1b[2K",
                "\r",
                "\n",
                "\x1b[3B",
                "\x1b[J",
                "\x1b[H",
                "\x1b[2J",
                "\x1b[5D",
                "\x1b7",
                "\x1b8",
            ]
        )
        | st.sampled_from(["abc", "日本", "\x1b[1;31m", "\x1b[", "\x1b]0;", "\x07", "\b", "e\u0301"]),
        max_size=60,
    ),
    st.integers(1, 5),
)
def test_no_text_breaks_it_and_pieces_make_no_difference(parts: list[str], window: int) -> None:
    text = "".join(parts)
    results = []
    for pieces in (parts, [*text], [text]):
        collapser = Collapser(window)
        assert all(not piece or piece.endswith("\n") for piece in map(collapser.feed, pieces))
        results.append(collapser.finish())
        assert collapser.feed("x\n") + collapser.finish() == "x\n"
    assert results


def test_line_comes_out_when_the_window_has_passed_over_it() -> None:
    collapser = Collapser(window=3)
    assert collapser.feed("1\n2\n3\n") == ""
    assert collapser.feed("4\n5\n") == "1\n2\n"
    assert collapser.pending() == "3\n4\n5\n"
    assert collapser.finish() == "3\n4\n5\n"


def test_bar_of_one_stream_stays_one_line_while_another_prints() -> None:
    collapser = Collapser(window=4)
    out = "".join(
        collapser.feed(f"\r{step}%", "stderr") + collapser.feed(f"step {step}\n", "stdout")
        for step in range(101)
    )
    out += collapser.feed("\n", "stderr") + collapser.finish()
    lines = out.splitlines()
    assert sorted(lines) == sorted(["100%", *(f"step {step}" for step in range(101))])
    assert [line for line in lines if line != "100%"] == [f"step {step}" for step in range(101)]


def test_streams_come_out_in_the_order_of_their_lines() -> None:
    collapser = Collapser()
    for number in range(3):
        collapser.feed(f"out {number}\n", "stdout")
        collapser.feed(f"err {number}\n", "stderr")
    assert collapser.finish() == "out 0\nerr 0\nout 1\nerr 1\nout 2\nerr 2\n"


def test_line_without_an_end_needs_bounded_memory_and_loses_nothing() -> None:
    collapser = Collapser(window=2)
    out = "".join(collapser.feed("x" * 10_000) for _ in range(100))
    assert len(out) > 1_000_000 - 4 * ROW_LIMIT
    assert out + collapser.finish() == "x" * 1_000_000 + "\n"


def test_escape_sequence_without_an_end_is_forgotten() -> None:
    collapser = Collapser()
    collapser.feed("a\x1b]0;" + "t" * 10_000)
    collapser.feed("b\n")
    assert collapser.finish() == "ab\n"


def test_million_lines_take_seconds_at_most() -> None:
    collapser = Collapser()
    begun = time.perf_counter()
    text = "".join(f"step {step}\n" for step in range(200_000))
    out = collapser.feed(text) + collapser.finish()
    assert out == text
    assert time.perf_counter() - begun < 5


# Real progress bars


def test_tqdm_leaves_its_last_line() -> None:
    sink = io.StringIO()
    for _ in tqdm(range(50), desc="train", file=sink, mininterval=0, ncols=60, ascii=False):
        pass
    lines = collapsed(sink.getvalue()).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("train: 100%|")
    assert "50/50" in lines[0]


def test_several_tqdm_bars_leave_one_line_each() -> None:
    sink = io.StringIO()
    bars = [
        tqdm(total=9, desc=name, position=at, file=sink, mininterval=0, ncols=60)
        for at, name in enumerate("abc")
    ]
    for _ in range(9):
        for bar in bars:
            bar.update()
    for bar in reversed(bars):
        bar.close()
    lines = collapsed(sink.getvalue()).splitlines()
    assert sorted(line[:8] for line in lines) == ["a: 100%|", "b: 100%|", "c: 100%|"]


def test_nested_tqdm_bar_that_does_not_stay_leaves_nothing() -> None:
    sink = io.StringIO()
    for _ in tqdm(range(3), desc="epochs", file=sink, mininterval=0, ncols=60):
        for _ in tqdm(range(5), desc="batches", file=sink, mininterval=0, ncols=60, leave=False):
            pass
        tqdm.write("said between", file=sink)
    lines = collapsed(sink.getvalue()).splitlines()
    assert lines[:3] == ["said between"] * 3
    assert [line[:12] for line in lines[3:]] == ["epochs: 100%"]


def test_rich_bars_leave_their_last_lines_and_what_was_printed() -> None:
    sink = io.StringIO()
    console = RichConsole(file=sink, force_terminal=True, width=60)
    with Progress(console=console, auto_refresh=False) as progress:
        tasks = [progress.add_task(name, total=4) for name in ("download", "train")]
        for step in range(4):
            for task in tasks:
                progress.advance(task)
            console.print("step", step)
            progress.refresh()
    lines = collapsed(sink.getvalue()).splitlines()
    assert lines[:4] == [f"step {step}" for step in range(4)]
    assert [line.split()[0] for line in lines[4:]] == ["download", "train"]
    assert all("100%" in line for line in lines[4:])


def test_rich_bars_that_do_not_stay_leave_nothing() -> None:
    sink = io.StringIO()
    console = RichConsole(file=sink, force_terminal=True, width=60)
    with Progress(console=console, auto_refresh=False, transient=True) as progress:
        for task in [progress.add_task(name, total=1) for name in "ab"]:
            progress.advance(task)
            progress.refresh()
    assert collapsed(sink.getvalue()).strip() == ""
