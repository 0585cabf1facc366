"""Regrowth, part by part: counts, budgets, places, values, gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import assert_same, snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Models import registry
from Models.masking import add_masks, apply_masks, hold_masks
from Utils.regrowth.allocation import KINDS, allocate, capacities, claims, even_parts, fraction_count
from Utils.regrowth.selection import Sources, mean_gradients, pruned_scores
from Utils.regrowth.turn_on import INITS, choose, regrow_


def published_alexnet():
    """The AlexNet of the source's section 8: 5 convolutions with bias, one linear layer."""
    convs = ((3, 64), (64, 192), (192, 384), (384, 256), (256, 256))
    return nn.Sequential(*(nn.Conv2d(i, o, 3) for i, o in convs), nn.Linear(1024, 10))


@pytest.mark.parametrize(("make", "total", "hundredth"), [
    (lambda: registry.build("vgg16", "lottery", (3, 32, 32), 10), 14_715_584, 147_155),
    (published_alexnet, 2_260_672, 22_606),
], ids=["vgg16", "alexnet"])  # fmt: skip
def test_counts_of_the_published_networks(make, total, hundredth):
    sizes = sum(p.mask.numel() for p in add_masks(make()))
    assert sizes == total and fraction_count(sizes, 0.01) == int(0.01 * sizes) == hundredth


def test_count_of_resnet20():
    """The published one has projections with 1x1 convolutions at the two changes of width, as the registry's has."""
    model = registry.build("resnet20", "lottery", (3, 32, 32), 10)
    sizes = sum(p.mask.numel() for p in add_masks(model))
    assert sizes == 270_896 and fraction_count(sizes, 0.01) == 2_708


CASES = st.lists(st.integers(0, 50), min_size=1, max_size=8)


@settings(max_examples=1000, deadline=None)
@given(caps=CASES, budget=st.integers(0, 500), kind=st.sampled_from(KINDS), data=st.data())
def test_an_allocation_is_exact_and_within_the_capacities(caps, budget, kind, data):
    names = {f"l{i}": c for i, c in enumerate(caps)}
    known = data.draw(st.lists(st.one_of(st.none(), st.floats(-1, 1)), min_size=len(caps), max_size=len(caps)))
    known[0] = 0.5 if all(k is None for k in known) else known[0]
    ratios = data.draw(st.lists(st.sampled_from([i / 10 for i in range(11)]), min_size=len(caps), max_size=len(caps)))
    found = allocate(kind, budget, names, ssim=dict(zip(names, known, strict=True)), ratios=ratios)
    assert list(found) == list(names) and sum(found.values()) == min(budget, sum(caps))
    assert all(0 <= found[n] <= names[n] for n in names)


def test_allocations_by_hand():
    assert allocate("uniform", 3, {"a": 10, "b": 10}) == {"a": 2, "b": 1}  # equal halves: the source overspends here, 2 + 2
    assert allocate("uniform", 9, {"a": 0, "b": 2, "c": 100}) == {"a": 0, "b": 2, "c": 7}
    assert allocate("proportional", 10, {"a": 30, "b": 70}) == {"a": 3, "b": 7}
    assert allocate("ssim", 10, {"a": 100, "b": 100}, {"a": 0.7, "b": 0.3}) == {"a": 3, "b": 7}
    assert allocate("ssim", 9, {"a": 100, "b": 100, "c": 100}, {"a": 0.8, "b": 0.2, "c": None}) == {"a": 1, "b": 5, "c": 3}
    assert allocate("greedy", 10, {"a": 4, "b": 4, "c": 4}, {"a": None, "b": 0.2, "c": 0.1}) == {"a": 2, "b": 4, "c": 4}
    assert allocate("rl", 10, {"a": 50, "b": 50}, ratios=[0.5, 1.0]) == {"a": 5, "b": 5}
    assert claims(10, [50, 50], [0.2, 0.5]) == [2, 4] and allocate("rl", 10, {"a": 50, "b": 50}, ratios=[0.2, 0.5]) == {"a": 3, "b": 7}
    assert allocate("rl", 4, {"a": 50, "b": 50}, ratios=[0.0, 0.0]) == {"a": 2, "b": 2}
    with pytest.raises(ValueError, match="choose from ssim"):
        allocate("magic", 1, {"a": 1})
    with pytest.raises(ValueError, match="no layer has an SSIM"):
        allocate("greedy", 1, {"a": 1}, {"a": None})
    assert even_parts(10, 3) == [4, 3, 3] and fraction_count(10, 0.3) == 3


