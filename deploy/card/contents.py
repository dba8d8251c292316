"""What goes onto the card: package, config, name, Wi-Fi, key, and all that makes a system image an appliance.

Everything is planned as changes to the image's root file system (image.Ext4) and to its boot partition before anything
is written. It is not an installer: maintainer scripts of the package are not run, what they would do (the user, the
unit's links) is done here.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import tarfile
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from image import Ext4, Fat, Refused, is_ext4, is_fat, partitions, run

HERE = Path(__file__).resolve().parent
CONFIG = "/etc/lancam/lancam.ron"
USERS = "/etc/lancam/users"
INIT = "/usr/lib/lancam-card/init"
UNITS = "/etc/systemd/system"
# With the viewer's window, and without.
PACKAGES = ("lancam", "lancam-sender")

# Units that would listen, write, or wait for somebody at the first boot, and are not needed by a camera.
MASKED = """
    avahi-daemon.service avahi-daemon.socket rpcbind.service rpcbind.socket nfs-client.target triggerhappy.service
    triggerhappy.socket bluetooth.service hciuart.service ModemManager.service cups.service cups-browsed.service
    exim4.service postfix.service rpi-connect.service rpi-connect-wayvnc.service wayvnc.service pigpiod.service
    serial-getty@ttyGS0.service
    dphys-swapfile.service rpi-zram-writeback.timer
    userconfig.service sshswitch.service regenerate_ssh_host_keys.service resize2fs_once.service rpi-resize.service
    raspi-config.service systemd-firstboot.service systemd-growfs-root.service
    cloud-init.service cloud-init-local.service cloud-init-main.service cloud-init-network.service cloud-config.service
    cloud-final.service cloud-init-hotplugd.socket
    apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service unattended-upgrades.service
    apt-listchanges.timer man-db.timer dpkg-db-backup.timer logrotate.timer e2scrub_all.timer e2scrub_reap.service
    fstrim.timer rpi-eeprom-update.service fake-hwclock.service fake-hwclock-save.service fake-hwclock-save.timer
""".split()


@dataclass
class Wishes:
    """What the command line asked for."""

    config: bytes
    hostname: str
    package: Path
    user: str | None = None
    ssh_keys: bytes = b""
    wifi: str | None = None
    wifi_password: str = ""
    country: str | None = None
    users: bytes = b""


@dataclass
class Plan:
    root: Ext4
    boot: Fat | None
    boot_files: dict = field(default_factory=dict)  # name to content
    notes: list = field(default_factory=list)  # what a person should know, a sentence each
    host_key: str = ""  # fingerprint of the board's ssh key

    def lines(self):
        yield from (f"  boot    {name}: {data.decode(errors='replace').strip()}" for name, data in self.boot_files.items())
        yield from (f"  {change}" for change in self.root.changes.values())

    def apply(self):
        self.root.check_room()
        with tempfile.TemporaryDirectory(prefix="lancam-flash.") as scratch:
            self.root.apply(scratch)
        for name, data in self.boot_files.items():
            self.boot.write(name, data)


def plan(image, wishes):
    root, boot = find_system(image)
    made = Plan(root, boot)
    package = Package(wishes.package)
    kernel_line = KernelLine()
    _check_system(image, root, package)
    accounts = Accounts(root)
    package.put(root, accounts)
    _config(root, accounts, wishes)
    _name(root, wishes)
    _network(root, wishes, made, kernel_line)
    _login(root, accounts, wishes, made)
    _quiet(root, kernel_line)
    _read_only(root, kernel_line)
    accounts.put(root)
    _kernel_command_line(made, kernel_line)
    _fresh_stamps(root)
    return made


# --- the image --------------------------------------------------------------------------------------------------


def find_system(image):
    """Root and boot file system. A boot partition is Raspberry Pi OS's way; without one, GRUB is in the root."""
    parts = partitions(image)
    roots = [Ext4(image, part) for part in parts if is_ext4(image, part)]
    roots = [root for root in roots if root.exists("/etc/os-release") and root.exists("/var/lib/dpkg/status")]
    if not roots:
        raise Refused(f"{image} holds no Debian or Raspberry Pi OS: it has no ext4 partition with /etc/os-release and dpkg's list of packages")
    if len(roots) > 1:
        raise Refused(f"{image} holds more than one system")
    fats = [Fat(image, part) for part in parts if is_fat(image, part)]
    boots = [fat for fat in fats if "cmdline.txt" in fat.names()]
    return roots[0], boots[0] if boots else None


