"""The card: which disks may be written at all, and a write that leaves no bootable card if it is interrupted.

The order is the safeguard. First a note that the card is unfinished replaces its start, with the partition table;
then everything after that is written, synced and read back; the real start comes last. If the work ends before
that, whatever the reason, a board does not boot from the card.
"""

import errno
import fcntl
import hashlib
import os
import stat as modes
import sys
import time
from pathlib import Path

from image import Refused

CHUNK = 4 << 20
# At most this much of the beginning is written last. The partition tables need 17 KiB, no partition starts earlier.
HEAD_LIMIT = 1 << 20
UNFINISHED = b"lancam: this card is unfinished. Write it again with deploy/flash.\n"
BLKGETSIZE64 = 0x80081272
BLKFLSBUF = 0x1261
BLKRRPART = 0x125F


class Unfinished(Exception):
    """The write was begun and not ended: the card does not boot."""


# --- which disk -------------------------------------------------------------------------------------------------


def device_number(path):
    number = os.stat(path).st_rdev
    return os.major(number), os.minor(number)


def sysfs(number):
    return Path(os.path.realpath(f"/sys/dev/block/{number[0]}:{number[1]}"))


def disks_below(node):
    """The whole disks that a block device lies on: through partitions, LVM, RAID, LUKS."""
    slaves = list((node / "slaves").iterdir()) if (node / "slaves").is_dir() else []
    if slaves:
        return set().union(*(disks_below(Path(os.path.realpath(slave))) for slave in slaves))
    return {node.parent if (node / "partition").exists() else node}


def in_use():
    """Every disk that is mounted or swapped on, to what it is used for."""
    used = {}

    def add(number, purpose):
        node = sysfs(number)
        if node.exists():
            for disk in disks_below(node):
                used.setdefault(disk.name, purpose)

    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, source = line.partition(" - ")
        number, where = fields.split()[2], fields.split()[4]
        add(tuple(int(part) for part in number.split(":")), f"mounted on {where}")
        # btrfs and the like give a number of their own: there the source tells.
        device = source.split()[1]
        if device.startswith("/dev/") and _is_block(device):
            add(device_number(device), f"mounted on {where}")
    for line in Path("/proc/swaps").read_text().splitlines()[1:]:
        device = line.split()[0]
        if _is_block(device):
            add(device_number(device), "swapped on")
    return used


def _is_block(path):
    try:
        return modes.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


def is_card(node):
    """A card or stick: removable, on USB or MMC. Loop devices count too: somebody made them for this."""
    removable = (node / "removable").exists() and (node / "removable").read_text().strip() == "1"
    return removable or "/usb" in str(node) or node.name.startswith(("mmcblk", "loop"))


def describe(node):
    size = int((node / "size").read_text()) * 512
    model = node / "device" / "model"
    name = model.read_text().strip() if model.exists() else ""
    return f"/dev/{node.name} ({size / 1e9:.1f} GB{', ' if name else ''}{name})"


def candidates():
    used = in_use()
    nodes = [Path(os.path.realpath(entry)) for entry in sorted(Path("/sys/block").iterdir())]
    return [
        describe(node)
        for node in nodes
        if is_card(node) and not node.name.startswith("loop") and node.name not in used and (node / "size").read_text().strip() != "0"
    ]


def check_device(device):
    """Refused unless `device` is a whole card that nothing uses."""
    node = sysfs(device_number(device))
    if not node.exists():
        raise Refused(f"{device} is not known to the kernel")
    if (node / "partition").exists():
        raise Refused(f"{device} is a partition: name the card itself, /dev/{node.parent.name}")
    used = in_use()
    if node.name in used:
        raise Refused(f"{device} is in use ({used[node.name]}): unmount it first, if it is the card")
    for holders in [node / "holders", *node.glob("*/holders")]:
        for holder in holders.iterdir() if holders.is_dir() else []:
            raise Refused(f"{device} is in use by {holder.name} (LVM, RAID or encryption)")
    if not is_card(node):
        raise Refused(f"{describe(node)} is a fixed disk, not a card: if you are sure, write to a file and copy that")
    if (node / "ro").read_text().strip() == "1":
        raise Refused(f"{device} is write-protected: look for the switch on the card's side")


def open_target(target):
    """Opens the card, or makes the file. The kernel's own word comes last: of a card O_EXCL fails while anybody has it
    mounted, of a file where there is one, or a link."""
    flags = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | (0 if _is_block(target) else os.O_CREAT)
    try:
        # A card's content is secret: Wi-Fi password, ssh host keys.
        return os.open(target, flags, 0o600)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise Refused(f"{target} is in use: unmount it first, if it is the card") from None
        if error.errno == errno.EEXIST:
            raise Refused(f"{target} is there already: remove it first") from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Refused(f"no permission to write {target}: run this with sudo, or write to a file (OUT.img)") from None
        if error.errno == errno.ENOMEDIUM:
            raise Refused(f"{target} has no card in it") from None
        raise Refused(f"cannot open {target}: {error.strerror}") from None


