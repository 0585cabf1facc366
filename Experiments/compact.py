"""Compact: write saved runs' networks without their dead units, check that they predict the same, and measure both."""

from __future__ import annotations

import copy
import importlib.metadata
import math
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from Models.compact import Compact
from Models.masking import apply_masks, remove_masks
from Models.shapes import eval_mode
from Utils.base.errors import Refused, RunFailed, out_of_memory
from Utils.base.text import one_line, shown
from Utils.compact.comparison import LARGE, Agreement, agreement, kept_units, latencies, sizes, state_file
from Utils.compact.export import Exported, export, has_onnx
from Utils.compact.trained import compacted
from Utils.compute.environment import environment
from Utils.grid.grid_table import update_cell
from Utils.options.types import Options
from Utils.runs.later_measurements import Annex
from Utils.runs.reopen import reopen
from Utils.runs.saved import MODEL, failures, named_networks
from Utils.training.masked_network import MaskedNetwork, build_dense

EXPERIMENT = {
    "summary": "write saved runs' networks without their dead units, also as .pt2 and .onnx, and measure them: --run FOLDER ...",
    "reads": ("saved networks",),
    "writes": ("compact.{pt,pt2,onnx,csv,json}",),
    "into_runs": True,
    "kind": "saved runs",
}

STEM = "compact"
STEPS = ("cutting", "comparing", "exporting", "measuring", "writing")
SHOWN = 3  # names in the last line


def run(options: Options) -> None:
    """Write `compact.pt`, `.pt2`, `.onnx`, `.csv` and `.json` into each `--run FOLDER`.

    A grid's folder stands for all its cells. All other files in the folders stay unchanged, so that they remain finished runs;
    the row of a cell in `grid.csv` gets the new numbers at once. If a run fails, its name is printed, and the others continue.

    Raises:
        Refused: no folder holds a saved network, or none of those that do can be read; no file was written.
        RunFailed: the network of some run is constant, cannot be cut, or predicts something else without its dead units.
    """
    folders = named_networks(options.run)
    if not has_onnx():
        print("NOTE: no compact.onnx without its packages: pip install -r requirements-onnx.txt")
    errors = failures(folders, lambda folder: _compact(folder, options), lambda _, error: _failure(error, options))
    if errors:
        _give_up(errors, len(folders))


def _failure(error: Exception, options: Options) -> Exception:
    """Return the reason why a run has no compact network; a user's own network may raise anything."""
    if options.verbose:
        traceback.print_exception(error)
    text = one_line(str(error))
    if isinstance(error, Refused | RunFailed):
        return (Refused if isinstance(error, Refused) else RunFailed)(text)
    if out_of_memory(error):
        return RunFailed(f"out of memory with --test-batch-size {options.test_batch_size}, or with {LARGE} images to measure")
    return RunFailed(f"{type(error).__name__}: {text}")


def _give_up(errors: Mapping[Path, Exception], runs: int) -> None:
    """Raise the error of the only run, or the number of failed ones."""
    kind = Refused if len(errors) == runs and all(isinstance(e, Refused) for e in errors.values()) else RunFailed
    if runs == 1:
        ((folder, error),) = errors.items()
        raise kind(str(error) if kind is Refused else f"{folder}: {error}") from error
    names = ", ".join(str(folder) for folder in list(errors)[:SHOWN]) + ", ..." * (len(errors) > SHOWN)
    raise kind(f"{len(errors)} of {runs} runs have no compact network: {names}")


