"""A system image as a file: its partitions, its ext4 and its FAT, read and changed in place.

Nothing is mounted, so nothing here needs root: e2fsprogs and mtools work at an offset of the file, and owner and
mode of what is written are set in the file system itself. It is not a partition editor: the layout stays.
"""

import os
import shlex
import stat as modes
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512


class Refused(Exception):
    """What is wrong and what to do about it, in one sentence. Nothing was written."""


def run(*command, data=None):
    """Runs a tool without a shell; its output, or Refused with what it said."""
    environment = {**os.environ, "LC_ALL": "C", "MTOOLS_SKIP_CHECK": "1", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(command, input=data, capture_output=True, env=environment, check=False)
    except FileNotFoundError:
        raise Refused(f"needs the program {command[0]}, which is not installed") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise Refused(f"{command[0]} failed: {said}")
    return done.stdout


@dataclass(frozen=True)
class Partition:
    start: int  # bytes
    size: int  # bytes


def partitions(path):
    """The partitions of an MBR or a GPT. Primary ones only: system images have no others."""
    with open(path, "rb") as image:
        head = image.read(2 * SECTOR)
        if len(head) < 2 * SECTOR or head[510:512] != b"\x55\xaa":
            raise Refused(f"{path} is not a disk image: it has no partition table")
        entries = [struct.unpack_from("<4xB3xII", head, 446 + 16 * i) for i in range(4)]
        if all(kind != 0xEE for kind, _, _ in entries):
            found = [Partition(first * SECTOR, count * SECTOR) for kind, first, count in entries if kind and count]
        else:
            found = _gpt(path, image, head[SECTOR:])
    size = os.path.getsize(path)
    if any(part.start + part.size > size for part in found):
        raise Refused(f"{path} is cut short: its partition table names more than its {size} bytes")
    return found


def _gpt(path, image, header):
    if header[:8] != b"EFI PART":
        raise Refused(f"{path} has a protective MBR but no GPT after it")
    table, count, length = struct.unpack_from("<QII", header, 72)
    if length < 128 or count > 1024:
        raise Refused(f"{path} has an invalid GPT ({count} entries of {length} bytes)")
    image.seek(table * SECTOR)
    entries = image.read(count * length)
    found = []
    for at in range(0, len(entries) - 127, length):
        first, last = struct.unpack_from("<QQ", entries, at + 32)
        if entries[at : at + 16] != bytes(16) and last >= first:
            found.append(Partition(first * SECTOR, (last - first + 1) * SECTOR))
    return found


def _at(path, offset, length):
    with open(path, "rb") as image:
        image.seek(offset)
        return image.read(length)


def is_ext4(path, part):
    return _at(path, part.start + 1024 + 56, 2) == b"\x53\xef"


def is_fat(path, part):
    head = _at(path, part.start, SECTOR)
    return head[510:512] == b"\x55\xaa" and (head[54:57] == b"FAT" or head[82:85] == b"FAT")


class Fat:
    """Files in the root of a FAT partition."""

    def __init__(self, path, part):
        self._where = f"{path}@@{part.start}"

    def names(self):
        listing = run("mdir", "-b", "-i", self._where, "::").decode(errors="replace")
        return [line.removeprefix("::/") for line in listing.split("\n") if line]

    def read(self, name):
        return run("mtype", "-i", self._where, f"::{name}")

    def write(self, name, data):
        run("mcopy", "-o", "-i", self._where, "-", f"::{name}", data=data)
        if self.read(name) != data:
            raise Refused(f"{name} did not fit into the image's boot partition")


@dataclass(frozen=True)
class Stat:
    kind: str  # "regular", "directory", "symlink" …
    mode: int
    uid: int
    gid: int
    size: int
    target: str  # of a symbolic link


@dataclass
class Change:
    """One thing to be done to the root file system."""

    kind: str  # "directory", "regular", "symlink", "removed"
    path: str  # the real one in the image, without symbolic links
    mode: int = 0
    uid: int = 0
    gid: int = 0
    data: bytes = b""
    target: str = ""

    def __str__(self):
        if self.kind == "regular":
            return f"write   {self.path} ({self.mode:04o}, {self.uid}:{self.gid}, {len(self.data)} bytes)"
        if self.kind == "directory":
            return f"mkdir   {self.path} ({self.mode:04o}, {self.uid}:{self.gid})"
        if self.kind == "symlink":
            return f"link    {self.path} -> {self.target}"
        return f"remove  {self.path}"


class Ext4:
    """The root file system: read at once, changed by `apply` in one go."""

    def __init__(self, path, part):
        self._where = f"{path}?offset={part.start}"
        self._stats = {}
        self.changes = {}  # path to Change, in the order of making them

    def _debugfs(self, *commands, write=False):
        """debugfs says what went wrong on stderr and ends with 0 all the same, so both come back."""
        script = "\n".join(commands) + "\n"
        with tempfile.NamedTemporaryFile("w", prefix="lancam-flash.") as file:
            file.write(script)
            file.flush()
            command = ["debugfs", *(["-w"] if write else []), "-f", file.name, self._where]
            environment = {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
            done = subprocess.run(command, capture_output=True, env=environment, check=False)
        said = [line for line in done.stderr.decode(errors="replace").splitlines() if not line.startswith("debugfs 1.")]
        return done.stdout, said

    def header(self):
        """dumpe2fs's figures, by their names."""
        lines = run("dumpe2fs", "-h", self._where).decode(errors="replace").splitlines()
        return dict((key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines) if value)

    def _lstat(self, path):
        if path not in self._stats:
            self._stats[path] = self._read_stat(path)
        return self._stats[path]

    def _read_stat(self, path):
        out, said = self._debugfs(f"stat {quoted(path)}")
        text = out.decode(errors="replace")
        if said or "Type: " not in text:
            return None
        words = text.replace("\n", " ").split()
        after = lambda word: words[words.index(word) + 1]
        kind = after("Type:")
        size = int(after("Size:"))
        target = ""
        if kind == "symlink":
            target = text.partition('Fast link dest: "')[2].partition('"')[0] or self._cat(path).decode()
        return Stat(kind, int(after("Mode:"), 8), int(after("User:")), int(after("Group:")), size, target)

    def _cat(self, path):
        out, said = self._debugfs(f"cat {quoted(path)}")
        if said:
            raise Refused(f"cannot read {path} in the image: {said[0]}")
        # debugfs echoes the command it was given before what it prints.
        return out.partition(b"\n")[2]

    def resolve(self, path):
        """Where `path` really lies: links in its directories and at its end followed. It need not exist."""
        done = ""
        parts = [part for part in path.split("/") if part]
        followed = 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            if part == ".":
                continue
            here = self._lstat(f"{done}/{part}")
            if here is None or here.kind != "symlink":
                done = f"{done}/{part}"
                continue
            followed += 1
            if followed > 40:
                raise Refused(f"{path} in the image is a loop of symbolic links")
            if here.target.startswith("/"):
                done = ""
            parts = [piece for piece in here.target.split("/") if piece] + parts
        return done or "/"

    def _place(self, path):
        """Where an entry named `path` goes: its directory resolved, a link at its end not."""
        directory, _, name = path.rpartition("/")
        directory = self.resolve(directory)
        return f"{'' if directory == '/' else directory}/{name}"

    def stat(self, path):
        return self._lstat(self.resolve(path))

    def exists(self, path):
        """Whether there is such an entry, also a link that leads nowhere."""
        return self._lstat(self._place(path)) is not None

    def read(self, path):
        """The file as it will be: what is in the image, or what a change before has put there."""
        path = self.resolve(path)
        if path in self.changes:
            return self.changes[path].data
        found = self._lstat(path)
        if found is None or found.kind != "regular":
            raise Refused(f"the image has no file {path}")
        return self._cat(path)

    def names(self, directory):
        """What lies in a directory; nothing if there is none."""
        directory = self.resolve(directory)
        if self._lstat(directory) is None:
            return []
        out, _ = self._debugfs(f"ls -p {quoted(directory)}")
        rows = [line.split("/") for line in out.decode(errors="replace").splitlines() if line.startswith("/")]
        return [row[5] for row in rows if len(row) > 6 and row[5] not in (".", "..")]

    # --- changes -----------------------------------------------------------------------------------------------

    def _add(self, change):
        self.changes.pop(change.path, None)
        self.changes[change.path] = change

    def mkdir(self, path, mode=0o755, uid=0, gid=0):
        """Makes a directory and those above it; one that is there stays as it is."""
        path = self.resolve(path)
        if path == "/" or path in self.changes or self._lstat(path) is not None:
            return
        self.mkdir(path.rpartition("/")[0] or "/")
        self._add(Change("directory", path, mode, uid, gid))

    def write(self, path, data, mode=0o644, uid=0, gid=0):
        path = self._place(path)
        self.mkdir(path.rpartition("/")[0] or "/")
        self._add(Change("regular", path, mode, uid, gid, data=data))

    def replace(self, path, data):
        """Another content for a file that is there: owner and mode stay."""
        path = self.resolve(path)
        before = self.changes.get(path) or self._lstat(path)
        self._add(Change("regular", path, before.mode, before.uid, before.gid, data=data))

    def symlink(self, path, target):
        path = self._place(path)
        self.mkdir(path.rpartition("/")[0] or "/")
        self._add(Change("symlink", path, target=target))

    def remove(self, path):
        path = self._place(path)
        if self._lstat(path) is not None:
            self._add(Change("removed", path))

    def check_room(self):
        """Refused if the changes do not fit."""
        facts = self.header()
        block = int(facts["Block size"])
        files = [change for change in self.changes.values() if change.kind != "removed"]
        # Each file also may need a block for its directory, and a large one for its extents.
        blocks = sum(-(-len(change.data) // block) + 2 for change in files)
        free = int(facts["Free blocks"])
        if blocks > free:
            raise Refused(f"the image has no room: {blocks * block >> 10} KiB are needed, {free * block >> 10} KiB are free")
        if len(files) > int(facts["Free inodes"]):
            raise Refused(f"the image has no room: {len(files)} more files are needed, {facts['Free inodes']} inodes are free")

    def apply(self, scratch):
        """Makes the changes, reads them back and checks the file system. `scratch`: a directory for the contents."""
        commands, copies = [], []
        for number, change in enumerate(self.changes.values()):
            commands += self._commands(change, Path(scratch, f"in{number}"))
            if change.kind == "regular":
                copies.append((change, Path(scratch, f"out{number}")))
        _, said = self._debugfs(*commands, write=True)
        if said:
            raise Refused(f"the image could not be changed: {said[0]}")
        self._stats = {}
        self._debugfs(*(f"dump {quoted(change.path)} {quoted(str(copy))}" for change, copy in copies))
        for change, copy in copies:
            if not copy.exists() or copy.read_bytes() != change.data:
                raise Refused(f"{change.path} was not written to the image correctly")
        self.check()

    def _commands(self, change, content):
        directory, _, name = change.path.rpartition("/")
        path = quoted(change.path)
        commands = []
        before = self._lstat(change.path)
        if before is not None and change.kind != "directory":
            if before.kind == "directory":
                raise Refused(f"{change.path} in the image is a directory")
            commands.append(f"rm {path}")
        if change.kind == "removed":
            return commands
        if change.kind == "directory":
            commands.append(f"mkdir {path}")
            kind = modes.S_IFDIR
        elif change.kind == "symlink":
            commands.append(f"symlink {path} {quoted(change.target)}")
            kind, change.mode = modes.S_IFLNK, 0o777
        else:
            content.write_bytes(change.data)
            # `write` takes a bare name for its target.
            commands += [f"cd {quoted(directory or '/')}", f"write {quoted(str(content))} {quoted(name)}"]
            kind = modes.S_IFREG
        fields = {"mode": f"0{kind | change.mode:o}", "uid": change.uid, "gid": change.gid}
        return commands + [f"sif {path} {field} {value}" for field, value in fields.items()]

    def check(self):
        run("e2fsck", "-f", "-n", self._where)


def quoted(path):
    """A path for debugfs, whose scripts know double quotes and no escapes."""
    if not path or any(character in path for character in '"\n\\'):
        raise Refused(f"{shlex.quote(path)} cannot be a file name in an image")
    return f'"{path}"'
