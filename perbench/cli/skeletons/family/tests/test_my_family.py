import json
from pathlib import Path

from perbench.plugins import include
from perbench.prepare.prepare import Request, prepare

include(Path(__file__).parents[1])


def test_records_become_rows(tmp_path: Path) -> None:
    for split in ("train", "test"):
        records = [{"name": "ann", "days": ["Rain.", "Sun."]}, {"name": "ben", "days": []}]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    folder, _ = prepare(Request("my_family", tmp_path, tmp_path / "out"))
    (line,) = (folder / "days" / "test.jsonl").read_text("utf-8").splitlines()
    row = json.loads(line)
    assert (row["user"], row["history"], row["reference"]) == ("ann", ["Rain."], "Sun.")