def sparse_net(seed=0, density=0.3):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    prunables = add_masks(model)
    for p in prunables:
        p.mask.copy_((torch.rand(p.mask.shape) < density).float())
    apply_masks(prunables)
    return model, {p.module_name: p for p in prunables}


def batches(count=2, size=8):
    draws = torch.Generator().manual_seed(3)
    return [(torch.randn(size, 1, 6, 6, generator=draws), torch.randint(0, 3, (size,), generator=draws)) for _ in range(count)]


@pytest.mark.parametrize("init", INITS)
def test_regrowing_touches_nothing_alive_and_gains_what_was_allocated(init):
    states = []
    for _ in range(2):
        model, layers = sparse_net()
        before = {n: (p.weight.detach().clone(), p.mask.clone()) for n, p in layers.items()}
        others = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith(tuple(p.name for p in layers.values()))}
        source = {n: torch.full_like(p.weight, 7.0) for n, p in layers.items()}
        allocation = {"0": 5, "4": 40}
        scores = {n: torch.arange(p.weight.numel()).view_as(p.weight).float() for n, p in layers.items()}
        places = regrow_(layers, allocation, scores, init, source, seed=5)
        for name, p in layers.items():
            weight, mask = before[name]
            assert int(p.mask.sum() - mask.sum()) == allocation[name] == len(places[name])
            assert torch.equal(p.weight[mask > 0], weight[mask > 0]) and (p.mask[mask > 0] == 1).all()
            assert not (p.weight * (1 - p.mask)).any()
            largest = (mask.view(-1) == 0).nonzero().view(-1)[-allocation[name] :]
            assert torch.equal(places[name], largest)
            values = p.weight.detach().view(-1)[places[name]]
            if init == "kaiming":
                bound = (6 / (9 if name == "0" else 144)) ** 0.5
                assert values.abs().max() <= bound and len(values.unique()) > 1
            else:
                assert (values == {"zero": 0.0, "reference": 7.0, "original": 7.0}[init]).all()
        assert all(torch.equal(v, model.state_dict()[k]) for k, v in others.items())
        states.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_what_cannot_be_chosen():
    mask, scores = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros(4)
    assert choose(scores, mask, 2).tolist() == [1, 2]  # ties by position
    assert choose(torch.tensor([float("nan"), 1.0, 3.0, 2.0]), mask, 1).tolist() == [2]  # alive scores do not matter
    with pytest.raises(ValueError, match="3 are pruned"):
        choose(scores, mask, 4)
    with pytest.raises(ValueError, match="not a number"):
        choose(torch.tensor([0.0, float("nan"), 0.0, 0.0]), mask, 1)
    _, layers = sparse_net()
    with pytest.raises(ValueError, match="needs values"):
        regrow_(layers, {"0": 1}, {"0": torch.zeros(4, 1, 3, 3)}, "original")
    with pytest.raises(ValueError, match="choose from zero"):
        regrow_(layers, {"0": 1}, {"0": torch.zeros(4, 1, 3, 3)}, "ones")


