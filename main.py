"""Prune neural networks and measure the result: `python main.py --pruner synflow --compression 1`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from Utils.base import signals, streams
from Utils.base.errors import Refused, RunFailed, Terminated
from Utils.base.text import one_line, print_lines
from Utils.compute import torchrun
from Utils.compute.allocator import keep_freed_memory
from Utils.options.command_line import check_processes, first_words, parse, what_stands

if TYPE_CHECKING:
    from Utils.options.types import Command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit status.

    The status is 0 for done, 1 for failed, 2 for refused, and 130, 141 or 143 for interrupted.
    """
    with streams.shown_streams() as out:
        return _run(argv, out)


def _run(argv: Sequence[str] | None, out: streams.Shown) -> int:
    command = None
    try:
        with torchrun.said_once():
            command = parse(argv)
            check_processes(command)
            print_lines(first_words(sys.argv[1:] if argv is None else argv, command))
        _dispatch(command)
        out.flush()  # while an error can still be reported
        if out.lost and command.prints_alone:
            raise RunFailed("standard output cannot be written, and this command does nothing else")
    except (Refused, RunFailed) as error:
        print(f"main.py: error: {one_line(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, Refused) else 1
    except BrokenPipeError:  # `| head` closed the pipe: a grid of several processes ends quietly, like any other command
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return 141
    except Exception as error:
        import_module("Utils.options.failures").print_unexpected(error, command)
        return 1
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"main.py: interrupted; {what_stands(command)}", file=sys.stderr)
        return 130 if isinstance(stop, KeyboardInterrupt) else 143
    except SystemExit:  # the help exits this way
        out.flush()
        if out.lost:
            return 1
        raise
    return 0


def _dispatch(command: Command) -> None:
    from Utils.options.experiments import module_of
    from Utils.options.types import Assignment, Grid, Listing  # late, as the help does not need them

    if isinstance(command, Listing):
        import_module("Utils.options.listing").print_list(command.what)
    elif isinstance(command, Assignment):
        module_of(command.experiment).run(command)
    elif isinstance(command, Grid):
        import_module("Utils.grid.under_torchrun" if torchrun.launched()[1] > 1 else "Utils.grid.run").run(command)
    elif command.dry_run:
        import_module("Utils.grid.run").show(command)
    else:
        with torchrun.process_group(command.no_cuda):
            module_of(command.experiment).run(command)


if __name__ == "__main__":
    streams.open_closed_streams()
    signals.install(signal.SIGINT, signal.SIGTERM)
    keep_freed_memory()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends the program quietly
    status = main()
    if status in (130, 143):
        signals.leave(status)
    sys.exit(status)
