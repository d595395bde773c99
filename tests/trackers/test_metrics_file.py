import json
import math
from pathlib import Path

from anubhav.trackers.metrics_file import MetricsFile
from anubhav.types.tracking import Track, TrackRow

RUN = Track("ses_1:train:0", {"base_model": "tiny", "rank": 4})


def row(step: int, **metrics: float) -> TrackRow:
    return TrackRow(step, "Compute", 12.0, metrics)


def lines(file: MetricsFile) -> list[dict[str, object]]:
    text = (file.place(RUN.id) / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_a_row_and_what_it_is_beside_it(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path)
    assert (file.has(RUN.id), file.begin(RUN)) == (False, -1)
    file.append(RUN.id, [row(1, loss=2.5), row(3, loss=math.nan, time=7)])
    assert lines(file) == [
        {"step": 1, "kind": "Compute", "time": 12.0, "loss": 2.5},
        {"step": 3, "kind": "Compute", "time": 12.0, "loss": None},
    ]
    assert file.has(RUN.id)
    config = json.loads((tmp_path / "metrics" / "ses_1-train-0" / "config.json").read_text())
    assert config == {"id": "ses_1:train:0", "base_model": "tiny", "rank": 4}


def test_it_goes_on_behind_the_last_whole_line(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path)
    file.begin(RUN)
    file.append(RUN.id, [row(step, loss=1.0, words=step * 1.0) for step in range(300)])
    with (file.place(RUN.id) / "metrics.jsonl").open("a") as cut:
        cut.write('{"step": 300, "ki')
    assert MetricsFile(tmp_path).begin(RUN) == 299
    file.append(RUN.id, [row(300)])
    assert [line["step"] for line in lines(file)] == list(range(301))


def test_a_file_of_one_cut_line_begins_anew(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path)
    file.begin(RUN)
    (file.place(RUN.id) / "metrics.jsonl").write_text('{"st')
    assert file.begin(RUN) == -1
    assert lines(file) == []
