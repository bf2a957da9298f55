"""Creates and lists files of other programs, with the rows that pyarrow and Python read from them.

Usage: files.py FOLDER. Prints one JSON object per line: {"file", "format", "rows": [[value, …], …]}, with the
values as the database is expected to give them.
"""

import base64
import csv
import datetime as dt
import decimal
import json
import math
import os
import sys
import uuid

import fastparquet
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

FOLDER = sys.argv[1]
UTC = dt.timezone.utc
D = decimal.Decimal


def moment(value):
    text = value.astimezone(UTC).replace(tzinfo=None).isoformat() if value.tzinfo else value.isoformat()
    return text + ("Z" if value.tzinfo else "")


def canon(value, nested=False):
    """Returns a value as in the JSON result of a query in SQLite."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return value if nested else int(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else (value if nested else str(value))
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return value
    if isinstance(value, D):
        return format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dt.datetime):
        return moment(value)
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: canon(inner, True) for key, inner in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(pair, tuple) for pair in value):
            if all(isinstance(key, str) for key, _ in value):
                return {key: canon(inner, True) for key, inner in value}
            return [[canon(key, True), canon(inner, True)] for key, inner in value]
        return [canon(inner, True) for inner in value]
    raise TypeError(f"{type(value)}: {value!r}")


def rows(table):
    # In microseconds: neither Python nor the databases have nanoseconds.
    fields = []
    for field in table.schema:
        kind = field.type
        if pa.types.is_timestamp(kind):
            kind = pa.timestamp("us", tz=kind.tz)
        fields.append(pa.field(field.name, kind))
    columns = [
        column.cast(field.type).to_pylist() if field.type != column.type else column.to_pylist()
        for column, field in zip(table.columns, fields)
    ]
    maps = [pa.types.is_map(field.type) and pa.types.is_string(field.type.key_type) for field in table.schema]
    empty = lambda value, is_map: {} if is_map and value == [] else canon(value)
    return [[empty(value, is_map) for value, is_map in zip(row, maps)] for row in zip(*columns)]


def say(name, format, expected):
    print(json.dumps({"file": os.path.join(FOLDER, name), "format": format, "rows": expected}))


def everything():
    """Returns a table with every type that the databases can represent."""
    columns = {
        "i8": pa.array([1, None, -128], pa.int8()),
        "i64": pa.array([2**63 - 1, None, -(2**63)], pa.int64()),
        "u8": pa.array([255, None, 0], pa.uint8()),
        "u32": pa.array([2**32 - 1, None, 0], pa.uint32()),
        "u64": pa.array([2**64 - 1, None, 2**63], pa.uint64()),
        "f64": pa.array([0.1, None, 5e-324], pa.float64()),
        "f32": pa.array([0.1, None, 16777216.0], pa.float32()),
        "text": pa.array(["ü, \"x\"\n", None, ""], pa.string()),
        "large": pa.array(["a", None, "b" * 300], pa.large_string()),
        "bytes": pa.array([b"\xde\xad", None, b""], pa.binary()),
        "fixed": pa.array([b"\xde\xad", None, b"\0\0"], pa.binary(2)),
        "bool": pa.array([True, None, False]),
        "whole": pa.array([D(123), None, D(-5)], pa.decimal128(10, 0)),
        "money": pa.array([D("0.05"), None, D("-12.50")], pa.decimal128(10, 2)),
        "long": pa.array([D("12345678901234567890123456789.000000001"), None, D("-0.000000001")], pa.decimal128(38, 9)),
        "day": pa.array([dt.date(1, 1, 1), None, dt.date(9999, 12, 31)], pa.date32()),
        "ms": pa.array([dt.datetime(2013, 2, 8, 11), None, dt.datetime(1969, 12, 31, 23, 59, 59, 1000)], pa.timestamp("ms")),
        "us": pa.array([dt.datetime(2013, 2, 8, 11, 0, 0, 5), None, dt.datetime(1, 1, 1)], pa.timestamp("us")),
        "utc": pa.array([dt.datetime(2013, 2, 8, 11, tzinfo=UTC), None, dt.datetime(1969, 12, 31, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        "zone": pa.array([dt.datetime(2013, 2, 8, 11, tzinfo=UTC), None, dt.datetime(2100, 1, 1, tzinfo=UTC)], pa.timestamp("ms", "Europe/Berlin")),
        "time": pa.array([dt.time(12, 30, 0, 5), None, dt.time(23, 59, 59, 999999)], pa.time64("us")),
        "time32": pa.array([dt.time(12, 30), None, dt.time(0)], pa.time32("ms")),
        "word": pa.array(["a", None, "a"]).dictionary_encode(),
        "list": pa.array([[1, None], None, []], pa.list_(pa.int64())),
        "deep": pa.array([[[D("1.50")]], None, [[]]], pa.list_(pa.list_(pa.decimal128(5, 2)))),
        "record": pa.array([{"a": 1, "b": [dt.date(2013, 2, 8)]}, None, {"a": None, "b": None}]),
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "numbers": pa.array([[(1, "x")], None, [(2, None)]], pa.map_(pa.int32(), pa.string())),
        "nothing": pa.nulls(3),
    }
    return pa.table(columns)


def parquet_files():
    table = everything()
    expected = rows(table)
    for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
        for version in ["1.0", "2.0"]:
            name = f"{codec}-{version}.parquet"
            pq.write_table(table, f"{FOLDER}/{name}", compression=codec, data_page_version=version)
            say(name, "parquet", expected)
    pq.write_table(table, f"{FOLDER}/groups.parquet", row_group_size=1, use_dictionary=False, compression="zstd")
    say("groups.parquet", "parquet", expected)
    pq.write_table(table, f"{FOLDER}/no-schema.parquet", store_schema=False, compression="zstd")
    say("no-schema.parquet", "parquet", rows(pq.read_table(f"{FOLDER}/no-schema.parquet")))
    pq.write_table(table, f"{FOLDER}/integers.parquet", store_decimal_as_integer=True, store_schema=False)
    say("integers.parquet", "parquet", rows(pq.read_table(f"{FOLDER}/integers.parquet")))
    pq.write_table(table.slice(0, 0), f"{FOLDER}/no-rows.parquet")
    say("no-rows.parquet", "parquet", [])
    # Repeated values in many pages, with unusual encodings.
    many = pa.table({"n": list(range(40_000)), "s": [f"owl {n % 7}" for n in range(40_000)], "x": [n / 8 for n in range(40_000)]})
    encodings = {"n": "DELTA_BINARY_PACKED", "s": "DELTA_BYTE_ARRAY", "x": "BYTE_STREAM_SPLIT"}
    pq.write_table(many, f"{FOLDER}/many.parquet", use_dictionary=False, column_encoding=encodings, data_page_size=4_000, compression="zstd", row_group_size=15_000)
    say("many.parquet", "parquet", rows(many))
    # Timestamps in the format of Spark and Impala (INT96).
    times = pa.table({"t": pa.array([dt.datetime(9999, 12, 31, 23, 59, 59), None, dt.datetime(1600, 1, 1, 0, 0, 0, 5)], pa.timestamp("us"))})
    pq.write_table(times, f"{FOLDER}/int96.parquet", use_deprecated_int96_timestamps=True, store_schema=False)
    say("int96.parquet", "parquet", rows(times))
    half = pa.table({"h": pa.array([0.5, None, -2.0], pa.float16()), "u": pa.array([uuid.UUID(int=1).bytes, None, uuid.UUID(int=2**128 - 1).bytes], pa.uuid())})
    pq.write_table(half, f"{FOLDER}/half.parquet")
    say("half.parquet", "parquet", [[0.5, str(uuid.UUID(int=1))], [None, None], [-2.0, str(uuid.UUID(int=2**128 - 1))]])


def encrypted_files():
    """Writes encrypted files. The footer of the second one is not encrypted."""
    import pyarrow.parquet.encryption as encryption

    class Kms(encryption.KmsClient):
        def __init__(self, _configuration):
            encryption.KmsClient.__init__(self)

        def wrap_key(self, key, _name):
            return base64.b64encode(key)

        def unwrap_key(self, wrapped, _name):
            return base64.b64decode(wrapped)

    table = pa.table({"id": [1, 2], "name": ["owl", "heron"]})
    for plain in [False, True]:
        name = f"encrypted-{plain}.parquet"
        keys = encryption.EncryptionConfiguration(footer_key="f", column_keys={"c": ["name"]}, plaintext_footer=plain)
        factory = encryption.CryptoFactory(Kms)
        properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), keys)
        with pq.ParquetWriter(f"{FOLDER}/{name}", table.schema, encryption_properties=properties) as writer:
            writer.write_table(table)
        print(json.dumps({"file": os.path.join(FOLDER, name), "format": "parquet", "refused": "is encrypted"}))


def other_writers():
    frame = pd.DataFrame({
        "id": [1, 2, 3],
        "name": ["owl", None, "ü"],
        "weight": [0.5, 1.25, 3.0],
        "seen": pd.to_datetime(["2013-02-08 11:00", "1969-12-31 23:59:59.5", None], format="ISO8601").astype("datetime64[ms]"),
    })
    for codec in ["SNAPPY", "GZIP", "ZSTD", "LZ4_RAW", "BROTLI", "UNCOMPRESSED"]:
        name = f"fastparquet-{codec}.parquet"
        fastparquet.write(f"{FOLDER}/{name}", frame, compression=codec)
        say(name, "parquet", rows(pq.read_table(f"{FOLDER}/{name}")))
    fastparquet.write(f"{FOLDER}/fastparquet-int96.parquet", frame.head(1), times="int96")
    say("fastparquet-int96.parquet", "parquet", rows(pq.read_table(f"{FOLDER}/fastparquet-int96.parquet")))
    frame.to_parquet(f"{FOLDER}/pandas.parquet", engine="pyarrow")
    say("pandas.parquet", "parquet", rows(pq.read_table(f"{FOLDER}/pandas.parquet")))
    polars = pl.DataFrame({
        "id": [1, 2, 3],
        "name": ["owl", None, "ü"],
        "tags": [["a"], None, []],
        "kind": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
        "price": pl.Series([D("1.50"), None, D("-0.05")], dtype=pl.Decimal(10, 2)),
        "seen": [dt.datetime(2013, 2, 8, 11), None, dt.datetime(2000, 1, 1)],
    })
    for codec in ["zstd", "lz4", "snappy", "gzip", "brotli", "uncompressed"]:
        name = f"polars-{codec}.parquet"
        polars.write_parquet(f"{FOLDER}/{name}", compression=codec)
        say(name, "parquet", rows(pq.read_table(f"{FOLDER}/{name}")))
    for codec in ["uncompressed", "lz4", "zstd"]:
        name = f"polars-{codec}.arrow"
        polars.write_ipc(f"{FOLDER}/{name}", compression=codec)
        say(name, "arrow", rows(ipc.open_file(f"{FOLDER}/{name}").read_all()))


def arrow_files():
    table = everything()
    expected = rows(table)
    for codec in [None, "lz4", "zstd"]:
        options = ipc.IpcWriteOptions(compression=codec)
        for kind, new in [("file", ipc.new_file), ("stream", ipc.new_stream)]:
            name = f"{kind}-{codec}.arrow"
            with new(f"{FOLDER}/{name}", table.schema, options=options) as writer:
                writer.write_table(table, max_chunksize=2)
            say(name, "arrow", expected)
    feather.write_feather(table.drop_columns(["numbers", "map"]), f"{FOLDER}/default.arrow")
    say("default.arrow", "arrow", rows(feather.read_table(f"{FOLDER}/default.arrow")))


def public_files():
    """Lists the test files that are part of the package pyarrow."""
    data = os.path.join(os.path.dirname(pa.__file__), "tests", "data")
    for folder, _, names in sorted(os.walk(data)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.endswith(".parquet"):
                say(path, "parquet", rows(pq.read_table(path, use_pandas_metadata=False)))
            elif name.endswith(".feather"):
                table = feather.read_table(path)
                # Files from before Arrow version 1.0 use another compression, which is rejected.
                refused = "before version 1.0" if "v0.17" in name else None
                print(json.dumps({"file": path, "format": "arrow", "rows": rows(table), "refused": refused}))


def csv_files():
    """Lists public CSV files with the fields that Python reads. An empty field is null."""
    import vega_datasets

    data = os.path.join(os.path.dirname(vega_datasets.__file__), "_data")
    for name in sorted(os.listdir(data)):
        path = os.path.join(data, name)
        if not name.endswith(".csv") or os.path.getsize(path) > 500_000:
            continue
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file, strict=True))
        say(path, "csv", [[field or None for field in line] for line in lines[1:] if line])


parquet_files()
encrypted_files()
other_writers()
arrow_files()
public_files()
csv_files()
