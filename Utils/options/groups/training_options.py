"""The options of training and testing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from Utils.options.flags import COUNT, POSITIVE, number
from Utils.options.option import Use, option
from Utils.options.parts import Affects

TRAINED = Use("runs that train", lambda o: not o.reads("epochs") or o.pre_epochs or o.post_epochs)
DROPPED = Use("runs with --lr-drops", lambda o: o.lr_drops)
SAVED = Use("runs that are saved", lambda o: not o.no_save)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class TrainingOptions:
    """The options of training and testing."""

    optimizer: str = option(
        "train",
        "momentum is SGD with Nesterov momentum 0.9",
        "adam",
        choices=("sgd", "momentum", "adam", "adamw", "rms"),
        paces=True,
        step_time=True,
        use=TRAINED,
    )
    train_batch_size: int = option("train", "images per training step", 64, POSITIVE, paces=True, step_time=True)
    test_batch_size: int = option(
        "test", "images per evaluation step", 256, POSITIVE, affects=Affects.TRAINING & ~Affects.RESULT, step_time=True
    )
    pre_epochs: int = option("dense", "epochs of dense training before pruning", 0, COUNT, paces=True, common=True)
    post_epochs: int = option("epochs", "epochs of training after pruning", 10, COUNT, paces=True, common=True)
    lr: float = option("train", "learning rate", 0.001, number(above=0), paces=True, use=TRAINED)
    lr_drops: Sequence[int] = option(
        "train", "epochs after which the learning rate drops, in each phase", (), POSITIVE, nargs="*", use=TRAINED
    )
    lr_drop_rate: float = option("train", "factor of a drop", 0.1, number(above=0), use=DROPPED)
    lr_schedule: str = option(
        "train", "drop at --lr-drops, or fall to 0 in each phase", "steps", choices=("steps", "cosine"), use=TRAINED
    )
    lr_warmup: int = option("train", "epochs at the start of each phase in which the learning rate rises", 0, COUNT, use=TRAINED)
    weight_decay: float = option(
        "train", "L2 penalty; of adamw a decay beside the gradient, if not given 0.01", 0.0, number(0), paces=True, use=TRAINED
    )
    quantization: bool = option(
        "train",
        "mixed precision in training and evaluation: bfloat16, on older GPUs float16; weights stay float32",
        False,
        None,
        paces=True,
        step_time=True,
    )
    precision: str | None = option(
        "train",
        "precision of training and evaluation; default: tf32 on a GPU, float32 on a CPU",
        None,
        choices=("float32", "tf32", "bf16"),
        affects=Affects.NAME | Affects.RESULT,
        paces=True,
        step_time=True,
        late=True,
    )
    no_graph: bool = option(
        "train",
        "on a GPU, start each kernel of a step by itself instead of replaying a CUDA graph: the same numbers, slower",
        False,
        None,
        affects=Affects.NOTHING,
        late=True,
    )
    compile: bool = option(
        "compile",
        "compile the network for training and evaluation by torch.compile: quicker steps, other last digits",
        False,
        None,
        paces=True,
        step_time=True,
        late=True,
    )
    val_fraction: float = option(
        "held out", "share of the training images that is held out and tested after each epoch", 0.0, number(0, below=1)
    )
    patience: int | None = option(
        "validation",
        "epochs without a better validation accuracy after which a phase of training ends; its best state is kept then",
        None,
        POSITIVE,
    )
    compact: bool = option(
        "compact", "train the pruned network without its dead units: the same function, in smaller layers", False, None
    )
    save_trace: bool = option(
        "profile",
        "profile one inference step after training, into trace.json",
        False,
        None,
        affects=Affects.NAME | Affects.RIVALS,
    )
    checkpoint_every: int | None = option(
        "checkpoints",
        "epochs between checkpoints, 0 for none; default: each of 2 s or more, and whenever 10 s have passed",
        None,
        COUNT,
        use=SAVED,
    )
    tensorboard: bool = option(
        "dense", "while training, write what TensorBoard shows into the run's folder", False, None, affects=Affects.NOTHING
    )