def size_of(descriptor):
    if modes.S_ISBLK(os.fstat(descriptor).st_mode):
        return int.from_bytes(fcntl.ioctl(descriptor, BLKGETSIZE64, bytes(8)), sys.byteorder)
    return os.fstat(descriptor).st_size


# --- copying ----------------------------------------------------------------------------------------------------


class Progress:
    """A bar on a terminal, a line for every tenth elsewhere."""

    def __init__(self, label, total):
        self.label, self.total = label, max(total, 1)
        self.done, self.began, self.shown = 0, time.monotonic(), -1
        self.terminal = sys.stderr.isatty()

    def add(self, count):
        self.done = min(self.done + count, self.total)
        percent = self.done * 100 // self.total
        step = percent if self.terminal else percent // 10
        if step == self.shown:
            return
        self.shown = step
        seconds = max(time.monotonic() - self.began, 0.001)
        rate = self.done / seconds
        left = int((self.total - self.done) / rate) if rate else 0
        tail = f"{percent:3d} %  {rate / 1e6:6.1f} MB/s  {left // 60}:{left % 60:02d} left"
        if self.terminal:
            bar = "#" * (percent // 4)
            print(f"\r{self.label} [{bar:25}] {tail}", end="\n" if percent == 100 else "", file=sys.stderr, flush=True)
        else:
            print(f"{self.label} {tail}", file=sys.stderr, flush=True)


def chunks(source, count, at=None):
    """`count` bytes of a descriptor, from its place or from `at`; what is missing at its end is simply not there."""
    while count > 0:
        piece = os.read(source, min(CHUNK, count)) if at is None else os.pread(source, min(CHUNK, count), at)
        if not piece:
            return
        count -= len(piece)
        at = None if at is None else at + len(piece)
        yield piece


def write_all(descriptor, data, at):
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written


def copy_sparse(source, target, total, label):
    """From one descriptor into a fresh file, blocks of zeros left out. Returns the length."""
    progress = Progress(label, total)
    length = 0
    for piece in chunks(source, 1 << 62):
        if piece.count(0) != len(piece):
            write_all(target, piece, length)
        length += len(piece)
        progress.add(len(piece))
    os.ftruncate(target, length)
    return length


def digest(descriptor, at, count, progress=None):
    total = hashlib.sha256()
    for piece in chunks(descriptor, count, at):
        total.update(piece)
        if progress:
            progress.add(len(piece))
    return total.hexdigest()


def forget_cache(descriptor):
    """So that what is read next comes from the card itself, not from memory."""
    os.fsync(descriptor)
    if modes.S_ISBLK(os.fstat(descriptor).st_mode):
        try:
            fcntl.ioctl(descriptor, BLKFLSBUF)
        except OSError:
            pass  # Only root may; the advice below does as much for pages that are clean.
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def write_card(image, target, head):
    """Writes `image` (an open file) to `target` (an open card or file); its first `head` bytes last. See the module's head."""
    size = os.fstat(image).st_size
    is_device = modes.S_ISBLK(os.fstat(target).st_mode)
    try:
        write_all(target, UNFINISHED.ljust(head, b"\0"), 0)
        os.fsync(target)
        _write_body(image, target, head, size, sparse=not is_device)
        forget_cache(target)
        _compare(image, target, head, size - head, Progress("verifying", size - head))
        write_all(target, os.pread(image, head, 0), 0)
        forget_cache(target)
        _compare(image, target, 0, head)
    except OSError as error:
        raise Unfinished(_reason(error)) from None
    if is_device:
        try:
            fcntl.ioctl(target, BLKRRPART)
        except OSError:
            pass  # The kernel reads the new table when the card is put in again.


def _write_body(image, target, head, size, sparse):
    progress = Progress("writing  ", size - head)
    if sparse:
        os.ftruncate(target, size)
    at = head
    for piece in chunks(image, size - head, head):
        if not sparse or piece.count(0) != len(piece):
            write_all(target, piece, at)
        at += len(piece)
        progress.add(len(piece))
        if at % (64 << 20) < CHUNK:
            # In time, or the bar would race ahead of the card and then stand still for minutes.
            os.fdatasync(target)
    os.fsync(target)


def _compare(image, target, at, count, progress=None):
    if digest(target, at, count, progress) != digest(image, at, count):
        raise Unfinished("what was read back is not what was written: the card is worn out or counterfeit, try another")


def _reason(error):
    if error.errno == errno.ENOSPC:
        return "no space left"
    if error.errno in (errno.EIO, errno.ENXIO, errno.ENODEV):
        return f"the card does not answer ({error.strerror}): was it pulled out?"
    return error.strerror or str(error)

