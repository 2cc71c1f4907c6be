"""The same random changes made by Partita and by plateau leave the same frames."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plateau_lake import Lake, same_frame

CITIES = ["Oslo", "São Paulo", "a=b%", "x y"]
COLUMNS = ["city", "paid", "id", "rider", "fare"]

rows = st.lists(
    st.tuples(
        st.sampled_from(CITIES),
        st.sampled_from(["no", "yes"]),
        st.integers(0, 5),
        st.one_of(st.none(), st.floats(-9, 9).map(lambda x: round(x, 2))),
    ),
    min_size=1,
    max_size=5,
)
scopes = st.fixed_dictionaries(
    {}, optional={"city": st.sampled_from(CITIES), "paid": st.sampled_from(["no", "yes"])}
).filter(bool)
steps = st.one_of(
    st.tuples(st.just("append"), rows),
    st.tuples(st.just("replace"), scopes, rows),
    st.tuples(st.just("delete"), scopes),
    st.tuples(st.just("index")),
    st.tuples(st.just("swap")),
)


class Pair:
    """One table of each library; `swap` lets each continue on the table of the other."""

    def __init__(self, root: Path) -> None:
        self.ours, self.theirs = "a", "b"
        self.lake = Lake(root)
        self.count = 0
        first = self.frame([("Oslo", "no", 0, 1.0)])
        layout = {"partition_by": ["city", "paid"], "index": "rider"}
        self.lake.create("a", first, **layout)
        self.lake.theirs_create(
            "b", first, partition_on=["city", "paid"], secondary_indices=["rider"]
        )

    def frame(self, tuples: list[tuple[str, str, int, float | None]]) -> pd.DataFrame:
        frame = pd.DataFrame(tuples, columns=["city", "paid", "rider", "fare"])
        frame["fare"] = frame["fare"].astype("float64")
        frame["id"] = range(self.count, self.count + len(frame))
        self.count += len(frame)
        return frame[COLUMNS]

    def play(self, step: tuple) -> None:
        ours = self.lake.open(self.ours)
        match step:
            case ("append", tuples):
                frame = self.frame(tuples)
                ours.append(frame)
                self.lake.theirs_update(self.theirs, frame)
            case ("replace", scope, tuples):
                frame = self.frame(tuples)
                ours.replace(frame, where=scope)
                self.lake.theirs_update(self.theirs, frame, delete_scope=[scope])
            case ("delete", scope):
                ours.delete(where=scope)
                self.lake.theirs_update(self.theirs, None, delete_scope=[scope])
            case ("index",):
                ours.build_index("rider")
            case ("swap",):
                self.ours, self.theirs = self.theirs, self.ours

    def check(self) -> None:
        frames = []
        for name in (self.ours, self.theirs):
            frames.append(self.lake.open(name).read()[COLUMNS])
            frames.append(self.lake.theirs_read(name)[COLUMNS])
        for other in frames[1:]:
            same_frame(frames[0], other)
        for rider in (0, 3):
            want = sorted(frames[0]["id"][frames[0]["rider"] == rider])
            for name in (self.ours, self.theirs):
                found = self.lake.open(name).read(where={"rider": rider})
                assert sorted(found["id"]) == want
                found = self.lake.theirs_read(name, [[("rider", "==", rider)]])
                assert sorted(found["id"]) == want


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(sequence=st.lists(steps, min_size=1, max_size=8))
def test_the_same_changes_leave_the_same_frames(sequence):
    with tempfile.TemporaryDirectory() as root:
        pair = Pair(Path(root) / "lake")
        for step in sequence:
            pair.play(step)
            pair.check()
        for name in (pair.ours, pair.theirs):
            assert pair.lake.open(name).verify(data=True) == []
