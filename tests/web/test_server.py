"""The server process: an address that cannot be had ends it with a sentence, before anything is opened."""

import socket
import subprocess
import sys

import pytest

from tests.patience import PATIENCE_S


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_taken_port_is_said_in_one_sentence(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = [sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", port, "--workers", workers]
        env = {"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/nobody", "COLUMNS": "200"}
        done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}: the port is taken." in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
