"""The network inside the dictionaries that training programs save: the keys around it, and the prefixes of its names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from Models.plain_tensors import as_tensor

# Keys under which training programs keep the weights; where several hold tensors, the first of this order is the network.
WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "net_state_dict", "network_state_dict", "module",
    "weights", "params", "parameters", "model_weights",
    "ema", "ema_state_dict", "model_ema", "state_dict_ema", "model_ema_state_dict", "params_ema", "ema_model", "swa", "swa_model",
    "shadow",
)  # fmt: skip
# Parts of the keys of a training's other state, which may have tensors too.
TRAINING = ("optim", "sched", "scaler", "loss", "criterion", "rng", "callback", "loop", "mask", "grad", "momentum", "hyper")
MASKS = ("masks", "mask", "mask_state_dict", "mask_dict")  # keys beside the network that hold its masks, name by name
PREFIXES = ("module.", "model.", "net.", "network.", "backbone.")  # left by DataParallel, Lightning and classes around a network
COMPILED = "_orig_mod."  # left by torch.compile, also inside a name
AVERAGED = "n_averaged"  # the counter of torch.optim.swa_utils.AveragedModel
DEEPEST = 6  # dictionaries inside one another


def find_network(content: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], dict[str, Any], list[str]]:
    """Find the dictionary of tensors that is the network.

    A dictionary under one of `WRAPPERS` goes before the tensors beside it, also inside one another. Without such a key, a
    dictionary with tensors of its own is the network; without tensors, the first dictionary under another key that has some,
    except for the state of optimizers and the like.

    Returns:
        The network, the other entries of the dictionaries around it, and a note for each choice between several.
    """
    beside: dict[str, Any] = {}
    notes: list[str] = []
    while keys := _inner_keys(content):
        key = keys[0]
        if len(keys) > 1:
            notes.append(f"it holds networks under {', '.join(keys)}: {key} is read, the first by the rule of docs/networks.md")
        beside |= {str(k): v for k, v in content.items() if k != key}
        content = content[key]
    return content, beside, notes


def _inner_keys(content: Mapping[Any, Any]) -> list[Any]:
    """Return the keys of dictionaries inside `content` that may be the network, the best first; none if `content` is it."""
    known = [key for key in WRAPPERS if key in content and _holds_tensors(content[key])]
    if known or _has_tensors(content):
        return known
    other = [key for key, value in content.items() if isinstance(key, str) and not _is_training(key) and _holds_tensors(value)]
    return other or [key for key in MASKS if _has_tensors(content.get(key))]


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(key, str) and as_tensor(part) is not None for key, part in value.items())


def _holds_tensors(value: Any, depth: int = DEEPEST) -> bool:
    """Tell whether a dictionary has tensors, or an inner one under a key of `WRAPPERS` has."""
    inner = (value[key] for key in WRAPPERS if key in value) if isinstance(value, Mapping) else ()
    return _has_tensors(value) or (depth > 0 and any(_holds_tensors(part, depth - 1) for part in inner))


def _is_training(key: str) -> bool:
    return any(word in key.lower() for word in TRAINING)


def bare_names(names: Iterable[str]) -> dict[str, str]:
    """Return each name without the prefixes of wrappers, in any order, as long as all names have them.

    `_orig_mod.` goes wherever it stands in a name. The counter of an averaged network, which stands outside of its `module.`,
    is left out.
    """
    found = {name: "".join(part for part in _parts(name) if part != COMPILED) for name in names}
    while True:
        inner = {name: bare for name, bare in found.items() if bare != AVERAGED}
        if inner and len(inner) < len(found) and all(bare.startswith("module.") for bare in inner.values()):
            found = inner
        prefix = next((p for p in PREFIXES if found and all(bare.startswith(p) for bare in found.values())), None)
        if prefix is None:
            return found
        found = {name: bare.removeprefix(prefix) for name, bare in found.items()}


def _parts(name: str) -> list[str]:
    """Split a name behind its dots, which stay."""
    parts = name.split(".")
    return [f"{part}." for part in parts[:-1]] + parts[-1:]


def names_in(own: Iterable[str], bare: Iterable[str]) -> dict[str, str]:
    """Return bare name -> the name that the network itself has for it; a name that the network lacks stays as it is.

    The names of a network may all begin with `model.` or another prefix, which `bare_names` has removed from the file's.
    """
    own = list(own)
    known, there = {short: name for name, short in bare_names(own).items()}, set(own)
    return {name: name if name in there else known.get(name, name) for name in bare}