def _check_system(image, root, package):
    facts = root.header()
    if "needs_recovery" in facts.get("Filesystem features", ""):
        raise Refused(f"{image} was not unmounted cleanly: use a fresh copy")
    if root.exists(INIT):
        raise Refused(f"{image} has been through deploy/flash already: use the stock image")
    installed = Installed(root)
    architecture = installed.architecture()
    if architecture != package.field("Architecture"):
        raise Refused(f"{image} is a system for {architecture}, but {package.path.name} is a package for {package.field('Architecture')}")
    if not (root.exists("/usr/lib/systemd/systemd") or root.exists("/lib/systemd/systemd")):
        raise Refused(f"{image} does not start with systemd")
    kernels = root.names("/usr/lib/modules")
    if not any(_has_overlay(root, f"/usr/lib/modules/{kernel}") for kernel in kernels):
        raise Refused(f"{image} has no kernel with an overlay file system")
    installed.check(package)


def _has_overlay(root, modules):
    if any(name.startswith("overlay.ko") for name in root.names(f"{modules}/kernel/fs/overlayfs")):
        return True
    return root.exists(f"{modules}/modules.builtin") and b"/overlay.ko" in root.read(f"{modules}/modules.builtin")


def paragraphs(text):
    """Debian's control format: a dictionary for each paragraph."""
    for block in re.split(r"\n\s*\n", text):
        fields, last = {}, None
        for line in block.splitlines():
            if line[:1].isspace() and last:
                fields[last] += "\n" + line
            elif ":" in line:
                last, _, value = line.partition(":")
                fields[last] = value.strip()
        if fields:
            yield fields


class Installed:
    """The packages in the image."""

    def __init__(self, root):
        everything = paragraphs(root.read("/var/lib/dpkg/status").decode(errors="replace"))
        self._packages = {entry["Package"]: entry for entry in everything if entry.get("Status", "").endswith(" installed")}

    def architecture(self):
        return self._packages.get("dpkg", {}).get("Architecture", "an unknown machine")

    def _satisfied(self, wish):
        """One alternative of a dependency: "libc6 (>= 2.31)"."""
        name, relation, version = re.fullmatch(r"\s*([a-z0-9.+-]+)(?::\w+)?\s*(?:\(\s*([<>=]+)\s*([^)\s]+)\s*\))?\s*", wish).groups()
        found = self._packages.get(name)
        if found is None:
            provided = (entry.get("Provides", "") for entry in self._packages.values())
            return any(re.search(rf"(^|[\s,]){re.escape(name)}($|[\s,(])", names) for names in provided)
        if relation is None:
            return True
        return subprocess.run(["dpkg", "--compare-versions", found["Version"], relation, version], check=False).returncode == 0

    def check(self, package):
        for name in PACKAGES:
            if name in self._packages:
                raise Refused(f"the image has the package {name} already: use the stock image")
        for name in ("Pre-Depends", "Depends"):
            for wish in filter(None, package.field(name).split(",")):
                if not any(self._satisfied(alternative) for alternative in wish.split("|")):
                    raise Refused(f"{package.path.name} needs {wish.strip()}, which the image does not have: use a newer image")


# --- the package ------------------------------------------------------------------------------------------------


