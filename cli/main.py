"""`main`: the table of commands, loaded when called, and what an error becomes.

Exit statuses:

====  ==========================================================================================================
0     done, or the answer is yes
1     failed, or the answer is no: not found, unreachable, damaged, refused by the store, in no version
2     the command itself is wrong: an unknown option, a bad name, something that is never allowed
130   interrupted from the keyboard
141   whoever read the output has stopped reading (``art files data | head``)
====  ==========================================================================================================

Results go to stdout; messages and progress go to stderr, an error in one line: ``art: <message>``, or
``{"error": {"type": …, "message": …}}`` with ``--json``. ``--debug`` or ``LINEART_DEBUG=1`` adds the traceback.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .options import common_options

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

INTERRUPTED = 130
PIPE_CLOSED = 141

# Heading → command → (module, its one-line help). `art --help` is printed from here without loading any of them.
COMMANDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Start": {
        "init": ("setup", "Make a store, and use it in this folder."),
        "status": ("setup", "Show which store is in use, why, and what it holds."),
        "exec": ("executing", "Run a command as a run."),
        "demo": ("demo", "Show the whole way from data to a promoted model, in seconds."),
        "completion": ("completion", "Print the script that completes names in your shell."),
    },
    "Files": {
        "put": ("putting", "Log files and folders as a version of an artifact."),
        "get": ("fetching", "Fetch the files of a version."),
        "cat": ("fetching", "Write files of a version to the standard output."),
    },
    "Look": {
        "ls": ("listing", "List artifacts, or the versions of one."),
        "show": ("showing", "Show all about one version."),
        "log": (
            "history",
            "Show the history of an artifact: versions, aliases, promotions, revisions, deletions.",
        ),
        "files": ("listing", "List the files of a version."),
        "diff": ("difference", "Show what changed between two versions: files, config, code, results."),
        "run": ("runs", "Look at runs: list, show, compare, follow, fetch their files."),
        "sql": ("query", "Ask the catalog anything in SQL."),
    },
    "Lineage": {
        "lineage": ("lineage", "Draw what a version was made from and what was made from it."),
        "impact": ("questions", "List what would be touched if a version were bad."),
        "why": ("questions", "Tell which data, code and config made a version."),
        "reproduce": ("reproducing", "Print how to make a version anew, or do it and compare."),
        "blame": ("blaming", "Show which version and run brought a file its content."),
        "stale": ("staleness", "List versions made from inputs that are out of date."),
        "whereis": ("whereis", "Find the versions that contain a file on disk."),
        "export": ("exporting", "Write lineage, a version or the catalog in a format of other tools."),
    },
    "Labels": {
        "alias": ("labels", "Point an alias to a version, or remove it."),
        "tag": ("labels", "Add tags to a version, or remove them."),
        "rm": ("labels", "Delete a version; its name, digest and lineage stay."),
        "undelete": ("cleaning", "Bring a deleted version back, as long as its content is there."),
        "link": ("linking", "Show a version in another collection, such as a registered model."),
    },
    "Registry": {
        "registry": ("registry", "Look at registered models, set their policies, read what was promoted."),
        "promote": ("promoting", "Move an alias to a version, when its policies allow it."),
        "approve": ("promoting", "Approve that an alias moves to a version."),
        "rollback": ("promoting", "Move an alias back to the version that was in place before."),
        "protect": ("promoting", "Let an alias move by promotion only."),
    },
    "Signatures": {
        "key": ("keys", "Make keys to sign with, and look at them."),
        "sign": ("signing", "Sign a version, or write a signature of it for others."),
    },
    "Store": {
        "push": ("transfer", "Copy from the store in use to STORE, with history and lineage."),
        "pull": ("transfer", "Copy from STORE to the store in use, with history and lineage."),
        "verify": ("verifying", "Read every byte again and compare it with what was recorded."),
        "du": ("usage", "Measure what takes up space."),
        "sync": ("syncing", "Send what waits in the outbox to the store."),
        "prune": ("cleaning", "Delete the versions that no rule keeps."),
        "gc": ("cleaning", "Delete from the store what no version and no run needs."),
    },
}


class Art(click.Group):
    """A group that loads a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for group in COMMANDS.values() for name in group]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for group in COMMANDS.values():
            if cmd_name in group:
                module = importlib.import_module(f".{group[cmd_name][0]}", __package__)
                command: click.Command = getattr(module, cmd_name)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, group in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, text) for name, (_, text) in group.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            close = get_close_matches(args[0], names, n=1)
            hint = f'; did you mean "art {close[0]}"?' if close else ""
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=text)
            for group in COMMANDS.values()
            for name, (_, text) in group.items()
            if name.startswith(incomplete)
        ]
        return names or click.Command.shell_complete(self, ctx, incomplete)

    def _main_shell_completion(
        self, ctx_args: MutableMapping[str, Any], prog_name: str, complete_var: str | None = None
    ) -> None:
        if any(name.endswith("_COMPLETE") for name in os.environ):
            from .completion import register_bash

            register_bash()
        super()._main_shell_completion(ctx_args, prog_name, complete_var)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its status; see the module's docstring."""
        arguments = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show "→" shows an escape
                stream.reconfigure(errors="backslashreplace")
        try:
            status = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except SystemExit:
            raise
        except BaseException as error:  # every way out of a command ends here, and is reported
            status = report(error, arguments)
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            close_output()
            return PIPE_CLOSED


def close_output() -> None:
    """Point stdout to nowhere: the interpreter's own flush at the end must not fail once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def report(error: BaseException, arguments: Sequence[str]) -> int:
    """Say on stderr what went wrong; the exit status."""
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        close_output()
        return PIPE_CLOSED
    before_dashes = list(arguments)[: list(arguments).index("--")] if "--" in arguments else arguments
    if "--debug" in before_dashes or os.environ.get("LINEART_DEBUG", "") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    message, status = describe(error)
    if "--json" in before_dashes:
        import json

        kind = type(error).__name__
        text = json.dumps({"error": {"type": kind, "message": message}}, ensure_ascii=False)
    else:
        plain = os.environ.get("NO_COLOR") or not sys.stderr.isatty()
        text = f"{'art:' if plain else click.style('art:', fg='red', bold=True)} {message}"
    click.echo(text, err=True, color=True)
    return status


def describe(error: BaseException) -> tuple[str, int]:
    """Message in one line and exit status of an error."""
    from ..storage.errors import Error, UsageError

    if isinstance(error, click.ClickException):
        message, status = error.format_message(), error.exit_code
        if isinstance(error, click.UsageError) and error.ctx is not None and "--help" not in message:
            end = " " if message.endswith("?") else "; "
            message = f'{message.rstrip(".")}{end}see "{error.ctx.command_path} --help"'
    elif isinstance(error, Error):
        message, status = str(error), 2 if isinstance(error, UsageError) else 1
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        message, status = f"{where}{error.strerror or error}", 1
    else:
        where = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        message, status = f"internal error: {where}; run it with --debug and report what you see", 1
    from .output import printable

    return printable(" ".join(message.split())), status


@click.group(
    cls=Art,
    name="art",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='A name is [[ENTITY/]PROJECT/]NAME[:ALIAS or :vN]; without the last part it means ":latest".',
)
@click.version_option(package_name="lineart", prog_name="art", message="%(prog)s %(version)s")
@common_options
@click.pass_context
def main(ctx: click.Context) -> None:
    """Version data and models, and know where they came from.

    Results go to the standard output, messages to the standard error. The exit status is 0 when it is done or the
    answer is yes, 1 when it failed or the answer is no, 2 when the command itself is wrong.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False
