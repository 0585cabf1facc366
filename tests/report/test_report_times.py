"""Times in reports: ratios of calls that took turns, load averages, and no comparison of seconds where equal work disagrees."""

from __future__ import annotations

import pytest
from reports import collection, made

from Utils.report import findings
from Utils.report.groups import groups
from Utils.report.missing import missing
from Utils.report.sections.inference import inference
from Utils.report.sections.precision import mixed_precision, single_of
from Utils.report.times import geometric_mean, inference_ratio, load_of, training_apart

MIXED = "mixed: bfloat16 and float32"


def timed(own, dense, ratio=None, **more):
    """The inference times of a run: seconds of the network and of its dense one."""
    found = {"total_seconds": own, "dense_total_seconds": dense, "device": "cpu", "batch_size": 256, "repeats": 30, "precision": "float32"}
    found |= {"batch_seconds": {"median": own / 10}, "dense_batch_seconds": {"median": dense / 10}}
    return {"inference": found | ({"ratio": dict(zip(("median", "q1", "q3"), ratio, strict=True))} if ratio else {}) | more}


def paired(train, test, **more):
    def part(ratio, size):
        return {"ratio": dict(zip(("median", "q1", "q3"), ratio, strict=True)), "pairs": 30, "batch_size": size,
                "full_seconds": {"median": 0.004}, "mixed_seconds": {"median": 0.004 * ratio[0]}}  # fmt: skip

    return {"precision_pairs": {"full": "float32", "mixed": MIXED, "train": part(train, 64), "inference": part(test, 256), "device": "cpu"} | more,
            "precision": MIXED}  # fmt: skip


def captions(section):
    return [block.caption for block in section.blocks if hasattr(block, "caption")]


def lines(section):
    return [line for block in section.blocks for line in getattr(block, "lines", ())]


def test_inference_is_told_as_the_ratio_to_the_dense_network_beside_it():
    """SNIP's cell ran while the machine was free, the dense one's while it was not: its seconds are a fifth, its ratio is 1."""
    slow, fast = timed(5.0, 5.1, (0.98, 0.9, 1.1)), timed(1.0, 1.0, (1.02, 0.95, 1.05))
    (group,) = groups(collection(made("dense", 0.0, summary=slow), made("snip", summary=fast)))
    ratios, _, seconds, said = inference([group]).blocks
    assert ratios.name.startswith("inference-ratio") and seconds.name.startswith("inference-default")
    assert ratios.text["snip"].tolist() == ["0.98 (0.90\u00a0to\u00a01.10)", "1.02 (0.95\u00a0to\u00a01.05)"]
    assert ratios.data[["pruner", "q1", "q3"]].to_numpy().tolist() == [["dense", 0.9, 1.1], ["snip", 0.95, 1.05]]
    assert seconds.text["snip"].tolist() == ["5.0000", "1.0000"] and "compare only as far as" in seconds.caption
    near, apart = said.lines
    assert near == ("Each network beside its own dense network, in turn: between 0.980 and 1.020 times as long (quartiles of single pairs from "
                    "0.900 to 1.100). All have the same dense kernels, so that the distance from 1 is the measurement's noise.")  # fmt: skip
    assert apart == ("Seconds of different runs are not compared here. Equal work took unequal time: 2 passes of the dense network over the "
                     "test set, one beside each run, took between 1 and 5.1 s, 5.10 times as long. The machine was not equally free.")  # fmt: skip
    (steady,) = groups(collection(made("dense", 0.0, summary=fast), made("snip", summary=timed(1.2, 1.19, (1.0, 0.9, 1.1)))))
    assert len(findings.inference(steady)) == 1


def test_runs_of_an_earlier_version_have_the_ratio_of_their_two_medians():
    assert inference_ratio(timed(2.0, 4.0)) == {"median": 0.5, "q1": None, "q3": None}
    assert inference_ratio({"inference": {"total_seconds": 1.0}})["median"] is None is inference_ratio({})["median"]
    (group,) = groups(collection(made("snip", summary=timed(2.0, 4.0)), made("mag", summary=timed(3.0, 3.0))))
    assert inference([group]).blocks[0].text.to_dict("records")[1] == {"compression": "1", "density": "10\u00a0%", "mag": "1.00", "snip": "0.50"}
    assert "quartiles" not in findings.inference(group)[0]


def test_a_network_without_dead_units_is_no_noise():
    (group,) = groups(collection(made("snip", compact=True, summary=timed(1.0, 2.0, (0.5, 0.4, 0.6)))))
    assert findings.inference(group) == ["Each network beside its own dense network, in turn: 0.500 times as long "
                                         "(quartiles of single pairs from 0.400 to 0.600); dead units were cut out."]  # fmt: skip


