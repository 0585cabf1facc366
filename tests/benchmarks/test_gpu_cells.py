"""The cells that the benchmark of a CUDA card trains, and how it reaches the card, on a CPU and with a card that is played."""

from __future__ import annotations

import contextlib
import gc
import weakref

import pytest
import torch

from benchmarks.gpu.card import Card, Replay, arithmetic
from benchmarks.gpu.cell import LAYOUTS, WARM_UP, Cell, Variant, difference
from benchmarks.gpu.sizes import Case
from Utils.training.loops import train_epoch

CPU = Card(torch.device("cpu"))
FLOAT32 = Variant(False, False, "contiguous")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Steps of two images are over before a second thread has begun."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
@pytest.mark.parametrize(("network", "layout"), [("fc", "contiguous"), ("resnet20", "channels last")])
def test_a_step_is_the_runners(network, layout, optimizer):
    case = Case(network, 4, optimizer, 100)
    ours, runners = (Cell(CPU, case, Variant(False, False, layout)) for _ in range(2))
    ours.steps(3)
    for group in runners.optimizer.param_groups:
        group["lr"] = float(group["lr"])
    mean = train_epoch(runners.model, runners.optimizer, [(runners.images, runners.targets)] * 3)
    assert float(ours.loss) / 12 == float(mean)
    runners.loss.copy_(ours.loss)
    assert difference(ours.tensors(), runners.tensors()) == 0
    ours.check_masks()
    kept = torch.cat([p.mask.flatten() for p in ours.prunables]).mean()
    assert 0.05 < float(kept) < 0.15


def test_masks_and_parameters_are_converted():
    cell = Cell(CPU, Case("resnet20", 2, "adam", 100), Variant(True, True, "channels last"))
    convolutions = [p for p in cell.prunables if p.weight.dim() == 4 and p.weight.shape[-1] > 1]
    assert convolutions
    for tensor in [cell.images, *(t for p in convolutions for t in (p.weight, p.mask))]:
        assert tensor.is_contiguous(memory_format=LAYOUTS["channels last"])


def test_states_and_their_differences():
    cell = Cell(CPU, Case("fc", 2, "adam", 100), FLOAT32)
    cell.steps(1)
    start = cell.state()
    cell.steps(1)
    later = cell.state()
    assert difference(start, later) > 0
    cell.put_back(start)
    assert difference(start, cell.tensors()) == 0
    cell.steps(1)
    assert difference(later, cell.tensors()) == 0
    later[0][0] = torch.nan
    assert difference(start, later) == torch.inf
    with torch.no_grad():
        cell.prunables[0].weight.fill_(1)
    with pytest.raises(RuntimeError, match="not zero"):
        cell.check_masks()


class FakeGraph:
    """A graph that notes on what it was captured and replayed."""

    def __init__(self):
        self.replays = 0

    def replay(self):
        self.replays += 1


@pytest.fixture
def fake_cuda(monkeypatch):
    """What `Card` asks of torch.cuda, noted in a list; a stream is a number."""
    notes, numbers = [], iter(range(100))

    @contextlib.contextmanager
    def stream(number):
        notes.append(("on", number))
        yield

    @contextlib.contextmanager
    def graph(graph, pool, stream):
        notes.append(("capture", pool, stream))
        yield

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: notes.append("wait"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: next(numbers))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: f"pool {next(numbers)}")
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    return notes


def test_cells_are_warmed_up_and_captured_each_on_its_own_stream(fake_cuda):
    """The network itself stays on the CPU."""
    card = Card(torch.device("cuda", 0))
    replays = []
    for _ in range(2):
        cell = Cell(CPU, Case("fc", 2, "adam", 100), FLOAT32)
        cell.card, cell.stream = card, card.stream()
        fake_cuda.clear()
        cell.steps(WARM_UP)
        seen = []
        cell.step = lambda seen=seen, groups=cell.optimizer.param_groups: seen.append(groups[0]["capturable"])
        replays.append(cell.capture())
        assert fake_cuda[0] == ("on", cell.stream) and fake_cuda[1] == "wait"
        ((_, pool, stream),) = [note for note in fake_cuda if note[0] == "capture"]
        assert stream == cell.stream and pool.startswith("pool")
        assert seen == [True] and not cell.optimizer.param_groups[0]["capturable"]
    assert len({id(r.graph) for r in replays}) == len({r.stream for r in replays}) == 2
    fake_cuda.clear()
    replays[1]()
    assert fake_cuda == [("on", replays[1].stream)] and replays[1].graph.replays == 1


def test_a_replay_keeps_the_tensors_of_its_work(fake_cuda):
    card = Card(torch.device("cuda", 0))

    def made():
        numbers = torch.ones(3)
        return card.capture(lambda: numbers.relu_(), card.stream()), weakref.ref(numbers)

    replay, numbers = made()
    gc.collect()
    assert isinstance(replay, Replay) and numbers() is not None


def test_arithmetic_is_put_back():
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, products.allow_tf32, cudnn.deterministic
    for tf32 in (True, False):
        with pytest.raises(ZeroDivisionError), arithmetic(tf32):
            assert cudnn.allow_tf32 == products.allow_tf32 == tf32 and cudnn.deterministic
            _ = 1 / 0
        assert (cudnn.allow_tf32, products.allow_tf32, cudnn.deterministic) == before
