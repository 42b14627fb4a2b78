"""Stands for every command of the emulated host: asks the host to run it, over a UNIX socket.

`iscsim.host.exec.layout` installs copies of this file with the values of the capitals filled in; each name
under which it is called is a command. It starts in a few milliseconds because it imports next to nothing, and
it knows nothing of the rest of iscsim: what goes over the socket is described in `iscsim.host.exec.server`.
"""

import os
import struct
import sys

try:
    import _socket as sockets  # the same without what takes longest to import
except ImportError:
    import socket as sockets  # type: ignore[no-redef]

SOCKET = ""
SHIMS = ""
"""The directory of the shims: what is found there is not the real program of that name."""
ROOTS: tuple[str, ...] = ()
"""Directories that are the emulated host's."""
REAL_NODES: tuple[str, ...] = ()
"""What is the machine's own in them."""
ORDINARY = ("cat", "dd", "tee")
"""Programs people use for files that have nothing to do with the host."""
DD_OPERANDS = {"if", "of", "bs", "ibs", "obs", "count", "skip", "status", "iflag", "oflag", "conv"}

MAGIC = b"iscx"
FRAME = struct.Struct(">BI")
STDOUT, STDERR, EXIT, ASK, INPUT = range(5)
PIECE = 1 << 16
MULTIPLES = {"": 1, "c": 1, "w": 2, "b": 512, "K": 1 << 10, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}
MULTIPLES |= {"KB": 1000, "kB": 1000, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20}


def is_emulated(path: str) -> bool:
    """Whether a path leads into the host."""
    real = os.path.normpath(os.path.join(os.getcwd(), path)) if path[:1] != "/" else os.path.normpath(path)
    if any(real == node or real.startswith(node + "/") for node in REAL_NODES):
        return False
    return any(real == root or real.startswith(root + "/") for root in ROOTS)


def real_program(name: str) -> str:
    """The machine's own program; empty when it has none."""
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        path = os.path.join(directory, name)
        if directory != SHIMS and os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return ""


def execute_real(name: str, arguments: list[str]) -> None:
    """Become the machine's own program, if it has one."""
    path = real_program(name)
    if path:
        os.execv(path, [name, *arguments])


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def amount(text: str) -> int:
    """A number of dd's, as in 4k; what is none is 0, and the host says so."""
    digits = text.rstrip("cwbKkMGBi")
    return int(digits) * MULTIPLES.get(text[len(digits) :], 0) if digits.isdigit() else 0


class Files:
    """Which files of a command are the machine's own, and are read and written here."""

    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name, self.arguments = name, arguments
        self.input, self.outputs = 0, [1]
        self.input_limit = -1
        self.ordinary = name in ORDINARY and not getattr(self, name)()

    def cat(self) -> bool:
        """Attributes are asked for now; all else is there as a file."""
        return bool(self.arguments) and all(each.startswith("/sys/") for each in self.arguments)

    def dd(self) -> bool:
        """Copies between a disk and a file: the host does the part of the disk."""
        operands = dict(each.partition("=")[::2] for each in self.arguments)
        files = {name: operands[name] for name in ("if", "of") if name in operands}
        if not any(is_emulated(path) for path in files.values()) or not operands.keys() <= DD_OPERANDS:
            return False
        if "count" in operands:
            blocks = amount(operands["count"]) + amount(operands.get("skip", "0"))
            self.input_limit = blocks * amount(operands.get("bs") or operands.get("ibs") or "512")
        for name, path in files.items():
            if is_emulated(path):
                continue
            if name == "if" and path != "/dev/zero":
                self.input = os.open(path, os.O_RDONLY)
            elif name == "of" and path != "/dev/null":
                keep = "notrunc" in operands.get("conv", "")
                self.outputs = [os.open(path, os.O_WRONLY | os.O_CREAT | (0 if keep else os.O_TRUNC), 0o666)]
            else:
                continue
            self.arguments = [each for each in self.arguments if not each.startswith(name + "=")]
        return True

    def tee(self) -> bool:
        """Writes to attributes of the host, and to files beside them."""
        paths = [each for each in self.arguments if each[:1] != "-"]
        if not any(is_emulated(each) for each in paths):
            return False
        append = any(each in ("-a", "--append") for each in self.arguments)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
        others = [each for each in paths if not is_emulated(each)]
        self.outputs += [os.open(each, flags, 0o666) for each in others]
        self.arguments = [each for each in self.arguments if each not in others]
        return True


class Connection:
    """A conversation with the host about one command."""

    def __init__(self) -> None:
        self.socket = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        try:
            self.socket.connect(SOCKET)
        except OSError:
            self.socket.close()
            raise

    def begin(self, words: list[str]) -> None:
        data = b"\0".join(os.fsencode(each) for each in words)
        self.socket.sendall(MAGIC + struct.pack(">I", len(data)) + data)

    def read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            if not piece:
                raise OSError("the emulated host is gone")
            data += piece
        return bytes(data)

    def send_input(self, descriptor: int, limit: int) -> None:
        """All of it, or so many bytes if ``limit`` is not negative."""
        while piece := os.read(descriptor, PIECE if limit < 0 else min(PIECE, limit)):
            self.socket.sendall(FRAME.pack(INPUT, len(piece)) + piece)
            limit -= len(piece) if limit > 0 else 0
        self.socket.sendall(FRAME.pack(INPUT, 0))

    def converse(self, files: Files) -> int:
        """Pass the streams on; returns the exit code."""
        while True:
            kind, length = FRAME.unpack(self.read(FRAME.size))
            data = self.read(length)
            if kind == EXIT:
                return data[0]
            if kind == ASK:
                self.send_input(files.input, files.input_limit)
            elif kind == STDOUT:
                for output in files.outputs:
                    write_all(output, data)
            else:
                write_all(2, data)


def sudo(arguments: list[str]) -> int:
    """Root is who asks: run the command as it is."""
    words = list(arguments)
    while words and (words[0][:1] == "-" or "=" in words[0]):
        word = words.pop(0)
        if "=" in word and word[:1] != "-":
            name, _, value = word.partition("=")
            os.environ[name] = value
        elif word in ("-u", "-g", "-C", "-p", "--user", "--group") and words:
            words.pop(0)
    if not words:
        return 0
    try:
        os.execvp(words[0], words)
    except OSError as error:
        write_all(2, os.fsencode(f"sudo: {words[0]}: {error.strerror}\n"))
    return 1


def main(name: str, arguments: list[str]) -> int:
    """Run the command of that name; its exit code."""
    if name == "sudo":
        return sudo(arguments)
    try:
        files = Files(name, arguments)
        if files.ordinary:
            execute_real(name, arguments)
        connection = Connection()
        connection.begin([name, *files.arguments])
        return connection.converse(files)
    except BrokenPipeError:
        return 141  # as a shell tells of SIGPIPE
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        write_all(
            2, os.fsencode(f"{name}: {error.filename or 'iscsim host exec'}: {error.strerror or error}\n")
        )
        return 1


if __name__ == "__main__":
    sys.exit(main(os.path.basename(sys.argv[0]), sys.argv[1:]))
