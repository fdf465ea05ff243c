# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A client of a control socket that sends bytes as they are, and shows what came back."""

import array
import contextlib
import os
import socket
import subprocess
import tempfile
import time


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.rest = b""
        self.greeting = self.line()

    def send(self, data, descriptors=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.socket.sendmsg([data], ancillary)

    def line(self):
        """The next line; empty: it was hung up."""
        while b"\n" not in self.rest:
            data = self.socket.recv(1 << 16)
            if not data:
                return b""
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line + b"\n"

    def until(self, mark):
        """All lines up to the one that has the mark, which is left out."""
        lines = []
        while mark not in (line := self.line()):
            if not line:
                raise AssertionError(f"hung up after {lines}")
            lines.append(line)
        return b"".join(lines)

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def serving(command):
    """A process that was told to listen at a path, which is what is missing at the end of the command."""
    with tempfile.TemporaryDirectory(prefix="qmp.") as folder:
        path = os.path.join(folder, "socket")
        with subprocess.Popen([*command, f"unix:{path},server=on,wait=off"], stderr=subprocess.DEVNULL) as process:
            try:
                deadline = time.monotonic() + 30
                while not os.path.exists(path) and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                yield path
            finally:
                process.kill()
