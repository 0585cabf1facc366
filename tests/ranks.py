"""A program for tests: `python ranks.py RANK RANKS JOBS` runs the command lines of a JSON file as one of several processes.

They meet through a file instead of a port. A job is [name, words, epochs]; the last process kills itself before its epoch
`epochs` + 1 of that job. NAME.RANK.json then says how the job ended here, and what the networks that it trained came to.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def digest(tensors):
    content = hashlib.sha256()
    for name, tensor in tensors:
        content.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return content.hexdigest()


def watch(found):
    """Note the state of each network after its training, and buffers before and after they are made the same."""
    from Utils.compute import processes
    from Utils.training.phase import Training

    run, follow = Training.run, processes.follow_statistics

    def run_and_note(self, *args, **kwargs):
        table = run(self, *args, **kwargs)
        found["states"].append(digest(self.model.state_dict().items()))
        return table

    def follow_and_note(model):
        found["before"].append(digest(model.named_buffers()))
        follow(model)
        found["after"].append(digest(model.named_buffers()))

    Training.run, processes.follow_statistics = run_and_note, follow_and_note


def die_after(epochs):
    from Utils.training import phase

    left, train_epoch = epochs, phase.train_epoch

    def counted(*args, **kwargs):
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return train_epoch(*args, **kwargs)

    phase.train_epoch = counted


def main():
    rank, ranks, jobs = sys.argv[1:]
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "GLOO_SOCKET_IFNAME": "lo"}
    import torch.distributed as dist

    import main as program
    from Utils.compute import torchrun

    torchrun.GRACE = timedelta(seconds=2)
    found = {}
    watch(found)
    for name, words, epochs in json.loads(Path(jobs).read_text()):
        if epochs is not None and rank != "0":
            die_after(epochs)
        torchrun.INIT_METHOD = f"file://{Path(jobs).resolve()}.{name}.meeting"
        found |= {"states": [], "before": [], "after": []}
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = program.main(words)
            except SystemExit as stop:
                status = stop.code
        if dist.is_initialized():  # after a failure only the end of the process does it
            dist.destroy_process_group()
        result = found | {"status": status, "out": out.getvalue(), "err": err.getvalue()}
        Path(f"{name}.{rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
