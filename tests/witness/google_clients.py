"""Reads with Google's client libraries what the bundle `gcp` wrote, and writes what it reads."""

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
    """Prints the rows of a query, one JSON object per line."""
    for row in warehouse().query_and_wait(statement):
        print(json.dumps(dict(row), default=str))


def insert(table):
    """Inserts rows from standard input, a JSON array, into a table."""
    errors = warehouse().insert_rows_json(table, json.load(sys.stdin))
    assert not errors, errors


def read(name):
    """Prints the content of an object."""
    sys.stdout.buffer.write(bucket().blob(name).download_as_bytes(checksum="crc32c"))


def write(name):
    """Uploads standard input as an object."""
    bucket().blob(name).upload_from_string(sys.stdin.buffer.read(), checksum="crc32c")


def sign(name, method, time, seconds):
    """Prints the URL that the client signs with the key file from standard input, at the given time."""
    from google.cloud.storage import _signing
    from google.oauth2 import service_account

    key = service_account.Credentials.from_service_account_info(json.load(sys.stdin))
    _signing.get_v4_now_dtstamps = lambda: (time, time[:8])
    path = f"/{os.environ['BUCKET']}/{name}"
    url = _signing.generate_signed_url_v4(
        key, path, int(seconds), api_access_endpoint=os.environ["SIGNED_ENDPOINT"], method=method
    )
    print(url, end="")


if __name__ == "__main__":
    {"query": query, "insert": insert, "read": read, "write": write, "sign": sign}[sys.argv[1]](*sys.argv[2:])
