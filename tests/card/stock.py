"""Small images in the layout of Raspberry Pi OS Lite (MBR, FAT, ext4) and of Debian's cloud images (GPT, ext4 with
GRUB), with the files that deploy/flash looks at, and a package to put into them. They are not made to boot: for that
see `system`."""

import os
import struct
import subprocess
import tempfile
import uuid
import zlib
from pathlib import Path

MIB = 1 << 20
DISK_ID = 0x1A4CA400


def run(*command, **options):
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PATH": path, "LC_ALL": "C"}, **options).stdout


def put(root, name, text="", mode=0o644):
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def tree(root, arch, raspberry):
    """What of a stock system matters here."""
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("home/pi", "media", "tmp", "var/lib/NetworkManager", "var/lib/systemd/rfkill", "boot"):
        (root / name).mkdir(parents=True)
    put(root, "etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    put(root, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n" + ("pi:x:1000:1000::/home/pi:/bin/bash\n" if raspberry else ""))
    put(root, "etc/group", "root:x:0:\nadm:x:4:\nsudo:x:27:\nvideo:x:44:\nshadow:x:42:\n" + ("pi:x:1000:\n" if raspberry else ""))
    put(root, "etc/shadow", "root::19700:0:99999:7:::\n" + ("pi:!:19700:0:99999:7:::\n" if raspberry else ""), 0o640)
    put(root, "etc/gshadow", "root:*::\nadm:*::\nsudo:*::\nvideo:*::\nshadow:*::\n", 0o640)
    put(root, "etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n")
    put(root, "etc/hostname", "raspberrypi\n")
    put(root, "etc/machine-id", "uninitialized\n")
    put(root, "etc/sudoers.d/README", "")
    put(root, "etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n")
    put(root, "etc/ssh/sshd_config.d/rename_user.conf", "Banner /usr/share/userconf-pi/sshd_banner\n")
    put(root, "usr/sbin/sshd", "", 0o755)
    put(root, "usr/lib/systemd/systemd", "", 0o755)
    for unit in ("ssh.service", "systemd-timesyncd.service", "avahi-daemon.service", "avahi-daemon.socket", "dphys-swapfile.service", "userconfig.service", "apt-daily.timer"):
        put(root, f"usr/lib/systemd/system/{unit}", "[Unit]\n")
    put(root, "etc/init.d/resize2fs_once", "#!/bin/sh\n", 0o755)
    put(root, "usr/lib/modules/6.12.0/kernel/fs/overlayfs/overlay.ko.xz")
    put(
        root,
        "var/lib/dpkg/status",
        f"Package: dpkg\nStatus: install ok installed\nArchitecture: {arch}\nVersion: 1.21.22\n\n"
        f"Package: libc6\nStatus: install ok installed\nArchitecture: {arch}\nVersion: 2.36-9+rpt2+deb12u4\nDescription: GNU C Library\n a library\n .\n of C\n\n",
    )
    (root / "var/lib/dpkg/info").mkdir()
    if raspberry:
        put(root, "usr/sbin/NetworkManager", "", 0o755)
        put(root, "var/lib/NetworkManager/NetworkManager.state", "[main]\nWirelessEnabled=false\n")
        put(root, "var/lib/systemd/rfkill/platform-fe300000.mmcnr:wlan", "1\n")
        put(root, "etc/fstab", f"proc /proc proc defaults 0 0\nPARTUUID={DISK_ID:08x}-01  /boot/firmware  vfat    defaults          0       2\nPARTUUID={DISK_ID:08x}-02  /               ext4    defaults,noatime  0       1\n")
    else:
        put(root, "boot/grub/grub.cfg", "menuentry 'Debian' {\n\tlinux\t/boot/vmlinuz-6.1 root=UUID=1234 ro console=ttyS0\n\tinitrd\t/boot/initrd.img-6.1\n}\n")
        put(root, "etc/fstab", "PARTUUID=x / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\nPARTUUID=y /boot/efi vfat umask=0077 0 0\n/swapfile none swap sw 0 0\n")


def ext4(work, size, arch, raspberry):
    root = Path(work, "root")
    tree(root, arch, raspberry)
    image = Path(work, "ext4")
    with open(image, "wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", "-L", "rootfs", "-O", "^64bit", "-d", str(root), str(image))
    # The usual owners, whoever runs this.
    for path in [root, *root.rglob("*")]:
        name = f"/{path.relative_to(root)}".replace("/.", "/") if path != root else "/"
        owner = 1000 if name.startswith("/home/") else 0
        _sif.append(f'sif "{name}" uid {owner}\nsif "{name}" gid {42 if name == "/etc/shadow" else owner}\n')
    run("debugfs", "-w", "-f", "-", str(image), input="".join(_sif).encode())
    _sif.clear()
    return image.read_bytes()


_sif = []


