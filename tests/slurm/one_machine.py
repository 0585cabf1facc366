"""A real Slurm on this one machine, for tests and for trying out `--launcher slurm`; nothing outside DIR is touched.

    python tests/slurm/one_machine.py install     # Debian, Ubuntu: apt-get install slurm-wlm munge, as root
    eval "$(python tests/slurm/one_machine.py start DIR)"     # sets SLURM_CONF, which all of Slurm's programs need
    python tests/slurm/one_machine.py stop DIR

Three daemons, munged, slurmctld and slurmd, run as whoever starts them, listen on 127.0.0.1 alone and leave everything they
write in DIR. There are two CPUs to give away, however many the machine has, and two partitions: `ci`, the default, and `hi`,
which preempts it. There is no accounting, so `sacct` fails, as on many a small cluster. Measured with Slurm 22.05 of Debian 12.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
APT = f"apt-get install -y --no-install-recommends {' '.join(PACKAGES)}"
DAEMONS = ("munged", "slurmctld", "slurmd")
PROGRAMS = (*DAEMONS, "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # where daemons lie, also for a user whose PATH lacks them
MARK = "SLURM_ON_ONE_MACHINE"  # is DIR in the environment of each daemon, by which they are found again
CONF = """\
ClusterName=ci
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
# A requeued job waits for as long as its credential lives: 120 s if this does not say otherwise.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
ReturnToService=2
KillWait=3
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=ci Nodes=ALL Default=YES MaxTime=60 State=UP PriorityTier=1 GraceTime=20
PartitionName=hi Nodes=ALL MaxTime=60 State=UP PriorityTier=10 PreemptMode=OFF
"""


class Broken(RuntimeError):
    """Slurm could not be installed or started; the message says what failed."""


def missing() -> list[str]:
    """Programs of Slurm that this machine lacks."""
    return [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]


def install(seconds: float = 120) -> None:
    """Install Debian's packages, quietly, and start none of their services.

    Raises:
        Broken: apt-get is not there, failed, or took longer than `seconds`.
    """
    quiet = ["-qq", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10", "-o", "DPkg::Lock::Timeout=30"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    end = time.monotonic() + seconds
    for words in (["update"], APT.split()[1:]):
        try:
            done = subprocess.run(["apt-get", *quiet, *words], env=environment, timeout=max(end - time.monotonic(), 1),
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True)  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Broken(f"apt-get {words[0]}: {error}") from error
    if done.returncode or missing():
        raise Broken(f"{APT}: {(done.stderr.strip() or 'lacks ' + ', '.join(missing())).splitlines()[-1]}")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """A Slurm that stops when the block ends, whatever happens in it; yields the environment of its users."""
    try:
        yield start(folder)
    finally:
        stop(folder)


def start(folder: Path) -> dict[str, str]:
    """Start the daemons, wait until the node is idle, and return what users need in their environment.

    What an earlier start left in `folder` is stopped and removed.

    Raises:
        Broken: a daemon does not come up; the message has the end of its log.
    """
    folder = folder.absolute()
    stop(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("munge", "state", "spool"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    (folder / "key").unlink(missing_ok=True)
    with open(os.open(folder / "key", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o400), "wb") as key:
        key.write(os.urandom(128))
    user = pwd.getpwuid(os.getuid()).pw_name
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, ports=_free_ports(2), user=user))
    files = {"key-file": "key", "socket": "munge/socket", "pid-file": "munge/pid", "log-file": "munged.log", "seed-file": "munge/seed"}
    try:
        # --force: folders above DIR may be closed to other users, who are not to use this Slurm anyway.
        _daemon(folder, ["munged", "--foreground", "--force", "--num-threads=2", *(f"--{k}={folder / v}" for k, v in files.items())])
        _wait(folder, "munged", lambda: (folder / "munge/socket").exists())
        _daemon(folder, ["slurmctld", "-D", "-f", str(folder / "slurm.conf")])
        _wait(folder, "slurmctld", lambda: "is UP" in ask(folder, "scontrol", "ping"))
        _daemon(folder, ["slurmd", "-D", "-f", str(folder / "slurm.conf"), "-N", "localhost"])
        _wait(folder, "slurmd", lambda: set(ask(folder, "sinfo", "-h", "-o", "%T").split()) == {"idle"})
    except BaseException:
        stop(folder)
        raise
    return {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}


def ask(folder: Path, *command: str) -> str:
    """What one of Slurm's programs prints, errors included."""
    environment = os.environ | {"SLURM_CONF": str(folder.absolute() / "slurm.conf"), "PATH": PATH}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout


def stop(folder: Path) -> None:
    """End all jobs, then the daemons in reverse, then what is left of either; nothing happens where none runs."""
    folder = folder.absolute()
    daemons = [pid for name in reversed(DAEMONS) for pid in _processes(folder) if _name(pid) == name]
    if len(daemons) >= len(DAEMONS):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            ask(folder, "scancel", "--user", str(os.getuid()))
            _until(lambda: not ask(folder, "squeue", "-h").strip(), 10)
    left = _processes(folder)  # while those below the daemons are still to be found there
    for pid in daemons:
        _end(pid, 10)
    for pid in (pid for pid, since in left.items() if began(pid) == since):
        _end(pid, 0)


def _daemon(folder: Path, command: list[str]) -> None:
    with open(folder / f"{command[0]}.out", "wb") as output:
        subprocess.Popen(command, env=os.environ | {MARK: str(folder), "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")},
                         stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)  # fmt: skip


def _wait(folder: Path, daemon: str, up: Callable[[], bool]) -> None:
    if not _until(up, 20):
        logs = [folder / f"{daemon}.log", folder / f"{daemon}.out"]
        ends = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()[-3:]]
        raise Broken(f"{daemon} did not come up: {' | '.join(ends)}")


def _until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (there := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return there


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third, the state; empty for a process that ended."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return [] if fields[0] == "Z" else fields
    return []


def began(pid: int) -> int | None:
    """When a process started, in ticks: with it a number that was given to another process is not mistaken for ours."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _processes(folder: Path) -> dict[int, int | None]:
    """Processes that carry this folder's mark, and all below them, with their starts."""
    parents: dict[int, int] = {}
    marked = set()
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        with contextlib.suppress(OSError):
            if f"{MARK}={folder}".encode() in (path / "environ").read_bytes().split(b"\0"):
                marked.add(pid)
        if fields := _stat(pid):
            parents[pid] = int(fields[1])
    while more := {pid for pid, parent in parents.items() if parent in marked and pid not in marked}:
        marked |= more
    return {pid: began(pid) for pid in marked}


def _end(pid: int, patience: float) -> None:
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 2)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if _until(lambda: not _stat(pid), seconds):
            break
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def main(words: list[str]) -> None:
    """The command line."""
    try:
        match words:
            case ["install"]:
                install()
            case ["start", folder]:
                print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in start(Path(folder)).items()))
            case ["stop", folder]:
                stop(Path(folder))
            case _:
                sys.exit(__doc__)
    except Broken as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
