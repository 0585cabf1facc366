"""Prune neural networks and measure what is left: `python main.py --pruner synflow --compression 1`."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module

from Utils.base import signals, streams
from Utils.base.errors import Refused, RunFailed, Terminated
from Utils.base.text import one_line
from Utils.compute import torchrun
from Utils.compute.allocator import keep_freed_memory
from Utils.options.command_line import parse, prints_alone, what_stands
from Utils.options.failures import print_unexpected


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status (0 done, 1 failed, 2 refused, 130, 141 and 143 interrupted)."""
    with streams.shown_streams() as out:
        return _run(argv, out)


def _run(argv: Sequence[str] | None, out: streams.Shown) -> int:
    options = None
    try:
        with torchrun.said_once():
            options = parse(argv)
            torchrun.check(options)
        _dispatch(options)
        out.flush()  # while an error can still be told
        if out.lost and prints_alone(options):
            raise RunFailed("standard output cannot be written, and this command does nothing else")
    except (Refused, RunFailed) as error:
        print(f"main.py: error: {one_line(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, Refused) else 1
    except BrokenPipeError:  # `| head` ends a grid of several processes quietly, as it does everything else
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return 141
    except Exception as error:
        print_unexpected(error, options)
        return 1
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"main.py: interrupted; {what_stands(options)}", file=sys.stderr)
        return 130 if isinstance(stop, KeyboardInterrupt) else 143
    except SystemExit:  # the help
        out.flush()
        if out.lost:
            return 1
        raise
    return 0


def _dispatch(options: Namespace) -> None:
    if "list" in options:
        import_module("Utils.options.listing").print_list(options.list)
    elif "preset" in options:
        import_module("Experiments.assignment").run(options)
    elif "cells" in options:
        import_module("Utils.grid.under_torchrun" if torchrun.launched()[1] > 1 else "Utils.grid.run").run(options)
    elif getattr(options, "dry_run", False):
        import_module("Utils.grid.run").show(options)
    else:
        with torchrun.process_group(options):
            import_module(f"Experiments.{options.experiment.replace('-', '_')}").run(options)


if __name__ == "__main__":
    streams.open_closed_streams()
    signals.install(signal.SIGINT, signal.SIGTERM)
    keep_freed_memory()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends the program quietly
    status = main()
    if status in (130, 143):
        signals.leave(status)
    sys.exit(status)
