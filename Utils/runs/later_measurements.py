"""What later experiments found out about a saved run: its times measured again, its networks without dead units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.runs.validate import check_result

COMPARED = ("dense", "masked", "compact")  # networks in `compact.json`


def measured_again(folder: Path) -> dict[str, Any]:
    """What `time.json` has in place of the summary's inference; a damaged one is named and left out."""
    file = folder / "time.json"
    if not file.exists():
        return {}
    try:
        times = read_json(file)
        if "total_seconds" not in times:
            raise Refused(f"{file}: no inference times")
        check_result({"inference": times}, str(file))
    except Refused as error:
        print(f"NOTE: {' '.join(str(error).split())}; the times of the run itself count")
        return {}
    return {"inference": times}


def compacted(folder: Path) -> dict[str, Any]:
    """What `compact.json` says of each network; a damaged one is named and left out."""
    file = folder / "compact.json"
    if not file.exists():
        return {}
    try:
        networks = read_json(file).get("networks")
        if not isinstance(networks, dict):
            raise Refused(f"{file}: no networks")
    except Refused as error:
        print(f"NOTE: {' '.join(str(error).split())}; --experiment compact writes it again")
        return {}
    return {name: networks[name] for name in COMPARED if isinstance(networks.get(name), dict)}
