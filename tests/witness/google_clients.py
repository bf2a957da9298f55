"""Google's own clients as witnesses: what the bundle `gcp` wrote they read, and the other way round."""

import json
import os
import sys

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials


def warehouse():
    from google.cloud import bigquery

    options = ClientOptions(api_endpoint=os.environ["BIGQUERY_ENDPOINT"])
    return bigquery.Client(os.environ["PROJECT"], AnonymousCredentials(), client_options=options)


def bucket():
    from google.cloud import storage

    return storage.Client(os.environ["PROJECT"], AnonymousCredentials()).bucket(os.environ["BUCKET"])


def query(statement):
    """Prints the rows, one JSON object a line."""
    for row in warehouse().query_and_wait(statement):
        print(json.dumps(dict(row), default=str))


def insert(table):
    """Puts rows of standard input, a JSON array, into a table."""
    errors = warehouse().insert_rows_json(table, json.load(sys.stdin))
    assert not errors, errors


def read(name):
    """Prints an object."""
    sys.stdout.buffer.write(bucket().blob(name).download_as_bytes(checksum="crc32c"))


def write(name):
    """Makes standard input an object."""
    bucket().blob(name).upload_from_string(sys.stdin.buffer.read(), checksum="crc32c")


if __name__ == "__main__":
    {"query": query, "insert": insert, "read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
