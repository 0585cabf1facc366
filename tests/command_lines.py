"""Random command lines over every option: valid and invalid values, on small networks and made-up images."""

from __future__ import annotations

from hypothesis import strategies as st

from Utils.options.experiments import EXPERIMENTS
from Utils.options.option import Option
from Utils.options.table import table

ODD = ("nan", "-1", "1e400", "", "x", "a\0b", "0", "9" * 20, "../x", "inf", "1.5", "=cmd", "x" * 300, "\x1b[1m", "-")
REGROW = ("regrow", "regrow-layers", "regrow-bench")
NEEDED = {
    "multishot": ["--level-list", "1"], "trace": ["--trace=trace.json"], "assignment": ["--preset=tiny.toml"],
    **{key: ["--run", "run"] for key in ("evaluate", "time", "compact", "histogram", "report", "status", "saliency")},
    **{key: ["--run", "run", "--regrow-fraction=0.05", "--regrow-ssim-batches=1", "--val-fraction=0.2"] for key in REGROW},
    "inspect": ["--checkpoint=run/model.pt"],
}  # fmt: skip
VALUES = {
    "dataset": ("synthetic:1x8x8:3:60", "synthetic:3x8x8:2:9", "synthetic:1x1x1:3:60", "synthetic:2x7x5:2:30", "folder:images/odd", "folder:images/cut"),
    "data_dir": ("folder", "none"), "data_mirror": ("file:///nowhere",), "image_size": ("1", "5", "9"), "workers": ("0", "3"),
    "model": ("fc", "conv", "resnet20", "net.py:flat", "net.py:nan", "net.py:fails_in_training", "net.py:frozen"),
    "weights": ("plain.pt", "evil.pt", "run/model.pt", "none.pt", "folder"),
    "lr": ("0.1", "1e30"), "lr_drops": ("1",), "lr_drop_rate": ("0.5",), "lr_warmup": ("1",), "weight_decay": ("0", "0.1", "1e30"),
    "val_fraction": ("0", "0.2"), "compression": ("0", "0.5", "2", "9"), "density": ("1", "0.3", "1e-9"),
    "sparsity": ("0", "0.7"), "prune_amount": ("0.2", "0.9"), "update_end_fraction": ("0.5",), "drop_fraction": ("0.5", "1"),
    "set": ("post-epochs=2", "compression=1", "for=rand:lr=0.1", "for=rand@compression=0.5:shuffle", "lr=x"),
    "for": ("rand@compression=0.5,seed=1:lr=0.1", "mag@model=fc:shuffle", "rand:lr=0.1", "mag:compression=1", "dense:shuffle=true", "snip:lr=x", "synflow:prune-epochs=2"),
    "slurm_option": ("account=vision",), "slurm_memory": ("1GB",), "slurm_partition": ("gpu",), "trace": ("trace.json", "deep.json", "folder"),
    "run": ("run", "runs/evil", "runs/foreign", "none"), "layer": ("1", "all", "nothing"), "preset": ("tiny.toml", "value.toml"),
    "layer_compression": ("0.5",), "expid": ("name", "NAME", "Ähnlich"), "result_dir": ("results", "plain.txt"), "scale": ("0.5",),
    "model_list": ("fc", "conv", "nothing"), "compression_list": ("0.5", "1"), "density_list": ("0.5", "1"), "sparsity_list": ("0.5", "0"),
    "checkpoint": ("run/model.pt", "evil.pt", "plain.pt", "list.pt", "empty.pt", "folder"), "regrow_to": ("0.5", "0"),
    "regrow_fraction": ("0.01", "0.3"), "regrow_dense": ("run", "run/dense.pt", "evil.pt"), "regrow_reference": ("run", "evil.pt"),
    "regrow_layers": ("1", "all", "nothing"), "regrow_replay": ("evil.pt", "run/model.pt"), "saliency_percentile": ("50", "99"),
    "jobs": ("1",), "step": ("3", "4"), "lr_schedule": ("cosine", "steps"),
}  # fmt: skip
COUNTS = ("1", "2")  # of what else is a number


def value_of(option: Option) -> st.SearchStrategy[str]:
    """A value for `option`, four times in five one that it has a meaning for."""
    good = st.sampled_from(option.choices or VALUES.get(option.name, COUNTS))
    return st.integers(0, 4).flatmap(lambda n: st.sampled_from(ODD) if n == 0 else good)


@st.composite
def words_of(draw: st.DrawFn, option: Option) -> list[str]:
    """The flag and what follows it."""
    if option.parse is None:
        opposite = "--" + option.flag[5:] if option.flag.startswith("--no-") else "--no-" + option.flag[2:]
        return draw(st.sampled_from([[option.flag], [option.flag, "True"], [f"{option.flag}=False"], [opposite], [option.flag, "maybe"]]))
    if option.nargs:
        return [option.flag, *draw(st.lists(value_of(option), min_size=0 if option.nargs == "*" else 1, max_size=2))]
    return [f"{option.flag}={draw(value_of(option))}"]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command line; most of its options are read by its experiment."""
    experiment = draw(st.sampled_from([*EXPERIMENTS, *["singleshot"] * 6, *["multishot", "prune"] * 2]))
    reads = EXPERIMENTS[experiment].reads
    words = [f"--experiment={experiment}", *NEEDED.get(experiment, [])]
    words += ["--dataset=synthetic:1x8x8:3:60"] * ("dataset" in reads and "run" not in reads) + ["--no-download"] * ("data" in reads)
    words += ["--prune-epochs=2"] * ("prune" in reads) + ["--regrow-finetune-epochs=1"] * ("regrow choice" in reads)
    words += ["--post-epochs=1"] * ("epochs" in reads) + ["--regrow-mini-epochs=0"] * ("regrow mini" in reads)
    own = [o for o in table() if o.part in reads]
    for _ in range(draw(st.integers(0, 6))):
        stray = draw(st.integers(0, 19)) == 0
        words += draw(words_of(draw(st.sampled_from(table() if stray else own))))
    return words
