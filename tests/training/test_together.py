"""Networks that are trained at once get the numbers that each gets alone, bit for bit."""

from __future__ import annotations

import io
import random
from contextlib import redirect_stdout

import pytest
import torch
from test_graphs import Net, stand_in  # noqa: F401
from torch import nn

from Models.chain import linear_chain
from Models.masking import add_masks, apply_masks, hold_masks
from Utils.compute.graphs import Graphs
from Utils.training.chains import chain_kind
from Utils.training.loops import EvaluationPass as Evaluation
from Utils.training.loops import TrainingPass
from Utils.training.optimizers import make_optimizer
from Utils.training.passes import Source
from Utils.training.together import together

CPU = torch.device("cpu")


def chain(inputs=50, width=9, bias=True):
    last = nn.Linear(width, 3, bias=bias)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width, bias=bias), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)


class Cell:
    """A network with masks, and what its training has come to."""

    def __init__(self, seed, make=chain, optimizer="adam", lr=0.05, biases=False, graphs=False):
        torch.manual_seed(seed)
        self.seed, self.model, self.losses = seed, make(), []
        self.prunables = add_masks(self.model, bias=biases)
        for p in self.prunables:
            p.mask.copy_(torch.rand(p.mask.shape) < 0.5)
        apply_masks(self.prunables)
        self.optimizer = make_optimizer(self.model, optimizer, lr, 0.01)
        hold_masks(self.optimizer, self.prunables)
        self.graphs = Graphs(CPU, self.model, wanted=graphs)

    def epoch(self, number, batches, **more):
        source = Source(0, "train", 5, (self.seed if more else 1, number))
        return TrainingPass(self.model, self.optimizer, batches, source=source, graphs=self.graphs, **more)

    def numbers(self):
        state = self.optimizer.state_dict()["state"]
        parts = [value for part in state.values() for value in part.values()]
        return [*self.model.state_dict().values(), *self.losses, *parts]


def batches(seed, shape=(1, 5, 10)):
    draws = torch.Generator().manual_seed(seed)
    for size in (5, 5, 5, 5, 5, 3):
        yield torch.randn(size, *shape, generator=draws), torch.randint(3, (size,), generator=draws)


def same(some, others):
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(some, others, strict=True))


def train(cells, at_once, epochs=2, shape=(1, 5, 10)):
    for number in range(1, epochs + 1):
        passes = [cell.epoch(number, batches(number, shape)) for cell in cells]
        answers = together(passes) if at_once else []
        assert all(answer.done is True for answer in answers)
        if not at_once:
            for one in passes:
                one.alone()
        for cell, one in zip(cells, passes, strict=True):
            cell.losses.append(one.mean())
    return [cell.numbers() for cell in cells]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw", "rms"])
def test_chains_have_the_bits_of_those_alone(optimizer):
    """With masks on biases too, other rates, and a last batch that is smaller; 5 x 9 numbers do not end at 64 bytes."""
    several, alone = ([Cell(s, optimizer=optimizer, lr=0.01 * s, biases=s == 2) for s in (1, 2, 3)] for _ in range(2))
    assert all(map(same, train(several, True), train(alone, False)))
    assert all(bool((p.weight[p.mask == 0] == 0).all()) for cell in several for p in cell.prunables)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_chain_joins_one_that_has_trained_before(optimizer):
    """torch begins the momentum of all parameters of a group together."""
    several, alone = ([Cell(s, optimizer=optimizer) for s in (1, 2, 3)] for _ in range(2))
    for cells in (several, alone):
        train(cells[:1], False, epochs=1)
    assert all(map(same, train(several, True), train(alone, False)))


def test_chains_without_biases_and_of_one_layer():
    for make in (lambda: chain(bias=False), lambda: nn.Sequential(nn.Flatten(), nn.Linear(50, 3))):
        several, alone = ([Cell(s, make) for s in (1, 2)] for _ in range(2))
        assert all(map(same, train(several, True), train(alone, False)))


def test_who_leaves_or_diverges_changes_nothing_for_the_others():
    alone, left, lost = Cell(1), Cell(2), Cell(3, lr=1e30)
    both = Cell(1)
    train([both, left, lost], True, epochs=1)
    assert not torch.isfinite(lost.losses[0])
    one = both.epoch(2, batches(2))
    one.alone()
    both.losses.append(one.mean())
    assert same(both.numbers(), train([alone], False)[0])


