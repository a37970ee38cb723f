"""Prints a Parquet file as an independent reader sees it: its columns, its metadata, its rows.

usage: read_parquet.py FILE ...     one JSON document a line: first the facts of a file, then its rows
Run by the Python of tools/test-python.
"""
import json
import sys

import pyarrow.parquet as pq


def describe(path):
    file = pq.ParquetFile(path)
    schema, meta = file.schema_arrow, file.metadata
    ids = [field.metadata.get(b"PARQUET:field_id", b"").decode() if field.metadata else "" for field in schema]
    compression = {meta.row_group(g).column(c).compression for g in range(meta.num_row_groups) for c in range(meta.num_columns)}
    pairs = {k.decode(): v.decode() for k, v in (meta.metadata or {}).items() if k != b"ARROW:schema"}
    return file, {
        "columns": [[field.name, str(field.type), number] for field, number in zip(schema, ids)],
        "rows": meta.num_rows,
        "row_groups": [meta.row_group(g).num_rows for g in range(meta.num_row_groups)],
        "compression": sorted(compression),
        "metadata": pairs,
    }


def main():
    for path in sys.argv[1:]:
        file, facts = describe(path)
        print(json.dumps(facts))
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                print(json.dumps({k: v for k, v in row.items() if v is not None}, default=str))


if __name__ == "__main__":
    main()
