"""The programs of plateau's guides, run with only their import lines changed."""

from __future__ import annotations

import warnings
from tempfile import TemporaryDirectory
from typing import Any

import dask
import pandas as pd
import pytest

from plateau_pair import BOTH, same

GETTING_STARTED = """
import numpy as np
import pandas as pd
from functools import partial
from minimalkv import get_store_from_url
from plateau.api.dataset import (
    read_dataset_as_dataframes__iterator,
    read_table,
    store_dataframes_as_dataset,
)
from plateau.api.dataset import read_dataset_as_dataframes
from plateau.core.factory import DatasetFactory

def ride(fare, day, kinds, note):
    return pd.DataFrame({
        "A": fare,
        "B": pd.Timestamp(day),
        "C": pd.Series(1, index=list(range(4)), dtype="float32"),
        "D": np.array([3] * 4, dtype="int32"),
        "E": pd.Categorical(kinds),
        "F": note,
    })

df = ride(1.0, "20130102", ["test", "train", "test", "prod"], "foo")
another_df = ride(5.0, "20110102", ["prod", "train", "test", "train"], "bar")
dm = store_dataframes_as_dataset(store_url, "a_unique_dataset_identifier", [df, another_df])
result = [dm.table_name, len(dm.partitions), str(dm.schema.remove_metadata())]
try:
    store_dataframes_as_dataset(store_url, "will_not_work", [df, df.rename(columns={"A": "G"})])
except ValueError as error:
    result.append(str(error).splitlines()[0])
whole = read_table("a_unique_dataset_identifier", store_url)
result.append(whole.sort_values("A", ignore_index=True).astype({"C": "float64"}))
frames = read_dataset_as_dataframes__iterator(
    dataset_uuid="a_unique_dataset_identifier", store=store_url
)
result += sorted(frames, key=lambda frame: frame["A"][0])
few = read_table("a_unique_dataset_identifier", store_url, predicates=[[("A", "<", 2.5)]])
result.append(few.astype({"C": "float64"}))
store_factory = partial(get_store_from_url, store_url)
factory = DatasetFactory("a_unique_dataset_identifier", store_factory)
result.append(len(read_table(factory=factory, columns=["A", "F"])))
"""

PARTITIONING = """
import pandas as pd
from plateau.api.dataset import read_dataset_as_dataframes, store_dataframes_as_dataset

df = pd.DataFrame({
    "A": 1.0,
    "B": pd.to_datetime(["20130102", "20130102", "20130103", "20130103"]),
    "E": pd.Categorical(["test", "train", "test", "train"]),
    "F": "foo",
})
dm = store_dataframes_as_dataset(store_url, "one", [df], partition_on="B")
result = [sorted(label.rpartition("/")[0] for label in dm.partitions)]
duplicate_df = df.copy()
duplicate_df.F = "bar"
dm = store_dataframes_as_dataset(store_url, "two", [df, duplicate_df], partition_on=["E", "F"])
result.append(sorted(label.rpartition("/")[0] for label in dm.partitions))
frames = read_dataset_as_dataframes("two", store_url, dispatch_by=["E", "F"])
result += [frame[["E", "F", "A", "B"]].reset_index(drop=True) for frame in frames]
"""

SHUFFLING = """
import dask.dataframe as dd
import numpy as np
import pandas as pd
from plateau.api.dataset import read_table, update_dataset_from_ddf

df = pd.DataFrame({"A": [0, 1] * 100, "B": np.repeat(range(20), 10), "C": "some_payload"})
ddf = dd.from_pandas(df, npartitions=10)
result = []
for name, options in {
    "no_shuffle": {},
    "with_shuffle": {"shuffle": True},
    "with_bucketing": {
        "shuffle": True, "bucket_by": "B", "num_buckets": 4, "secondary_indices": "B",
    },
}.items():
    dm = update_dataset_from_ddf(
        ddf, dataset_uuid=name, store=store_url, partition_on="A", **options
    ).compute()
    result.append(sorted(label.rpartition("/")[0] for label in dm.partitions))
    whole = read_table(name, store_url)
    result.append(whole.sort_values(["A", "B"], ignore_index=True))
dm = dm.load_index("B", store_url)
result.append(sorted(label.split("/")[0] for label in dm.indices["B"].eval_operator("==", 1)))
"""

