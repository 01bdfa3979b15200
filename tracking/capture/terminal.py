"""What a terminal would show in the end, of text with carriage returns, cursor movements and colours.

Lines are held back while a program may still return to them: the newest `window` of them, and those at or below its
cursor. Each stream has its own cursor, so that a progress bar on one does not run into the lines of the other; lines
of all streams come out in the order in which they began.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import dataclass, field

WINDOW_LINES = 100
ROW_LIMIT = 32_768  # characters: what is longer goes on in a row of its own, without a line break
_CELL_LIMIT = 16  # characters: a letter with its accents
_TAIL_LIMIT = 4096  # characters of an escape sequence that does not end

_TOKEN = re.compile(
    r"\x1b\[(?P<numbers>[0-?]*)[ -/]*(?P<command>[@-~])"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links and the like: nothing to show
    r"|\x1b[ -/]*(?P<escape>[0-OQ-WYZ\\`a-~])"
    r"|(?P<control>[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f])"
    r"|(?P<text>[^\x00-\x08\x0a-\x1f\x7f]+)"
)
_INCOMPLETE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NOT_ONE_COLUMN = re.compile(  # may be wide or of no width; `unicodedata` says which
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0900-\u0dff\u0e31-\u0eff\u1100-\u11ff"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff\u231a-\u23ff\u25fd\u25fe"
    "\u2614-\u27bf\u2b1b-\u2b55\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe00-\ufe6f\ufeff\uff00-\uffe6"
    "\U0001f000-\U0003ffff\U000e0000-\U000e0fff]"
)


class _Row:
    """One line: text while every character takes one column, else cells, of which a wide one has an empty second."""

    __slots__ = ("cells", "changed", "end", "number", "stream", "text")

    def __init__(self, stream: _Stream, number: int, text: str = "") -> None:
        self.stream = stream
        self.number = number  # in its stream
        self.text = text
        self.cells: list[str] | None = None
        self.changed = False  # written elsewhere than at its end: what pads it is of no meaning
        self.end = "\n"

    def width(self) -> int:
        return len(self.text) if self.cells is None else len(self.cells)

    def put(self, column: int, text: str) -> int:
        """Write over what stands at `column`; the column after it."""
        width = self.width()
        self.changed |= column != width
        if self.cells is None and (text.isascii() or not _NOT_ONE_COLUMN.search(text)):
            after = column + len(text)
            self.text = self.text[:column].ljust(column) + text + self.text[after:]
            return after
        cells = list(self.text) if self.cells is None else self.cells
        self.cells, self.text = cells, ""
        cells += [" "] * (column - width)
        for character in text:
            columns = _columns(character)
            if columns == 0 and column > 0 and len(cells[column - 1]) < _CELL_LIMIT:
                cells[column - 1] += character
                continue
            columns = max(columns, 1)  # an accent on nothing stands alone
            cells[column : column + columns] = [character, ""][:columns]
            column += columns
        return column

    def erase(self, start: int, stop: int | None) -> None:
        """Blank the columns from `start` to `stop`; all after `start` when it is None."""
        cells = list(self.text) if self.cells is None else self.cells
        if stop is None:
            del cells[start:]
        else:
            cells[start:stop] = [" "] * (min(stop, len(cells)) - start)
        self.changed = True
        if self.cells is None:
            self.text = "".join(cells)

    def shown(self) -> str:
        text = self.text if self.cells is None else "".join(self.cells)
        return text.rstrip(" ") if self.changed else text


@dataclass(slots=True, eq=False)
class _Stream:
    rows: list[_Row] = field(default_factory=list)  # that it may still return to
    at: int = 0  # index of the cursor's row; len(rows): a row that begins with the next character
    column: int = 0
    first: int = 0  # number of rows[0]
    top: int | None = None  # index of the row that is the first since the screen was cleared
    saved: tuple[int, int] | None = None  # number of a row, column
    elsewhere: bool = False  # on the alternate screen of a full-screen program
    tail: str = ""  # of an escape sequence that is not complete


class Collapser:
    """Turns what a program writes to a terminal into lines: `feed` gives those that are finished, `finish` the rest.

    >>> collapser = Collapser()
    >>> collapser.feed("10%\\r50%\\r100%\\ndone")
    ''
    >>> collapser.finish()
    '100%\\ndone\\n'
    """

    def __init__(self, window: int = WINDOW_LINES) -> None:
        """Hold back the newest `window` lines, to which the cursor may return."""
        self._window = window
        self._streams: dict[str, _Stream] = {}
        self._rows: deque[_Row] = deque()

    def feed(self, text: str, stream: str = "") -> str:
        """Take in what was written to `stream`; the lines that are finished by it, each with its line break."""
        state = self._streams.setdefault(stream, _Stream())
        text = state.tail + text
        state.tail = ""
        if not state.elsewhere and not _CONTROL.search(text):
            self._put_lines(state, text)
        else:
            if "\x1b" in text and (tail := _INCOMPLETE.search(text)):
                text, state.tail = text[: tail.start()], text[tail.start() :]
                if len(state.tail) > _TAIL_LIMIT:
                    state.tail = ""
            for token in _TOKEN.finditer(text):
                self._act(state, token)
        return self._released(len(self._rows) - self._window)

    def pending(self) -> str:
        """The lines that are held back, as they would be shown now."""
        return "".join(row.shown() + row.end for row in self._rows if not self._is_blank_rest(row))

    def finish(self) -> str:
        """All lines that are left, the last one too when it has no line break."""
        rest = self.pending()
        self._rows.clear()
        self._streams.clear()
        return rest

    def _act(self, state: _Stream, token: re.Match[str]) -> None:
        kind = token.lastgroup
        if kind == "command":
            command, numbers = token["command"], token["numbers"]
            if numbers in ("?1049", "?1047", "?47") and command in "hl":
                state.elsewhere = command == "h"
            elif not state.elsewhere and numbers.strip("0123456789;") == "":
                self._command(state, command, [int(n or 0) for n in numbers[:20].split(";")])
        elif state.elsewhere or kind is None:
            return
        elif kind == "text":
            self._put(state, token["text"])
        elif kind == "control":
            self._control(state, token["control"])
        elif token["escape"] == "M":
            self._move(state, -1)
        elif token["escape"] in "78":
            self._keep_place(state, restore=token["escape"] == "8")

    def _control(self, state: _Stream, control: str) -> None:
        if control in "\n\x0b\x0c":
            self._row(state)
            state.at += 1
            state.column = 0
        elif control == "\r":
            state.column = 0
        elif control == "\b":
            state.column = max(state.column - 1, 0)

    def _command(self, state: _Stream, command: str, numbers: list[int]) -> None:
        """A control sequence that moves the cursor or erases; colours and the rest show nothing."""
        count = max(numbers[0], 1)
        if command in "AF":
            self._move(state, -count)
        elif command in "BE":
            self._move(state, count)
        elif command == "C":
            state.column = min(state.column + count, ROW_LIMIT)
        elif command == "D":
            state.column = max(state.column - count, 0)
        elif command in "G`":
            state.column = min(count - 1, ROW_LIMIT)
        elif command in "Hf":
            if state.top is None:  # nothing printed before is written over
                state.top = len(state.rows)
            state.at = min(state.top + count - 1, len(state.rows))
            state.column = min(max(numbers[1] if len(numbers) > 1 else 1, 1) - 1, ROW_LIMIT)
        elif command == "J" and numbers[0] in (2, 3):
            state.top = state.at = len(state.rows)  # what a screen loses, a log keeps
        elif command == "J" and numbers[0] == 0:
            self._erase(state, 0)
            for row in state.rows[state.at + 1 :]:
                row.erase(0, None)
        elif command == "K":
            self._erase(state, numbers[0])
        elif command in "su":
            self._keep_place(state, restore=command == "u")
        if command in "EF":
            state.column = 0

    def _put_lines(self, state: _Stream, text: str) -> None:
        """Text whose only controls are line breaks."""
        first, *others = text.split("\n")
        self._put(state, first)
        for line in others:
            self._row(state)
            state.at += 1
            state.column = 0
            self._put(state, line)

    def _put(self, state: _Stream, text: str) -> None:
        while text:
            row = self._row(state)
            room = ROW_LIMIT - state.column
            state.column = row.put(state.column, text[:room])
            text = text[room:]
            if state.column >= ROW_LIMIT:
                if state.at + 1 == len(state.rows):
                    row.end = ""
                state.at += 1
                state.column = 0

    def _row(self, state: _Stream) -> _Row:
        if state.at == len(state.rows):
            row = _Row(state, state.first + len(state.rows))
            state.rows.append(row)
            self._rows.append(row)
        return state.rows[state.at]

    def _move(self, state: _Stream, lines: int) -> None:
        state.at = max(0, min(state.at + lines, max(state.at, len(state.rows) - 1)))

    def _erase(self, state: _Stream, which: int) -> None:
        if state.at < len(state.rows):
            row = state.rows[state.at]
            row.erase(0 if which else state.column, None if which in (0, 2) else state.column + 1)

    def _keep_place(self, state: _Stream, *, restore: bool) -> None:
        if not restore:
            state.saved = state.first + state.at, state.column
        elif state.saved is not None:
            number, state.column = state.saved
            state.at = min(max(number - state.first, 0), len(state.rows))

    def _is_blank_rest(self, row: _Row) -> bool:
        """Whether the row was erased and the cursor never went beyond it."""
        return row.changed and row.number >= row.stream.first + row.stream.at and not row.shown()

    def _released(self, count: int) -> str:
        """The oldest `count` lines, passing over those at or below a cursor."""
        if count <= 0:
            return ""
        lines: list[str] = []
        kept: list[_Row] = []
        gone: dict[_Stream, int] = {}
        while self._rows and len(lines) < count:
            row = self._rows.popleft()
            if row.number >= row.stream.first + row.stream.at:
                kept.append(row)
            else:
                lines.append(row.shown() + row.end)
                gone[row.stream] = gone.get(row.stream, 0) + 1
        self._rows.extendleft(reversed(kept))
        for stream, number in gone.items():
            del stream.rows[:number]
            stream.first += number
            stream.at -= number
            stream.top = None if stream.top is None else max(stream.top - number, 0)
        return "".join(lines)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