def test_the_gradient_is_that_of_switching_a_pruned_weight_on():
    model, layers = sparse_net()
    model.double()
    data = [(x.double(), y) for x, y in batches()]
    state = snapshot(model)
    gradients = mean_gradients(model, layers, data)
    assert_same(state, snapshot(model))
    model.eval()
    loss = lambda: sum(nn.functional.cross_entropy(model(x), y) for x, y in data) / len(data)  # noqa: E731
    for name, p in layers.items():
        place = int((p.mask.view(-1) == 0).nonzero()[1])
        assert gradients[name].view(-1)[place] != 0
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                p.weight.view(-1)[place] = sign * 1e-5
                ends.append(loss())
            p.weight.view(-1)[place] = 0
        assert float(gradients[name].view(-1)[place]) == pytest.approx(float((ends[0] - ends[1]) / 2e-5), rel=1e-5, abs=1e-9)


def test_after_training_every_pruned_weight_is_zero():
    model, layers = sparse_net()
    regrow_(layers, {"0": 3, "4": 9}, {n: torch.rand_like(p.weight) for n, p in layers.items()}, "kaiming")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    hold_masks(optimizer, list(layers.values()))
    for x, y in batches(6):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    for p in layers.values():
        assert not p.weight[p.mask == 0].any() and p.weight[p.mask == 1].any()


def test_scores_of_each_selection():
    model, layers = sparse_net()
    dense = {n: torch.randn_like(p.weight) for n, p in layers.items()}
    data = batches()
    score = lambda kind, **more: pruned_scores(kind, model, layers, sources=Sources(**more), batches=data, seed=4)  # noqa: E731
    assert torch.equal(score("magnitude", original=dense)[0]["4"], dense["4"].abs())
    assert torch.equal(score("random")[0]["4"], score("random")[0]["4"])
    assert torch.equal(score("gradient")[0]["0"], mean_gradients(model, layers, data)["0"].abs())
    assert torch.equal(score("reference", dense=dense)[0]["0"], dense["0"].abs())
    masks = {n: (torch.rand_like(p.weight) < 0.5).float() for n, p in layers.items()}
    both = score("reference", dense=dense, reference={n: dense[n] * m for n, m in masks.items()}, reference_masks=masks)[0]["4"]
    assert both[masks["4"] > 0].min() >= 1 > both[masks["4"] == 0].max()  # those alive in the reference come first
    for part in (masks["4"] > 0, masks["4"] == 0):
        assert torch.equal(both[part].argsort(), dense["4"].abs()[part].argsort())
    for kind in ("magnitude", "reference"):
        with pytest.raises(ValueError, match=f"selection {kind} needs"):
            score(kind)
    with pytest.raises(ValueError, match="choose from reference"):
        score("luck")


def test_saliency_of_the_dense_network_and_its_fallbacks():
    model, layers = sparse_net()
    dense_model = copy.deepcopy(model)
    dense = {n: torch.randn_like(p.weight) for n, p in layers.items()}
    data = batches(3)
    scores, notes = pruned_scores("saliency", model, layers, sources=Sources(dense=dense), batches=data, dense_model=dense_model)
    with torch.no_grad():
        for name, p in layers.items():
            dense_model.get_submodule(name).weight.copy_(dense[name])
            assert p.weight is not dense_model.get_submodule(name).weight
    dense_model.eval()
    expected = 0.0
    for x, y in data:
        dense_model.zero_grad()
        nn.functional.cross_entropy(dense_model(x), y).backward()
        expected = expected + dense_model[4].weight.grad.square() / 3
    assert not notes and torch.allclose(scores["4"], expected * dense["4"].square(), rtol=1e-5)
    scores, notes = pruned_scores("saliency", model, layers, sources=Sources(original=dense), batches=data)
    assert len(notes) == 1 and "without a dense network" in notes[0] and scores["4"][layers["4"].mask == 0].any()
    scores, notes = pruned_scores("saliency", model, layers, sources=Sources(), batches=data)
    assert len(notes) == 2 and "|gradient|" in notes[1] and "0, 4" in notes[1]
    assert torch.equal(scores["4"], mean_gradients(model, layers, data)["4"].abs())


def test_capacity_counts_masks_not_zeros():
    _, layers = sparse_net()
    with torch.no_grad():
        layers["4"].weight.zero_()
    assert capacities(layers) == {n: int((p.mask == 0).sum()) for n, p in layers.items()}