class Package:
    """A .deb, unpacked in memory."""

    def __init__(self, path):
        self.path = path
        self._files = tarfile.open(fileobj=io.BytesIO(run("dpkg-deb", "--fsys-tarfile", str(path))))
        self._control = {}
        with tarfile.open(fileobj=io.BytesIO(run("dpkg-deb", "--ctrl-tarfile", str(path)))) as control:
            for member in control:
                if member.isfile():
                    self._control[member.name.removeprefix("./")] = (control.extractfile(member).read(), member.mode)
        text = self._control["control"][0].decode()
        self._fields = next(paragraphs(text), {})
        if self.field("Package") not in PACKAGES:
            raise Refused(f"{path} is not lancam's package but {self.field('Package')}'s")

    def field(self, name):
        return self._fields.get(name, "")

    def members(self):
        for member in self._files:
            name = "/" + member.name.removeprefix("./").strip("/")
            if name != "/":
                yield name, member

    def read(self, name):
        for path, member in self.members():
            if path == name:
                return self._files.extractfile(member).read()
        return None

    def units(self):
        """Its system services and what starts them: (path, name, [targets])."""
        for path, member in self.members():
            if member.isfile() and re.fullmatch(r"(/usr)?/lib/systemd/system/[^/]+", path):
                text = self._files.extractfile(member).read().decode()
                yield path, path.rpartition("/")[2], re.findall(r"^WantedBy=(.*)$", text, re.M)

    def put(self, root, accounts):
        """Its files, dpkg's record of them, and what its maintainer scripts would do."""
        names = []
        for path, member in self.members():
            names.append(path)
            self._put_member(root, path, member)
        for path, name, targets in self.units():
            for target in " ".join(targets).split():
                root.symlink(f"{UNITS}/{target}.wants/{name}", path)
        for path, member in self.members():
            if member.isfile() and re.fullmatch(r"/usr/lib/sysusers\.d/[^/]+\.conf", path):
                accounts.sysusers(self._files.extractfile(member).read().decode())
        self._record(root, names)

    def _put_member(self, root, path, member):
        if member.uid or member.gid:
            raise Refused(f"{self.path.name}: {path} does not belong to root")
        if member.isdir():
            root.mkdir(path, member.mode)
        elif member.isfile():
            root.write(path, self._files.extractfile(member).read(), member.mode)
        elif member.issym():
            root.symlink(path, member.linkname)
        else:
            raise Refused(f"{self.path.name}: {path} is neither file, directory nor symbolic link")

    def _record(self, root, names):
        """As dpkg would keep it, so that `apt upgrade` and `dpkg -r` know the package."""
        info = f"/var/lib/dpkg/info/{self.field('Package')}"
        for name, (data, mode) in self._control.items():
            if name != "control":
                root.write(f"{info}.{name}", data, mode & 0o755)
        root.write(f"{info}.list", "".join(f"{name}\n" for name in ["/.", *names]).encode())
        lines = self._control["control"][0].decode().strip("\n").split("\n")
        lines.insert(1, "Status: install ok installed")
        conffiles = [line for line in self._control.get("conffiles", (b"", 0))[0].decode().split("\n") if line]
        if conffiles:
            lines.append("Conffiles:")
            lines += [f" {name} {hashlib.md5(self.read(name)).hexdigest()}" for name in conffiles]
        status = root.read("/var/lib/dpkg/status").rstrip(b"\n") + b"\n\n"
        root.replace("/var/lib/dpkg/status", status + "\n".join(lines).encode() + b"\n\n")


# --- users ------------------------------------------------------------------------------------------------------