MUTATING = """
import pandas as pd
from minimalkv import get_store_from_url
from plateau.api.dataset import (
    garbage_collect_dataset,
    read_table,
    store_dataframes_as_dataset,
    update_dataset_from_dataframes,
)

def ride(fare, days, kinds):
    return pd.DataFrame({"A": fare, "B": pd.to_datetime(days), "E": kinds, "F": "foo"})

def groups(dm):
    return sorted(label.rpartition("/")[0] for label in dm.partitions)

def whole(dm):
    read = read_table(dataset_uuid=dm.uuid, store=store_url)
    return read.sort_values(["A", "B", "E"], ignore_index=True)

df = ride(1.0, ["20130102", "20130102", "20130103", "20130103"], ["a", "b", "a", "b"])
another_df = ride(5.0, ["20110103", "20110103", "20110104", "20110104"], ["c", "d", "c", "d"])
dm = store_dataframes_as_dataset(
    store=store_url, dataset_uuid="partitioned_dataset", dfs=[df], partition_on="B"
)
result = [groups(dm)]
dm = update_dataset_from_dataframes([another_df], store=store_url, dataset_uuid=dm.uuid)
result += [groups(dm), whole(dm)]
dm = update_dataset_from_dataframes(
    None,
    store=store_url,
    dataset_uuid=dm.uuid,
    partition_on="B",
    delete_scope=[{"B": pd.Timestamp("20130102")}],
)
result += [groups(dm), whole(dm)]
modified_df = another_df.copy()
modified_df.B = pd.Timestamp("20130103")
dm = update_dataset_from_dataframes(
    [modified_df],
    store=store_url,
    dataset_uuid=dm.uuid,
    partition_on="B",
    delete_scope=[{"B": pd.Timestamp("2013-01-03")}],
)
result += [groups(dm), whole(dm)]
store = get_store_from_url(store_url)
before = {key for key in store.keys() if "/table/" in key}
garbage_collect_dataset(store=store, dataset_uuid=dm.uuid)
result.append(len(before.difference(store.keys())))

df = pd.DataFrame({"payload": range(10), "i1": 0, "i2": ["a"] * 5 + ["b"] * 5})
dm = store_dataframes_as_dataset(
    store_url, "indexed_dataset", [df], secondary_indices=["i1", "i2"]
)
for number, options in enumerate([{}, {"secondary_indices": "i1"}], start=1):
    new_df = pd.DataFrame({"payload": range(10), "i1": number, "i2": "cd"[number - 1]})
    dm = update_dataset_from_dataframes(
        [new_df], store=store_url, dataset_uuid=dm.uuid, **options
    )
    dm = dm.load_all_indices(store_url)
    result += [sorted(dm.indices[name].observed_values()) for name in ("i1", "i2")]
"""

INDEXING = """
import string
import pandas as pd
from plateau.api.dataset import IndexBase, ensure_store, store_dataframes_as_dataset

index = IndexBase(column="FieldName", index_dct={1: ["table/1"], 2: ["table/1", "table/6"]})
result = [str(index.dtype), list(index.observed_values()), sorted(index.eval_operator(">=", 2))]
result.append(index.as_flat_series())
store = ensure_store("hmemory://")
df = pd.DataFrame({
    "PartField": ["A"] * 5 + ["B"] * 5,
    "IndexedField": list(range(5)) + list(range(3, 8)),
    "Payload": [string.ascii_letters[i] for i in range(10)],
})
dm = store_dataframes_as_dataset(
    store=store,
    dataset_uuid="indexing_docs",
    dfs=[df],
    partition_on=["PartField"],
    secondary_indices=["IndexedField"],
).load_all_indices(store)
part_index = dm.indices["PartField"]
result += [part_index.as_flat_series().index.tolist(), str(part_index.dtype)]
result.append(sorted(len(labels) for labels in dm.indices["IndexedField"].index_dct.values()))
"""

