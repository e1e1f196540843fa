"""A program, named as the command it stands for: let the server beside it run the command, and end as it ended.

`ForkServer` puts a first line above this text that starts Python without its `site`, which takes a tenth of the time.
"""

import json
import os
import signal
import socket
import sys

here, name = os.path.split(os.path.abspath(__file__))  # noqa: PTH100 (pathlib takes long to import)
arguments = sys.argv[1:]
program = os.path.join(os.path.dirname(sys.executable), name)  # noqa: PTH118, PTH120
if name == "python" and (not arguments or arguments[0].startswith("-")):
    os.execv(program, [program, *arguments])
request = {"program": program, "arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}  # noqa: PTH109
text = json.dumps(request).encode()
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(os.path.join(os.path.dirname(here), "socket"))  # noqa: PTH118, PTH120
    socket.send_fds(connection, [len(text).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(text)
    code = int(connection.recv(16) or b"1")
if code < 0:
    if code != -signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