class Accounts:
    """passwd, group, shadow and gshadow of the image."""

    FILES = ("passwd", "group", "shadow", "gshadow")

    def __init__(self, root):
        self._tables = {}
        for name in self.FILES:
            text = root.read(f"/etc/{name}").decode() if root.exists(f"/etc/{name}") else ""
            self._tables[name] = [line.split(":") for line in text.splitlines() if line]

    def _row(self, table, name):
        return next((row for row in self._tables[table] if row[0] == name), None)

    def user(self, name):
        return self._row("passwd", name)

    def group(self, name):
        """Its number, or None."""
        row = self._row("group", name)
        return int(row[2]) if row else None

    def first_user(self):
        """The image's own person, if it has one."""
        return next((row[0] for row in self._tables["passwd"] if 1000 <= int(row[2]) < 60000), None)

    def _free(self, numbers):
        taken = {int(row[2]) for row in self._tables["passwd"] + self._tables["group"]}
        return next(number for number in numbers if number not in taken)

    def add_group(self, name, number=None):
        if self._row("group", name) is None:
            number = self._free(range(999, 99, -1)) if number is None else number
            self._tables["group"].append([name, "x", str(number), ""])
            self._tables["gshadow"].append([name, "!", "", ""])
        return int(self._row("group", name)[2])

    def add_user(self, name, numbers, gecos, home, shell):
        """With a group of its own and no password."""
        if self.user(name):
            return
        group = self._row("group", name)
        number = int(group[2]) if group else self._free(numbers)
        self.add_group(name, number)
        self._tables["passwd"].append([name, "x", str(number), str(number), gecos, home, shell])
        self._tables["shadow"].append([name, "*", str(int(time.time()) // 86400), "0", "99999", "7", "", "", ""])

    def join(self, name, group):
        for table, row in ((table, self._row(table, group)) for table in ("group", "gshadow")):
            if row and name not in row[3].split(","):
                row[3] = ",".join(filter(None, [row[3], name]))

    def lock(self):
        """No password opens any account. An empty one would open the console."""
        for row in self._tables["shadow"]:
            if not row[1].startswith(("!", "*")):
                row[1] = "*"

    def sysusers(self, text):
        """The lines u, g and m of sysusers.d(5), with numbers chosen here."""
        for line in text.splitlines():
            words = re.findall(r'"[^"]*"|\S+', line.split("#")[0])
            kind, name, rest = (words + ["", ""])[0], (words + ["", ""])[1], [word.strip('"') for word in words[3:]] + ["-"] * 3
            if kind in ("u", "u!"):
                gecos, home, shell = ("" if word == "-" else word for word in rest[:3])
                self.add_user(name, range(999, 99, -1), gecos, home or "/", shell or "/usr/sbin/nologin")
            elif kind == "g":
                self.add_group(name)
            elif kind == "m":
                self.join(name, words[2])
            elif kind:
                raise Refused(f"the package's sysusers line \"{line}\" is of an unknown kind")

    def put(self, root):
        for name in self.FILES:
            text = "".join(":".join(row) + "\n" for row in self._tables[name]).encode()
            if root.exists(f"/etc/{name}") and root.read(f"/etc/{name}") != text:
                root.replace(f"/etc/{name}", text)


# --- the settings -----------------------------------------------------------------------------------------------


class KernelLine:
    """What is put on the kernel's command line, and what is taken off."""

    def __init__(self):
        self.wanted = []
        # init= and resize are the stock image's first boot, systemd.run* and ds= a tool's that prepared the card.
        self._dropped = ("init=", "resize", "rw", "ro", "systemd.run", "systemd.unit=kernel-command-line", "ds=", "cloud-init=", "fsck.")

    def edit(self, line):
        kept = [word for word in line.split() if not self._is_dropped(word)]
        return " ".join(kept + self.wanted)

    def _is_dropped(self, word):
        names = [name for name in self._dropped if not name.isalpha()] + [f"{word.split('=')[0]}=" for word in self.wanted if "=" in word]
        return word in self._dropped or word.startswith(tuple(names))


def _config(root, accounts, wishes):
    """Readable for the service's user only, as the package's script would have it: it may hold a token."""
    group = accounts.group("lancam")
    root.write(CONFIG, wishes.config, *((0o644, 0, 0) if group is None else (0o640, 0, group)))
    if wishes.users:
        root.write(USERS, wishes.users, *((0o600, 0, 0) if group is None else (0o640, 0, group)))


def _name(root, wishes):
    root.write("/etc/hostname", f"{wishes.hostname}\n".encode())
    lines = root.read("/etc/hosts").decode().splitlines() if root.exists("/etc/hosts") else ["127.0.0.1\tlocalhost", "::1\tlocalhost"]
    lines = [line for line in lines if not line.startswith("127.0.1.1")] + [f"127.0.1.1\t{wishes.hostname}"]
    root.write("/etc/hosts", ("\n".join(lines) + "\n").encode())
    # Empty or "uninitialized" would make a new one at each start, and with it a new DHCP lease.
    root.write("/etc/machine-id", f"{uuid.uuid4().hex}\n".encode(), 0o444)


def wifi_connection(ssid, password):
    """A NetworkManager key file. The name is written as bytes: text would be open to misreading."""
    lines = ["[connection]", f"id={ssid if ssid.isprintable() and ssid == ssid.strip() else 'wifi'}".replace("\\", "\\\\")]
    lines += [f"uuid={uuid.uuid4()}", "type=wifi", "autoconnect-retries=0", "", "[wifi]", "mode=infrastructure"]
    lines += ["ssid=" + "".join(f"{byte};" for byte in ssid.encode()), ""]
    if password:
        escaped = password.replace("\\", "\\\\").replace(" ", "\\s")
        lines += ["[wifi-security]", "key-mgmt=wpa-psk", f"psk={escaped}", ""]
    lines += ["[ipv4]", "method=auto", "", "[ipv6]", "method=auto", ""]
    return "\n".join(lines).encode()


def _network(root, wishes, made, kernel_line):
    manager = root.exists("/usr/sbin/NetworkManager")
    if wishes.wifi and not manager:
        raise Refused("the image has no NetworkManager, so --wifi cannot be set up in it: use Raspberry Pi OS")
    if not manager:
        text = "# Any wired interface, by DHCP.\n[Match]\nType=ether\n\n[Network]\nDHCP=yes\n"
        root.write("/etc/systemd/network/80-lancam.network", text.encode())
        _enable(root, "systemd-networkd.service", "multi-user.target")
    if wishes.wifi:
        content = wifi_connection(wishes.wifi, wishes.wifi_password)
        root.write("/etc/NetworkManager/system-connections/lancam-wifi.nmconnection", content, 0o600)
        # The stock image keeps Wi-Fi off until a country is chosen.
        root.write("/var/lib/NetworkManager/NetworkManager.state", b"[main]\nNetworkingEnabled=true\nWirelessEnabled=true\nWWANEnabled=false\n")
        for name in root.names("/var/lib/systemd/rfkill"):
            if name.endswith(":wlan"):
                root.replace(f"/var/lib/systemd/rfkill/{name}", b"0\n")
        if wishes.country:
            kernel_line.wanted.append(f"cfg80211.ieee80211_regdom={wishes.country}")
        else:
            made.notes.append("Without --country CC, Wi-Fi uses only channels that are allowed everywhere.")
    # Hosts without a clock start at the latest of these: the first picture is not to be of 1970.
    if root.exists("/etc/fake-hwclock.data"):
        root.replace("/etc/fake-hwclock.data", time.strftime("%Y-%m-%d %H:%M:%S\n", time.gmtime()).encode())
    if _unit(root, "systemd-timesyncd.service"):
        clock = root.stat("/var/lib/systemd/timesync/clock")
        root.write("/var/lib/systemd/timesync/clock", b"", 0o644, clock.uid if clock else 0, clock.gid if clock else 0)
        _enable(root, "systemd-timesyncd.service", "sysinit.target")
    elif not any(_unit(root, name) for name in ("chrony.service", "ntpsec.service", "ntp.service")):
        made.notes.append("The image has no NTP client: the board's clock will be wrong, and with it the delay that viewers show.")


def _login(root, accounts, wishes, made):
    accounts.lock()
    if not wishes.ssh_keys:
        _mask(root, "ssh.service", "sshd.service", "ssh.socket", "sshd.socket")
        made.notes.append("No --ssh-key: nobody can log in. To change something, flash the card again.")
        return
    if not _unit(root, "ssh.service"):
        raise Refused("the image has no ssh server (openssh-server), so --ssh-key would have no effect: use another image, or leave it out")
    name = wishes.user or accounts.first_user() or "pi"
    accounts.add_user(name, range(1000, 60000), "", f"/home/{name}", "/bin/bash")
    row = accounts.user(name)
    uid, gid, home = int(row[2]), int(row[3]), row[5]
    for group in ("sudo", "adm", "video", "systemd-journal"):
        accounts.join(name, group)
    # A home that is there keeps what is in it.
    root.mkdir(home, 0o700, uid, gid)
    root.mkdir(f"{home}/.ssh", 0o700, uid, gid)
    root.write(f"{home}/.ssh/authorized_keys", wishes.ssh_keys, 0o600, uid, gid)
    if root.exists("/etc/sudoers.d"):
        root.write("/etc/sudoers.d/010_lancam", f"# There is no password to ask for.\n{name} ALL=(ALL) NOPASSWD: ALL\n".encode(), 0o440)
    # The banner says that login does not work until a user is set up.
    root.remove("/etc/ssh/sshd_config.d/rename_user.conf")
    made.host_key = _host_keys(root, wishes.hostname)
    _enable(root, "ssh.service", "multi-user.target")
    made.notes.append(f"Login: ssh {name}@ADDRESS, by key only.")


def _host_keys(root, hostname):
    """Made here: the board would make new ones at each start, and ssh would warn each time."""
    with tempfile.TemporaryDirectory(prefix="lancam-flash.") as scratch:
        for kind in ("rsa", "ecdsa", "ed25519"):
            key = Path(scratch, f"ssh_host_{kind}_key")
            run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"root@{hostname}", "-f", str(key))
            root.write(f"/etc/ssh/{key.name}", key.read_bytes(), 0o600)
            root.write(f"/etc/ssh/{key.name}.pub", key.with_suffix(".pub").read_bytes(), 0o644)
        return run("ssh-keygen", "-l", "-f", str(key)).decode().split()[1]


def _unit(root, name):
    """Where a unit lies, or None."""
    for directory in (UNITS, "/usr/lib/systemd/system", "/lib/systemd/system"):
        if root.exists(f"{directory}/{name}"):
            return f"{directory}/{name}"
    return None


def _enable(root, name, target):
    path = _unit(root, name)
    if path:
        root.symlink(f"{UNITS}/{target}.wants/{name}", path)


def _mask(root, *names):
    for name in names:
        # resize2fs_once is a script of the old kind, for which systemd makes a unit.
        if _unit(root, name) or root.exists(f"/etc/init.d/{name.removesuffix('.service')}"):
            root.symlink(f"{UNITS}/{name}", "/dev/null")


def _quiet(root, kernel_line):
    """Nothing else listens, nothing waits for a person, nothing writes for its own sake."""
    _mask(root, *MASKED)
    kernel_line.wanted += ["systemd.swap=0"]
    if root.exists("/etc/cloud"):
        root.write("/etc/cloud/cloud-init.disabled", b"")
    if root.exists("/usr/share/initramfs-tools/scripts/local-bottom/growroot"):
        root.write("/etc/growroot-disabled", b"")
    if root.exists("/etc/rpi"):
        root.write("/etc/rpi/swap.conf", b"[Main]\nMechanism=none\n")


def _read_only(root, kernel_line):
    """The files of deploy/card/root, the overlay's start, and /boot read-only."""
    for path in sorted((HERE / "root").rglob("*")):
        name = "/" + str(path.relative_to(HERE / "root"))
        if path.is_file() and _is_for(root, name):
            root.write(name, path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)
    for name in ("ram", "root"):
        root.mkdir(f"/usr/lib/lancam-card/{name}")
    # A check has nothing to find where nothing is written. Without a clock it would even write: to it all times of the
    # file system are in the future.
    kernel_line.wanted += ["ro", f"init={INIT}", "fsck.mode=skip", "panic=10"]
    lines = root.read("/etc/fstab").decode().splitlines() if root.exists("/etc/fstab") else []
    root.write("/etc/fstab", ("\n".join(_fstab_line(line) for line in lines) + "\n").encode())


def _is_for(root, name):
    """A setting for a program that the image does not have stays away."""
    needed = {"/etc/NetworkManager/": "/usr/sbin/NetworkManager", "/etc/ssh/": "/usr/sbin/sshd", "/etc/systemd/resolved": "/usr/lib/systemd/systemd-resolved"}
    return all(root.exists(program) for start, program in needed.items() if name.startswith(start))


def _fstab_line(line):
    words = line.split()
    if len(words) < 4 or words[0].startswith("#"):
        return line
    if words[2] == "swap":
        return f"# {line}"
    if words[1].startswith("/boot"):
        options = [option for option in words[3].split(",") if option not in ("rw", "ro")]
        return "\t".join([*words[:3], ",".join([*options, "ro"]), *words[4:]])
    return line


def _kernel_command_line(made, kernel_line):
    if made.boot:
        line = made.boot.read("cmdline.txt").decode(errors="replace").strip()
        if "root=" not in line:
            raise Refused("the image's cmdline.txt names no root")
        made.boot_files["cmdline.txt"] = (kernel_line.edit(line) + "\n").encode()
        return
    grub = "/boot/grub/grub.cfg"
    if not made.root.exists(grub):
        raise Refused("the image has neither cmdline.txt nor /boot/grub/grub.cfg, so the read-only root cannot be set up")
    text, count = re.subn(r"^(\s*linux\S*\s+\S+\s+)(.*root=.*)$", lambda found: found[1] + kernel_line.edit(found[2]), made.root.read(grub).decode(), flags=re.M)
    if not count:
        raise Refused(f"{grub} in the image starts no Linux")
    made.root.replace(grub, text.encode())
    wanted = " ".join(kernel_line.wanted)
    made.root.write("/etc/default/grub.d/lancam.cfg", f'# For update-grub.\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {wanted}"\n'.encode())


def _fresh_stamps(root):
    """Newer than /usr, so that systemd does not bring /etc and /var up to date at each start, in vain."""
    for directory in ("/etc", "/var"):
        root.write(f"{directory}/.updated", b"# Written by deploy/flash.\n")