def test_which_passes_go_together():
    kinds = {
        "same": chain_kind(Cell(1).epoch(1, ())),
        "rate and method": chain_kind(Cell(2, lr=0.7).epoch(1, ())),
        "width": chain_kind(Cell(1, lambda: chain(width=8)).epoch(1, ())),
        "batches": chain_kind(TrainingPass((cell := Cell(1)).model, cell.optimizer, (), source=Source(7, "train", 5, (3,), 20))),
        "optimizer": chain_kind(Cell(1, optimizer="sgd").epoch(1, ())),
    }
    assert kinds["same"] == kinds["rate and method"] and len(set(kinds.values())) == 4 and None not in kinds.values()
    cell = Cell(1)
    assert chain_kind(Cell(1, Net).epoch(1, ())) is None and chain_kind(Evaluation(cell.model, (), source=Source(0, "test", 5))) is None
    assert chain_kind(TrainingPass(cell.model, cell.optimizer, ())) is None  # of unknown batches
    assert chain_kind(cell.epoch(1, (), after_step=print)) is None  # moves its masks
    (answer,) = together([cell.epoch(1, batches(1))])
    assert answer.done is False and answer.seconds == 0


@pytest.mark.parametrize(
    "other",
    [
        nn.Sequential(nn.Linear(4, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU()),
        nn.Sequential(nn.Flatten(2), nn.Linear(4, 3)),
        nn.Sequential(nn.Flatten(), *[layer := nn.Linear(4, 4), nn.ReLU(), layer]),
        Net(),
    ],
    ids=["no flatten", "no relu", "dropout", "tanh", "relu last", "flatten 2", "shared", "no chain"],
)
def test_other_networks_are_no_chains(other):
    assert linear_chain(other) is None


def test_a_hook_or_a_frozen_layer_makes_no_chain():
    hooked, frozen, followed, more, own = (chain() for _ in range(5))
    hooked[1].register_forward_hook(lambda *_: None)
    frozen[1].weight.requires_grad_(False)
    followed[1].weight.register_hook(lambda gradient: gradient / 2)
    more[1].unused = nn.Parameter(torch.ones(2))
    own[1].forward = lambda x: x
    assert [linear_chain(model) for model in (hooked, frozen, followed, more, own)] == [None] * 5
    assert linear_chain(nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 3))) is not None


def test_graphs_side_by_side_have_the_bits_of_those_alone(stand_in):  # noqa: F811
    several, alone = ([Cell(s, Net, lr=0.01 * s, graphs=True) for s in (1, 2, 3)] for _ in range(2))
    assert all(map(same, train(several, True, shape=(1, 8, 8)), train(alone, False, shape=(1, 8, 8))))
    assert all(cell.graphs.active for cell in several) and len(stand_in) == 2 * 3 * 2
    tests = [Evaluation(cell.model, batches(9, (1, 8, 8)), source=Source(0, "test", 5), graphs=cell.graphs) for cell in several]
    assert [answer.done for answer in together(tests)] == [True] * 3
    for cell, test in zip(alone, tests, strict=True):
        one = Evaluation(cell.model, batches(9, (1, 8, 8)), graphs=cell.graphs)
        one.alone()
        assert torch.equal(one.sums, test.sums) and one.images == test.images == 28


def test_an_error_ends_its_own_pass_alone(stand_in):  # noqa: F811
    good, bad = Cell(1, Net, graphs=True), Cell(2, Net, graphs=True)
    bad.model.head = nn.Linear(5, 3)
    answers = together([cell.epoch(1, batches(1, (1, 8, 8))) for cell in (bad, good)])
    assert isinstance(answers[0].done, RuntimeError) and answers[1].done is True


def test_what_a_step_prints_goes_where_its_cell_prints(stand_in):  # noqa: F811
    """Such as the NOTE on a network that cannot be captured."""

    def hook(*_):
        print(1)
        random.random()

    outputs, passes = [io.StringIO(), io.StringIO()], []
    for seed, output in enumerate(outputs):
        cell = Cell(seed, Net, graphs=True)
        if seed:
            cell.model.register_forward_hook(hook)
        with redirect_stdout(output):
            passes.append(cell.epoch(1, batches(1, (1, 8, 8))))
    assert all(answer.done is True for answer in together(passes))
    first, second = (output.getvalue() for output in outputs)
    assert not first and second.startswith("1\nNOTE: steps run without a CUDA graph") and second.count("1\n") == 6


def test_who_decodes_other_images_trains_apart():
    passes = []
    for seed, order in ((1, (1,)), (2, (2,)), (3, (1,))):
        cell = Cell(seed)
        source = Source(0, "train", 5, order, 28, decoded=True)
        passes.append(TrainingPass(cell.model, cell.optimizer, batches(order[0]), source=source))
    assert [answer.done for answer in together(passes)] == [True, False, True]


def test_batches_of_one_source_are_made_once():
    made = []

    def counted(seed):
        for batch in batches(seed):
            made.append(seed)
            yield batch

    for cell in (cells := [Cell(s) for s in (1, 2, 3)]):
        cell.passes = cell.epoch(1, counted(1))
    assert together([cell.passes for cell in cells])[0].done is True
    assert len(made) == 6