@pytest.mark.parametrize("how", [{"quantization": True}, {"precision": "bf16"}, {"computed_in": MIXED}])
def test_mixed_precision_shows_paired_ratios_and_compares_no_seconds(how):
    """The run in float32 took 4 times as long, under other load; the pairs say 0.61."""
    runs = [made("rand", summary={"seconds": {"post_train": 8.0}}), made("mag", summary={"seconds": {"post_train": 2.0}}),
            made("rand", summary=paired((0.61, 0.59, 0.64), (1.0, 0.9, 1.2)), **how)]  # fmt: skip
    tables = groups(collection(*runs))
    assert [bool(table.key["quantization"]) for table in tables] == [False, True] and single_of(tables[1], tables) is tables[0]
    (table, said) = mixed_precision(tables).blocks
    assert table.text.to_dict("records") == [
        {"method": "rand", "compression": "1", "training step, mixed over full": "0.61 (0.59\u00a0to\u00a00.64)",
         "inference, mixed over full": "1.00 (0.90\u00a0to\u00a01.20)", "step (ms), mixed and full": "2.440 and 4.000",
         "inference (ms), mixed and full": "4.000 and 4.000", "peak memory (MB), with and without": "3.0 and 3.0",
         "training time (s), with and without": "2.0 and 8.0", "n": "1 and 1"}
    ]  # fmt: skip
    assert said.lines == [
        "In mixed precision a training step takes 0.61 times as long as in full precision, measured in turn; the quartiles of the pairs lie below 1.",
        "In mixed precision inference takes 1.00 times as long as in full precision, measured in turn; the quartiles of the pairs lie on both "
        "sides of 1, so that no difference can be told.",
        "With mixed precision the peak memory of training is 1.00 times that without (geometric mean of 1 pair of runs).",
        "Seconds of different runs are not compared here. Equal work took unequal time: 2 trainings of one network, of as many epochs in one "
        "precision, took between 2 and 8 s, 4.00 times as long. The machine was not equally free.",
    ]  # fmt: skip
    assert f"({MIXED} beside float32; cpu)" in table.caption and "medians, with quartiles, of 30 pairs of calls" in table.caption


def test_pairs_of_a_run_in_full_precision_are_shown_alone():
    """After `--experiment time --compare-precision`."""
    found = paired((2.0, 1.5, 2.5), (0.5, 0.4, 0.6)) | {"precision": "float32"}
    table, said = mixed_precision(groups(collection(made("snip", summary=found), made("snip", 2, summary=found), made("mag")))).blocks
    assert [*table.text["compression"]] == ["1", "2"] and set(table.text["peak memory (MB), with and without"]) == {"not measured and 3.0"}
    assert said.lines[0].endswith("(geometric mean of 2 networks); the quartiles of the pairs lie above 1 for 2.")
    many = findings.precision([{"train_ratio": r, "train_q1": r - 0.1, "train_q3": r + 0.1} for r in (0.5, 1.0, 2.0)])
    assert many == ["In mixed precision a training step takes 1.00 times as long as in full precision, measured in turn (geometric mean of 3 "
                    "networks); the quartiles of the pairs lie below 1 for 1, above 1 for 1, on both sides of 1 for 1, so that no difference "
                    "can be told there."]  # fmt: skip


def test_only_equal_trainings_are_held_against_each_other():
    fast, slow = {"seconds": {"post_train": 1.0}}, {"seconds": {"post_train": 1.21}}
    assert len(training_apart([made("snip", summary=fast), made("mag", summary=slow)])) == 1
    assert training_apart([made("snip", summary=fast), made("mag", summary={"seconds": {"post_train": 1.2}})]) == []
    for change in ({"post_epochs": 99}, {"train_batch_size": 9}, {"compact": True}, {"device": "cuda"}, {"summary": slow | {"precision": "tf32"}}):
        assert training_apart([made("snip", summary=fast), made("mag", **({"summary": slow} | change))]) == [], change


def test_load_averages_stand_where_times_are_shown():
    run = made("snip", summary=timed(1.0, 1.0, (1.0, 0.9, 1.1), load={"start": 2.5, "end": None}) | {"load": {"start": 0.25, "end": 1.5}},
               machine={"cores": 2})  # fmt: skip
    assert load_of([run]) == "Load average when they began and ended: 0.25 to 1.50 on 2 cores." and load_of([made("snip")]) == ""
    assert all("0.25 to 2.50 on 2 cores" in caption for caption in captions(inference(groups(collection(run)))))


def test_a_run_in_mixed_precision_without_pairs_has_a_command_that_measures_them(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "model.pt").touch()
    run = made("snip", precision="bf16", folder=str(tmp_path / "x"))
    found = [item.command for item in missing(collection(run), groups(collection(run)), []) if "in turn" in item.what]
    assert found == [f"python main.py --experiment time --compare-precision --run {tmp_path / 'x'}"]


def test_a_ratio_and_its_inverse_cancel():
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0) and geometric_mean([4.0, 1.0]) == pytest.approx(2.0)
