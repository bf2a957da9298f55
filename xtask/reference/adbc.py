"""Reads a result as Arrow with ADBC, the reference for `cargo xtask bench`.

usage: adbc.py postgres://…|sqlite:PATH STATEMENT

Prints one JSON object: seconds, rows, and the peak memory of the process in bytes. The password
of a server is read from PGPASSWORD. Batches are inspected and dropped, as a writer would do.
"""

import json
import resource
import sys
import time


def connect(server):
    if server.startswith("sqlite:"):
        import adbc_driver_sqlite.dbapi

        return adbc_driver_sqlite.dbapi.connect(server.removeprefix("sqlite:"))
    import adbc_driver_postgresql.dbapi

    return adbc_driver_postgresql.dbapi.connect(server)


def main():
    server, statement = sys.argv[1:]
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("select 1")
        cursor.fetchall()
        start = time.perf_counter()
        cursor.execute(statement)
        rows = 0
        for batch in cursor.fetch_record_batch():
            rows += batch.num_rows
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "rows": rows, "peak": peak}))


if __name__ == "__main__":
    main()
