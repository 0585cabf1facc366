"""Lists of values that span a grid, and `--for`, which sets options of one pruner."""

from __future__ import annotations

from bad_inputs.common import T

LISTS = [
    ("--seed-list", 2, "--seed-list", "at least one"),
    ("--seed-list 1 1", 2, "--seed-list", "1 twice"),
    ("--seed-list 1 01", 2, "--seed-list", "1 twice"),
    ("--seed-list 1 x", 2, "--seed-list", "'x'"),
    ("--seed-list 1,2", 2, "--seed-list", "'1,2'"),
    ("--seed-list 1 --seed 2", 2, "--seed-list", "--seed exclude"),
    ("--pruner-list rand --pruner mag", 2, "--pruner-list", "--pruner exclude"),
    ("--pruner-list", 2, "--pruner-list", "at least one"),
    ("--pruner-list rand nonsense", 2, "nonsense", "synflow"),
    ("--pruner-list rand,snip", 2, "rand,snip", "synflow"),
    ("--compression-list 1 2 --density 0.1", 2, "--compression-list", "--density"),
    ("--compression-list 1 --sparsity-list 0.1", 2, "--compression-list", "--sparsity-list"),
    ("--compression-list 1 nan", 2, "--compression-list", "'nan'"),
    ("--compression-list 1 1.0000000000001", 2, "too close"),
    ("--density-list 0.1 0", 2, "--density-list", "'0'"),
    ("--prune-epoch-list 1 0", 2, "--prune-epoch-list", "'0'"),
    ("--prune-epoch-list 1 2 --prune-epochs 3", 2, "--prune-epoch-list", "--prune-epochs"),
    ("--model-list fc nothing", 2, "model=nothing", "vgg16"),
    (f"{T} --model-list fc FC", 2, "FC", "fc"),
    (f"{T} --compression-list 1 30", 2, "compression=30", "keeps none"),
    ("--ablate twist", 2, "twist", "reinit"),
    ("--ablate shuffle --shuffle", 2, "--ablate", "--shuffle"),
    ("--ablate none none", 2, "--ablate", "none twice"),
]

FOR = [
    ("--pruner-list rand --for rand", 2, "'rand'", "PRUNER:OPTION=VALUE"),
    ("--pruner-list rand --for rand:lr", 2, "'rand:lr'", "PRUNER:OPTION=VALUE"),
    ("--pruner-list rand --for :lr=1", 2, "':lr=1'", "PRUNER:OPTION=VALUE"),
    ("--pruner-list rand --for", 2, "--for", "at least one"),
    ("--pruner-list rand mag --for snip:lr=1", 2, "--for snip:lr=1", "rand, mag, dense"),
    ("--pruner-list rand --for rand:lr=-1", 2, "--for rand:lr=-1", "above 0"),
    ("--pruner-list rand --for rand:lr=", 2, "--for rand:lr=", "''"),
    ("--pruner-list rand --for rand:optimizer=lion", 2, "lion", "adam"),
    ("--pruner-list rand --for rand:shuffle=perhaps", 2, "perhaps", "True, False"),
    ("--pruner-list rand --for rand:seed=1", 2, "--for rand:seed=1", "choose from"),
    ("--pruner-list rand --for rand:expid=../x", 2, "--for rand:expid", "choose from"),
    ("--pruner-list rand --for rand:lr=1 rand:lr=2", 2, "lr", "twice"),
    ("--pruner-list rand --compression-list 1 --for rand:density=0.1", 2, "--compression-list"),
    ("--pruner-list rand --for rand:density=0.1 rand:sparsity=0.9", 2, "density", "sparsity"),
    ("--pruner-list rand --for rand:lr-drops=5,x", 2, "lr-drops", "'x'"),
    ("--pruner-list snip --ablate none reinit --for snip:shuffle=true", 2, "--for snip:shuffle=true", "--ablate"),
    ("--for mag:lr=1", 2, "--for mag:lr=1", "rand"),
]