EXAMPLES = """
import dask
import pandas as pd
from plateau.api.dataset import (
    read_dataset_as_dataframes,
    read_dataset_as_delayed,
    read_table,
    store_dataframes_as_dataset,
    store_dataframes_as_dataset__iter,
    store_delayed_as_dataset,
)

df = pd.DataFrame({"Name": ["Paul", "Lisa"], "Age": [32, 29]})
metadata = {"Name": "My list of friends", "Columns": {"Age": "honest age of my friend"}}
dm = store_dataframes_as_dataset(
    store=store_url, dataset_uuid="my_list_of_friends", dfs=[df], metadata=metadata
)
result = [read_table(store=store_url, dataset_uuid="my_list_of_friends"), dm.metadata["Columns"]]
partitions = [pd.DataFrame({"A": range(10)}), pd.DataFrame({"A": range(10, 20)})]
common = {"store": store_url, "metadata": {"dataset": "metadata"}, "metadata_version": 4}
store_dataframes_as_dataset(dfs=partitions, dataset_uuid="first", **common)
store_dataframes_as_dataset__iter(partitions, dataset_uuid="iter", **common)
store_delayed_as_dataset(partitions, dataset_uuid="dask", **common).compute()
for name in ("first", "iter", "dask"):
    frames = read_dataset_as_dataframes(dataset_uuid=name, store=store_url)
    result += sorted(frames, key=lambda frame: frame["A"][0])
tasks = read_dataset_as_delayed(dataset_uuid="dask", store=store_url)
result += sorted(dask.compute(*tasks), key=lambda frame: frame["A"][0])
"""

COMMITTING = """
import pandas as pd
from plateau.io.eager import (
    commit_dataset,
    create_empty_dataset_header,
    read_table,
    write_single_partition,
)

df = pd.DataFrame({"part": [1, 2], "id": [1, 2], "col1": ["abc", "x"]})
create_empty_dataset_header(
    store=store_url, dataset_uuid="sample", schema=df, partition_on=["part"]
)
new_partitions = [
    write_single_partition(store=store_url, dataset_uuid="sample", data=[df.loc[df["part"] == n]])
    for n in (1, 2)
]
dm = commit_dataset(store=store_url, dataset_uuid="sample", new_partitions=new_partitions)
result = [len(dm.partitions), dm.explicit_partitions]
dm = commit_dataset(store=store_url, dataset_uuid="sample", metadata={"new": "user_metadata"})
result.append(dm.metadata["new"])
dm = commit_dataset(store=store_url, dataset_uuid="sample", delete_scope=[{"part": 1}])
result += [len(dm.partitions), read_table("sample", store_url)]
"""

DASK_INDEX = """
import dask.dataframe as dd
import pandas as pd
from plateau.api.dataset import hash_dataset, read_dataset_as_ddf, update_dataset_from_ddf

df = pd.DataFrame({
    "A": 1.0,
    "B": pd.to_datetime(["20130102", "20130102", "20130103", "20130103"]),
    "D": [3, 4, 5, 6],
})
ddf_indexed = dd.from_pandas(df, npartitions=2).set_index("B")
dm = update_dataset_from_ddf(
    ddf_indexed.reset_index(),
    table="table",
    dataset_uuid="dataset_ddf_with_index",
    store=store_url,
    partition_on="B",
).compute()
ddf = read_dataset_as_ddf(
    dataset_uuid=dm.uuid, store=store_url, dask_index_on="B", table="table"
)
result = [list(ddf.divisions), ddf.compute()]
hashes = hash_dataset(store_url, dm.uuid, subset=["D"], group_key=["B"]).compute()
result.append(hashes.sort_index())
"""

GUIDES = {
    name.lower(): text
    for name, text in globals().items()
    if name.isupper() and isinstance(text, str) and "from plateau" in text
}


def run(program: str, root: str) -> Any:
    names: dict[str, Any] = {}
    with TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names["store_url"] = f"hfs://{directory}"
        with dask.config.set(scheduler="synchronous"):
            exec(program.replace("from plateau.", f"from {root}."), names)
    return names["result"]


@pytest.mark.parametrize("program", GUIDES.values(), ids=GUIDES.keys())
def test_guides(program):
    theirs, ours = (run(program, root) for root in BOTH)
    assert any(isinstance(each, (pd.DataFrame, pd.Series)) for each in ours)
    same(ours, theirs, "the result")