def raspberry(path, arch="arm64", root_size=48 * MIB):
    """Raspberry Pi OS Lite: MBR, FAT "bootfs", ext4 "rootfs"."""
    boot_start, boot_size = 8 * MIB, 34 * MIB
    root_start = boot_start + boot_size
    with tempfile.TemporaryDirectory() as work:
        root = ext4(work, root_size, arch, raspberry=True)
        fat = Path(work, "fat")
        with open(fat, "wb") as file:
            file.truncate(boot_size)
        run("mkfs.vfat", "-F", "32", "-s", "1", "-n", "BOOTFS", str(fat))
        line = f"console=serial0,115200 console=tty1 root=PARTUUID={DISK_ID:08x}-02 rootfstype=ext4 fsck.repair=yes rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot resize\n"
        run("mcopy", "-i", str(fat), "-", "::cmdline.txt", input=line.encode())
        run("mcopy", "-i", str(fat), "-", "::config.txt", input=b"arm_64bit=1\n")
        boot = fat.read_bytes()
    head = bytearray(512)
    struct.pack_into("<I", head, 440, DISK_ID)
    for number, (kind, start, size) in enumerate([(0x0C, boot_start, boot_size), (0x83, root_start, root_size)]):
        struct.pack_into("<B3xB3xII", head, 446 + 16 * number, 0, kind, start // 512, size // 512)
    head[510:512] = b"\x55\xaa"
    write(path, {0: bytes(head), boot_start: boot, root_start: root}, root_start + root_size)


def debian(path, arch="arm64"):
    """A cloud image: GPT, the root in its first partition."""
    start, size = MIB, 40 * MIB
    with tempfile.TemporaryDirectory() as work:
        root = ext4(work, size, arch, raspberry=False)
    total = start + size + MIB
    entries = bytearray(128 * 128)
    linux = uuid.UUID("b921b045-1df0-41c3-af44-4c6f280d3fae")
    struct.pack_into("<16s16sQQ", entries, 0, linux.bytes_le, uuid.uuid4().bytes_le, start // 512, (start + size) // 512 - 1)
    header = bytearray(512)
    last = total // 512 - 1
    struct.pack_into("<8sIIIIQQQQ16sQIII", header, 0, b"EFI PART", 0x10000, 92, 0, 0, 1, last, 34, last - 33, uuid.uuid4().bytes_le, 2, 128, 128, zlib.crc32(entries))
    struct.pack_into("<I", header, 16, zlib.crc32(header[:92]))
    protective = bytearray(512)
    struct.pack_into("<B3xB3xII", protective, 446, 0, 0xEE, 1, last)
    protective[510:512] = b"\x55\xaa"
    write(path, {0: bytes(protective), 512: bytes(header), 1024: bytes(entries), start: root}, total)


def write(path, parts, size):
    with open(path, "wb") as image:
        image.truncate(size)
        for at, data in parts.items():
            for offset in range(0, len(data), 65536):
                piece = data[offset : offset + 65536]
                if piece.count(0) != len(piece):
                    image.seek(at + offset)
                    image.write(piece)


def package(path, binary=None, arch="arm64", depends="libc6 (>= 2.31)"):
    """A package with the parts that lancam's has: program, unit, user, udev rule, a conffile."""
    with tempfile.TemporaryDirectory() as work:
        root = Path(work, "deb")
        put(root, "usr/bin/lancam", "#!/bin/false\n", 0o755)
        if binary:
            (root / "usr/bin/lancam").write_bytes(Path(binary).read_bytes())
        put(root, "lib/systemd/system/lancam.service", "[Unit]\nDescription=lancam\n[Service]\nExecStart=/usr/bin/lancam send --config /etc/lancam/lancam.ron\nUser=lancam\nRestart=always\n[Install]\nWantedBy=multi-user.target\n")
        put(root, "usr/lib/sysusers.d/lancam.conf", 'u lancam - "lancam camera sender" - -\nm lancam video\n')
        put(root, "etc/lancam/lancam.ron", '(streams: [(name: "stock", source: Pattern("640x480@15"))])\n')
        put(root, "usr/share/doc/lancam/copyright", "MIT OR Apache-2.0\n")
        put(root, "DEBIAN/control", f"Package: lancam\nVersion: 0.1.0\nArchitecture: {arch}\nMaintainer: lancam\nDepends: {depends}\nDescription: a camera for your LAN\n stand-in of the tests\n")
        put(root, "DEBIAN/conffiles", "/etc/lancam/lancam.ron\n")
        put(root, "DEBIAN/postinst", "#!/bin/sh\nexit 0\n", 0o755)
        for directory in [root, *(entry for entry in root.rglob("*") if entry.is_dir())]:
            directory.chmod(0o755)
        run("dpkg-deb", "--root-owner-group", "-Zgzip", "-b", str(root), str(path))
