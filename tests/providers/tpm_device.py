"""A character device before a software TPM: a terminal in raw mode whose other end speaks to swtpm at PORT.

Prints the path of the device, and ends with its input. A command is one write, an answer one read, as with /dev/tpmrm0.
"""

import os
import pty
import select
import socket
import struct
import sys
import tty


def exactly(read, length):
    data = b""
    while len(data) < length:
        more = read(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def message(read):
    """A command or an answer: a tag, its length with this header, a code, and the rest."""
    header = exactly(read, 10)
    return header + exactly(read, struct.unpack(">HII", header)[1] - 10)


port = int(sys.argv[1])
ours, device = pty.openpty()
tty.setraw(device)
print(os.ttyname(device), flush=True)
while True:
    ready, _, _ = select.select([ours, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    command = message(lambda length: os.read(ours, length))
    with socket.create_connection(("127.0.0.1", port)) as tpm:
        tpm.sendall(command)
        os.write(ours, message(tpm.recv))
