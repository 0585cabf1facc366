"""Prune neural networks and measure what is left: `python main.py --pruner synflow --compression 1`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from Utils import interrupts, torchrun
from Utils.allocator import keep_freed_memory
from Utils.command import parse
from Utils.errors import Refused, RunFailed, Terminated, one_line, print_unexpected


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status (0 done, 1 failed, 2 refused, 130, 141 and 143 interrupted)."""
    options = None
    try:
        with torchrun.said_once():
            options = parse(argv)
            if "list" in options:
                import_module("Utils.listing").print_list(options.list)
                sys.stdout.flush()
                return 0
            torchrun.check(options)
        if "preset" in options:
            import_module("Experiments.assignment").run(options)
        elif "cells" in options:
            import_module("Utils.grid.together" if torchrun.launched()[1] > 1 else "Utils.grid.run").run(options)
        elif getattr(options, "dry_run", False):
            import_module("Utils.grid.run").show(options)
        else:
            with torchrun.process_group(options):
                import_module(f"Experiments.{options.experiment.replace('-', '_')}").run(options)
        sys.stdout.flush()  # while an error can still be told
    except (Refused, RunFailed) as error:
        print(f"main.py: error: {one_line(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, Refused) else 1
    except BrokenPipeError:  # `| head` ends a grid of several processes quietly, as it does everything else
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        print_unexpected(error, options)
        return 1
    except (KeyboardInterrupt, Terminated) as stop:
        print("main.py: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130 if isinstance(stop, KeyboardInterrupt) else 143
    return 0


if __name__ == "__main__":
    interrupts.install(signal.SIGINT, signal.SIGTERM)
    keep_freed_memory()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends the program quietly
    status = main()
    if status in (130, 143):
        interrupts.leave(status)
    sys.exit(status)
