# Pinned version: prefect==3.9.1
"""Measures the blocks of Prefect 3 as the reference for a benchmark.

Run it with the Python of a virtual environment that has Prefect installed:

    VENV/bin/python prefect.py --blocks 200 --saves 100 --inspects 5

It starts a separate Prefect API server on 127.0.0.1 with an SQLite database
in a temporary folder, saves `--blocks` blocks of type `Secret`, and prints one
JSON document to standard output, with all times in seconds:

- `load_seconds`: `Secret.load(name)`, once for each block, after a warm-up;
- `save_seconds`: `Secret(value=...).save(name, overwrite=True)` of existing blocks;
- `inspect_seconds`: a new process `prefect block inspect secret/NAME` each time.

The server, the client and the command use Prefect's defaults, with these
exceptions: analytics, the server's web pages and the client's check of the
server's version are disabled. No data leaves this machine.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

WARM_UP_LOADS = 20
START_TIMEOUT = 180
STOP_TIMEOUT = 20
INSPECT_TIMEOUT = 120


class Failure(Exception):
    """Error that ends the script with a message on standard error."""


def main():
    # Without this, `import prefect` would find this file instead of Prefect.
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path = [path for path in sys.path if os.path.realpath(path) != here]

    arguments = parse_arguments()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_on_signal)
    try:
        # Only the JSON document may go to standard output.
        with contextlib.redirect_stdout(sys.stderr):
            document = run(arguments)
    except Exception as error:
        message = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        sys.exit("prefect.py: " + " ".join(message.split()))
    print(json.dumps(document))


def parse_arguments():
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS)
    parser.add_argument("--blocks", type=positive, default=200, help="how many blocks to load")
    parser.add_argument("--saves", type=positive, default=100, help="how many saves to time")
    parser.add_argument("--inspects", type=positive, default=5, help="how many commands to time")
    return parser.parse_args()


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def stop_on_signal(number, _frame):
    # A second signal must not interrupt the shutdown of the server.
    for other in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(f"prefect.py: ended by signal {number}")


def run(arguments):
    command = os.path.join(os.path.dirname(sys.executable), "prefect")
    if not os.path.exists(command):
        raise Failure(f"there is no command prefect next to {sys.executable}")
    with tempfile.TemporaryDirectory(prefix="prefect-reference-", ignore_cleanup_errors=True) as folder:
        port = free_port()
        set_environment(folder, port)
        # Prefect reads settings from files in the current folder, and this one has none.
        start_folder = os.getcwd()
        os.chdir(folder)
        try:
            with server(command, folder, port):
                return measure(arguments, command)
        finally:
            os.chdir(start_folder)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def set_environment(folder, port):
    """Sets the environment of this process, which the server and the commands inherit."""
    for name in list(os.environ):
        if name.upper().startswith("PREFECT_") or name.upper().endswith("_PROXY"):
            del os.environ[name]
    os.environ.update(
        {
            "HOME": folder,
            "TMPDIR": folder,
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": os.path.join(folder, "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
        }
    )


@contextlib.contextmanager
def server(command, folder, port):
    """Context manager that runs a Prefect server."""
    log_path = os.path.join(folder, "server.log")
    with open(log_path, "wb") as log:
        process = subprocess.Popen(
            [command, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_ready(process, port, log_path)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process, port, log_path):
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            with open(log_path, encoding="utf-8", errors="replace") as log:
                lines = [line.strip() for line in log if line.strip()]
            last = lines[-1] if lines else "it wrote nothing"
            raise Failure(f"the Prefect server ended with code {process.returncode}: {last}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            # The server is not listening yet.
            pass
        time.sleep(0.2)
    raise Failure(f"the Prefect server was not ready after {START_TIMEOUT} seconds")


def measure(arguments, command):
    # Prefect reads its settings on import, so the environment must be set first.
    import prefect
    from prefect.blocks.system import Secret
    from prefect.events.worker import EventsWorker

    # `load` and `save` are the synchronous forms: no event loop runs here.
    names = [f"block-{number}" for number in range(arguments.blocks)]
    values = {name: f"first value of {name}" for name in names}
    for name in names:
        Secret(value=values[name]).save(name)

    for number in range(WARM_UP_LOADS):
        Secret.load(names[number % len(names)])

    load_seconds = []
    for name in names:
        start = time.perf_counter()
        block = Secret.load(name)
        load_seconds.append(time.perf_counter() - start)
        check_value(name, block, values)

    save_seconds = []
    for number in range(arguments.saves):
        name = names[number % len(names)]
        values[name] = f"value {number} of {name}"
        start = time.perf_counter()
        Secret(value=values[name]).save(name, overwrite=True)
        save_seconds.append(time.perf_counter() - start)
    for name in names[: arguments.saves]:
        check_value(name, Secret.load(name), values)

    # Each load also sends an event to the server from another thread. All events
    # must be delivered before the commands are timed and the server is stopped.
    EventsWorker.drain_all(timeout=60)

    inspect_seconds = []
    for number in range(arguments.inspects):
        inspect_seconds.append(time_inspect(command, names[number % len(names)]))

    return {
        "prefect_version": prefect.__version__,
        "load_seconds": load_seconds,
        "save_seconds": save_seconds,
        "inspect_seconds": inspect_seconds,
    }


def check_value(name, block, values):
    if block.get() != values[name]:
        raise Failure(f"the block {name} does not hold the value that was saved")


def time_inspect(command, name):
    start = time.perf_counter()
    done = subprocess.run(
        [command, "block", "inspect", f"secret/{name}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSPECT_TIMEOUT,
    )
    seconds = time.perf_counter() - start
    if done.returncode != 0 or f"secret/{name}" not in done.stdout:
        raise Failure(f"prefect block inspect secret/{name} failed with code {done.returncode}: {done.stdout}")
    return seconds


if __name__ == "__main__":
    main()
