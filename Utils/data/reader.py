"""Worker processes that read and decode the images of a dataset, and stay from one pass over it to the next."""

from __future__ import annotations

import atexit
import os
import signal
import warnings
import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from Utils.base import seeds
from Utils.base.errors import Refused, RunFailed
from Utils.data.augmentation import draw_move, recipe

PER_CORE = 4  # the most processes for each CPU core; more would not be quicker
DIED = (
    "a worker process that reads images died, perhaps for lack of memory or of shared memory (/dev/shm): "
    "fewer --workers need less of both"
)

_recipe = lru_cache(recipe)
warnings.filterwarnings("ignore", "This DataLoader will create")  # torch suggests fewer processes than `PER_CORE`
_foreign: list[Any] = []  # loaders of the process that this one was forked from; deleting them here would end its workers


class ImageSource(Protocol):
    """Images that are decoded one at a time; must be picklable for worker processes."""

    def __len__(self) -> int:
        """The number of images."""

    def content(self, index: int) -> Any:
        """Read the content of image `index`, such as the bytes of its file."""

    def image(self, index: int, content: Any = None) -> Any:
        """Return image `index` as a PIL image of mode RGB or L, made from `content` if that has been read already.

        Raises:
            Refused: the file cannot be read.
        """


class Request(NamedTuple):
    """A batch of images to read.

    Attributes:
        part: the number of their source.
        indices: their numbers there.
        augment: their augmentation.
        seed: the seed of their random numbers; None where `augment` has none.
    """

    part: int
    indices: list[int]
    augment: str = "none"
    seed: int | None = None


class _Decoded(torch.utils.data.Dataset):
    """Decoded images, uint8 [C, size, size], each with its move: int64 [3], a crop's row and column, and whether to mirror.

    Where moves are not `held` back for the device, images are moved already, and each move is empty. The random numbers of an
    image depend only on its seed and index, so that the number of worker processes changes nothing. The global random stream
    stays untouched.
    """

    def __init__(self, sources: Sequence[ImageSource], size: int, held: bool) -> None:
        self.sources, self.size, self.held = sources, size, held

    def __getitems__(self, request: Request) -> list[tuple[Tensor, Tensor]]:
        source, augment, seed = self.sources[request.part], request.augment, request.seed
        transform = _recipe(augment, self.size, not self.held)
        state = torch.get_rng_state()
        try:
            return [self._read(source.image(index), transform, augment, seed, index) for index in request.indices]
        finally:
            torch.set_rng_state(state)

    def _read(self, image: Any, transform: Any, augment: str, seed: int | None, index: int) -> tuple[Tensor, Tensor]:
        if seed is not None:
            torch.default_generator.manual_seed(seeds.derive(seed, index))
        return transform(image), draw_move(augment) if self.held and seed is not None else torch.empty(0, dtype=torch.int64)


class Reader:
    """Reads the images of a dataset's sources in up to `workers` processes, cut to `size` x `size`.

    The processes start with the first pass, and serve the later ones as well. A process that uses this class has those of one
    reader at most, the one that read last. For a CUDA `device`, batches are in pinned memory, and crops and mirroring are left to
    the card.
    """

    _latest: ClassVar[weakref.ref[Reader] | None] = None

    def __init__(self, sources: Sequence[ImageSource], size: int, workers: int, device: torch.device | str) -> None:
        self.sources, self.size, self.workers = tuple(sources), size, workers
        self.device = torch.device(device)
        self._loader: torch.utils.data.DataLoader[Any] | None = None
        self._requests: list[Request] = []  # of the pass that the kept processes are at
        self._busy, self._owner = False, os.getpid()

    def read(self, requests: Sequence[Request]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of `requests`, (uint8 [B, C, size, size], moves int64 [B, 3] or [B, 0]) on the CPU.

        A pass within another one has processes of its own. A pass that does not reach its end stops its processes.

        Raises:
            Refused: an image cannot be read.
            RunFailed: a worker process died.
        """
        if self._owner != os.getpid():
            self.close()
        count = min(self.workers, len(requests), PER_CORE * (os.cpu_count() or 1))
        if self._busy or not count:
            yield from _checked(self._make(requests, count, keep=False))
            return
        self._prepare(requests, count)
        self._busy, whole = True, False
        try:
            yield from _checked(self._loader)
            whole = True
        finally:
            self._busy = False
            if not whole:
                self.close()

    def close(self) -> None:
        """Stop the processes, if there are any; the next pass starts new ones."""
        if self._owner != os.getpid():
            _foreign.append(self._loader)
        self._loader, self._busy, self._owner = None, False, os.getpid()

    def _prepare(self, requests: Sequence[Request], count: int) -> None:
        """Hand `requests` to the kept processes, or to `count` new ones where there are fewer."""
        latest = Reader._latest and Reader._latest()
        if latest is not None and latest is not self:
            latest.close()
        if self._loader is not None and self._loader.num_workers < count:
            self.close()
        if self._loader is None:
            self._requests = []
            self._loader = self._make(self._requests, count, keep=True)
            Reader._latest = weakref.ref(self)
        self._requests[:] = requests

    def _make(self, requests: Sequence[Request], count: int, keep: bool) -> torch.utils.data.DataLoader[Any]:
        on_card = self.device.type == "cuda"
        return torch.utils.data.DataLoader(
            _Decoded(self.sources, self.size, held=on_card),
            batch_sampler=requests,
            num_workers=count,
            pin_memory=on_card,
            persistent_workers=keep,
            generator=torch.Generator().manual_seed(0),  # the loader must not draw from the global stream
        )


def _checked(loader: torch.utils.data.DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what `loader` yields; raises as `Reader.read`."""
    try:
        yield from _begun(loader)
    except Refused as error:  # a worker process wraps the message in its traceback
        raise Refused(str(error).strip().splitlines()[-1].removeprefix("Utils.base.errors.Refused: ")) from error
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):
            raise
        raise RunFailed(DIED) from error
    except (ConnectionError, EOFError, FileNotFoundError) as error:  # it died while its batch was fetched
        raise RunFailed(DIED) from error


def _begun(loader: torch.utils.data.DataLoader[Any]) -> Iterator[Any]:
    """Begin a pass of `loader`, and leave the handler of SIGCHLD as it was.

    Torch's handler would raise an error where a worker dies, amid a step or a write; a death is noticed where images are awaited.
    """
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if signal.getsignal(signal.SIGCHLD) is not before:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    atexit.unregister(_close_latest)
    atexit.register(_close_latest)  # before what torch registered: it would wait seconds for processes that nobody stopped
    return iterator


def _close_latest() -> None:
    """Stop the processes that are kept."""
    reader = Reader._latest and Reader._latest()
    if reader is not None:
        reader.close()