def _compact(folder: Path, options: Options) -> None:
    annex = Annex(folder, STEM)
    run = reopen(folder, options)
    apply_masks(run.prunables)
    with tqdm(total=len(STEPS), desc=folder.name, unit="step", leave=False, disable=None) as bar:

        def step(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update(STEPS.index(name) - bar.n)

        step("cutting")
        small = compacted(run.model, run.prunables, run.data)
        step("comparing")
        found = agreement(run.model, small.model, run.data, options.test_batch_size)
        _check(found)
        step("exporting")
        images = next(run.data.test_batches(LARGE))[0]
        plain = _plain(small)
        exported = export(plain, images[:3].cpu(), has_onnx())
        step("measuring")
        rows, repeats = _measure(run, small, plain, folder, images)
        step("writing")
        files = {f"{STEM}.pt": state_file(plain), f"{STEM}.pt2": exported.pt2, f"{STEM}.onnx": exported.onnx}
        with annex:
            _write(annex, {name: content for name, content in files.items() if content is not None}, rows)
            report = _report(run, small, found, exported) | {"networks": rows, "repeats": repeats}
            annex.finish(report)
        for name, row in rows.items():
            update_cell(folder, name, row)
    _print(folder, report, [name for name, content in files.items() if content is not None])


def _check(found: Agreement) -> None:
    """Raise `RunFailed` if the two networks predict differently."""
    if not math.isfinite(found.largest_difference):
        raise RunFailed("the network's outputs for the test images are not all finite")
    if found.differing:
        raise RunFailed(
            f"the compact network predicts another class for {found.differing} of {found.images} test images (outputs differ by "
            f"up to {found.largest_difference:.1e}): nothing was written"
        )


def _plain(small: Compact) -> nn.Module:
    """Return the compact network for release: on the CPU, in eval mode, without its masks, without trainable parameters."""
    model = copy.deepcopy(small.model).cpu().eval().requires_grad_(False)
    remove_masks(model, small.prunables)
    return model


def _measure(
    run: MaskedNetwork, small: Compact, plain: nn.Module, folder: Path, images: torch.Tensor
) -> tuple[dict[str, dict[str, Any]], dict[int, int]]:
    """Return a row for each of the dense, the masked and the compact network, and the number of timings by batch size."""
    dense = build_dense(run.options, run.data, run.device)
    shape = run.data.input_shape
    rows: dict[str, dict[str, Any]] = {
        "dense": sizes(dense, shape),
        "masked": sizes(run.model, shape) | {"file_bytes": (folder / MODEL).stat().st_size},
        "compact": sizes(plain, shape),
    }
    networks, repeats = {"dense": dense, "masked": run.model, "compact": small.model}, {}
    with eval_mode(dense), eval_mode(run.model), eval_mode(small.model):
        for count in sorted({1, len(images)}):
            seconds, repeats[count] = latencies(networks, images[:count])
            for name, quartiles in seconds.items():
                rows[name][f"batch{count}_seconds"] = quartiles
    return rows, repeats


def _write(annex: Annex, files: Mapping[str, bytes], rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the networks and the table."""
    for name, content in files.items():
        annex.write_file(name, lambda file, content=content: file.write_bytes(content))
    table = pd.json_normalize([{"network": name} | row for name, row in rows.items()], sep="_")
    annex.write_table(f"{STEM}.csv", table)


def _report(run: MaskedNetwork, small: Compact, found: Agreement, exported: Exported) -> dict[str, Any]:
    """Return the content of `compact.json` besides the table."""
    made = environment(run.device)
    versions = {p: importlib.metadata.version(p) for p in ("torch-pruning", *(("onnx", "onnxscript") if has_onnx() else ()))}
    return asdict(found) | {
        "top1": dict(zip(("masked", "compact"), found.top1, strict=True)),
        "units": kept_units(run.model, small.model),
        "any_batch": exported.any_batch,
        "notes": exported.notes,
        "precision": "float32",
        "threads": torch.get_num_threads(),
        **made,
        "versions": made["versions"] | versions,
    }


def _print(folder: Path, report: Mapping[str, Any], files: list[str]) -> None:
    ties = f" ({report['ties']} ties within rounding)" if report["ties"] else ""
    top1, units, repeats = report["top1"], report["units"].values(), report["repeats"]
    print(shown(folder))
    print(
        f"All {report['images']} test images: the same predictions{ties}, top-1 {top1['masked']:.2f} % masked and "
        f"{top1['compact']:.2f} % compact; outputs of up to {report['largest_output']:.4g} differ by up to "
        f"{report['largest_difference']:.2g}."
    )
    print(f"Units: {sum(kept for kept, _ in units)} of {sum(whole for _, whole in units)} kept, {len(units)} layers.")
    rows = []
    for name, row in report["networks"].items():
        sizes_of = {"network": name, "parameters": row["parameters"], "file bytes": row["file_bytes"], "MACs": row["macs"]}
        rows.append(sizes_of | {f"batch {n} (ms)": f"{1e3 * row[f'batch{n}_seconds']['median']:.3f}" for n in repeats})
    print(pd.DataFrame(rows).to_string(index=False))
    counts = " and ".join(str(n) for n in repeats.values())
    print(f"Latency: median of {counts} calls in turn, {report['device']}, {report['precision']}; MACs: dense, for one image.")
    if LARGE not in repeats:
        print(f"NOTE: a batch of {max(repeats)} instead of {LARGE}: there are no more test images")
    for note in report["notes"]:
        print(f"NOTE: {note}")
    print(f"Files: {', '.join((*files, f'{STEM}.csv', f'{STEM}.json'))}")
