# label: long
"""The Debian package in a fresh system: installs, runs a node, is removed, and leaves nothing when purged."""
import base64
import glob
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import unittest
import urllib.request

from weirlib import BINARY, SANITIZED, SKIP, free_port, main, wait_for

BUILD = os.path.dirname(os.path.abspath(BINARY))
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
UNIT = "usr/lib/systemd/system/weir.service"


def reason_to_skip():
    if os.geteuid() != 0:
        return "not root: no chroot"
    for tool in ("debootstrap", "cpack", "dpkg-shlibdeps"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if SANITIZED or not os.path.exists(f"{BUILD}/CPackConfig.cmake"):
        return "the build is not one to package"
    return None


def release():
    """(distribution, code name) of this machine, which the binary is built for."""
    with open("/etc/os-release") as file:
        facts = dict(re.findall(r'^(\w+)="?([^"\n]*)', file.read(), re.M))
    return facts["ID"], facts["VERSION_CODENAME"]


def mirror(codename):
    """The one that apt uses here."""
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)"], capture_output=True, text=True).stdout
    found = re.findall(rf"^{codename} (http\S+)", targets, re.M)
    return found[0] if found else None


class Package(unittest.TestCase):
    """The steps of one life, in order."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp(prefix="weir-package-")
        cls.root = f"{cls.scratch}/root"
        cls.processes = []
        cls.addClassCleanup(cls.clean_up)
        with open(f"{cls.scratch}/cpack.log", "w+") as log:
            code = subprocess.run(["cpack", "--config", f"{BUILD}/CPackConfig.cmake", "-B", cls.scratch], stdout=log, stderr=log).returncode
            log.seek(0)
            assert code == 0, log.read()
        cls.make_root()
        shutil.copy(glob.glob(f"{cls.scratch}/weir_*.deb")[0], f"{cls.root}/root/weir.deb")

    @classmethod
    def make_root(cls):
        distribution, codename = release()
        site = mirror(codename)
        with open(f"{cls.scratch}/debootstrap.log", "w+") as log:
            made = site and subprocess.run(
                ["debootstrap", "--variant=minbase", f"--components={'main,universe' if distribution == 'ubuntu' else 'main'}",
                 codename, cls.root, site], stdout=log, stderr=log).returncode == 0
            log.seek(0)
            if not made:
                print(f"skipped: no {codename} to install into: {log.read()[-500:]}")
                cls.clean_up()
                sys.exit(SKIP)
        subprocess.run(["mount", "-t", "proc", "proc", f"{cls.root}/proc"], check=True)
        os.mknod(f"{cls.root}/dev/fuse", 0o600 | stat.S_IFCHR, os.makedev(10, 229))

    @classmethod
    def clean_up(cls):
        for process in cls.processes:
            process.terminate()  # a machine shuts down at that; one that is killed may write for a moment more
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        with open("/proc/self/mountinfo") as mounts:
            points = [line.split()[4] for line in mounts if line.split()[4].startswith(cls.scratch)]
        for point in reversed(points):
            subprocess.run(["umount", "--lazy", point], check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", cls.scratch], check=False)

    # ---- inside ----

    def chroot(self, *args, code=0, **env):
        full = {"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", **env}
        result = subprocess.run(["chroot", self.root, *args], env=full, capture_output=True, text=True, timeout=600)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def install(self):
        return self.chroot("apt-get", "install", "-y", "-q", "--no-install-recommends", "/root/weir.deb")

    def path(self, inside):
        return os.path.join(self.root, inside)

    def read(self, inside):
        with open(self.path(inside)) as file:
            return file.read()

    def mounts(self):
        with open("/proc/self/mountinfo") as mounts:
            return [line.split()[4] for line in mounts if " fuse.weir " in line and self.root in line]

    def unit_env(self):
        """The environment that the unit gives."""
        env = dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^Environment=(.*)", self.read(UNIT), re.M))))
        for name in re.findall(r"^EnvironmentFile=-/(.*)", self.read(UNIT), re.M):
            env.update(re.findall(r"^(\w+)=(.*)$", self.read(name), re.M))
        return {**env, "NOTIFY_SOCKET": "/run/notify", "PATH": PATH}

    def choose_port(self):
        """As a person sets it: the default one may be in use on this machine."""
        with open(self.path("etc/weir/weir.env"), "a") as file:
            file.write(f"ZO_HTTP_PORT={free_port()}\n")

    def start(self):
        """What systemd does with ExecStart, until READY=1."""
        command = re.search(r"^ExecStart=(.*)", self.read(UNIT), re.M).group(1).split()
        os.path.exists(self.path("run/notify")) and os.unlink(self.path("run/notify"))
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(self.path("run/notify"))
        self.manager.settimeout(60)
        os.makedirs(self.path("var/lib/weir"), mode=0o711, exist_ok=True)  # StateDirectory=
        log = open(f"{self.scratch}/node.log", "ab")
        self.addCleanup(log.close)
        process = subprocess.Popen(["/usr/sbin/chroot", self.root, *command], env=self.unit_env(), stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        self.assertIn(b"READY=1", self.manager.recv(4096))
        return process

    def ingest(self, records):
        env = self.unit_env()
        auth = base64.b64encode(f"{env['ZO_ROOT_USER_EMAIL']}:{env['ZO_ROOT_USER_PASSWORD']}".encode()).decode()
        request = urllib.request.Request(f"http://127.0.0.1:{env['ZO_HTTP_PORT']}/api/default/app/_json",
                                         json.dumps(records).encode(), {"Authorization": f"Basic {auth}"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            self.assertEqual(json.loads(reply.read())["status"][0]["successful"], len(records))

    def count(self):
        return json.loads(self.chroot("weir", "query", "SELECT count(*) AS n FROM app", **self.unit_env()))["n"]

    def left(self):
        """Everything of ours, by name."""
        found = subprocess.run(["find", self.root, "-xdev", "-name", "*weir*"], capture_output=True, text=True, check=True).stdout
        return [p for p in found.split("\n") if p and p != f"{self.root}/root/weir.deb"]

    # ---- the life ----

    def test_1_it_installs_all_there_is_to_it(self):
        out = self.install()
        self.assertIn("/etc/weir/root.env", out)
        self.assertEqual(self.chroot("weir", "--version").split()[0], "weir")
        self.assertIn("/lib/weir/libduckdb.so", self.chroot("ldd", "/usr/bin/weir"))
        for name in ("usr/share/man/man1/weir.1.gz", "usr/share/man/man1/weir-mount.1.gz", UNIT,
                     "usr/share/bash-completion/completions/weir", "usr/share/zsh/vendor-completions/_weir", "usr/share/doc/weir/copyright"):
            self.assertEqual(stat.S_IMODE(os.stat(self.path(name)).st_mode), 0o644, name)
        for name in ("etc/weir/root.env", "etc/weir/weir.env"):
            self.assertEqual(stat.S_IMODE(os.stat(self.path(name)).st_mode), 0o600, name)
        self.assertRegex(self.read("etc/weir/root.env"), r"(?m)^ZO_ROOT_USER_PASSWORD=\w{20}$")
        self.assertEqual(glob.glob(self.path("etc/systemd/system/*/weir.service")), [], "no systemd runs here")
        commands = re.findall(r"^  (\w+) ", self.chroot("weir", "--help"), re.M)
        self.assertEqual({f"weir-{c}.1.gz" for c in commands} | {"weir.1.gz"}, set(os.listdir(self.path("usr/share/man/man1"))) &
                         {n for n in os.listdir(self.path("usr/share/man/man1")) if n.startswith("weir")})

    def test_2_a_node_runs_by_the_unit_and_a_removal_stops_it_and_keeps_the_data(self):
        self.choose_port()
        node = self.start()
        self.ingest([{"n": i} for i in range(100)])
        self.assertEqual(self.count(), 100)
        self.assertEqual(self.mounts(), [self.path("var/lib/weir/mnt")])
        self.assertIn("100", self.chroot("weir", "ls", **self.unit_env()))
        out = self.chroot("apt-get", "remove", "-y", "-q", "weir")
        self.assertIn(f"process {node.pid}", out)
        self.assertEqual(node.wait(timeout=60), 0)
        self.assertIn(b"STOPPING=1", self.manager.recv(4096))
        self.assertEqual(self.mounts(), [])
        self.assertFalse(os.path.exists(self.path("usr/bin/weir")))
        self.assertFalse(os.path.exists(self.path("usr/lib/weir")))
        self.assertTrue(glob.glob(self.path("var/lib/weir/journal/*.wal")))
        self.assertIn("ZO_HTTP_PORT", self.read("etc/weir/weir.env"))

    def test_3_it_comes_back_with_its_data_settings_and_password(self):
        before = self.read("etc/weir/root.env")
        self.install()
        self.assertEqual(self.read("etc/weir/root.env"), before)
        node = self.start()
        self.assertEqual(self.count(), 100)
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()
        wait_for(self.mounts, what="a dead mount")

    def test_4_a_purge_leaves_what_is_mounted_below_its_data(self):
        os.mkdir(self.path("var/lib/weir/other"))
        subprocess.run(["mount", "-t", "tmpfs", "none", self.path("var/lib/weir/other")], check=True)
        with open(self.path("var/lib/weir/other/precious"), "w"):
            pass
        out = self.chroot("apt-get", "purge", "-y", "-q", "weir")
        self.assertIn("something is mounted on /var/lib/weir/other", out)
        self.assertTrue(os.path.exists(self.path("var/lib/weir/other/precious")))
        self.assertTrue(glob.glob(self.path("var/lib/weir/journal/*.wal")))
        self.assertEqual(self.mounts(), [])
        subprocess.run(["umount", self.path("var/lib/weir/other")], check=True)

    def test_5_a_purge_leaves_nothing(self):
        self.install()
        self.choose_port()
        node = self.start()
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()
        wait_for(self.mounts, what="a dead mount")
        self.chroot("apt-get", "purge", "-y", "-q", "weir")
        self.assertEqual((self.mounts(), self.left()), ([], []))

    def test_6_under_systemd_the_unit_is_enabled_started_restarted_and_sandboxed(self):
        if not shutil.which("systemd-nspawn"):
            self.skipTest("systemd-nspawn is not installed")
        self.chroot("apt-get", "install", "-y", "-q", "--no-install-recommends", "systemd", "systemd-sysv", "dbus", "curl")
        subprocess.run(["umount", self.path("proc")], check=True)
        inside = self.boot()
        inside("dpkg", "-i", "/root/weir.deb")
        self.assertEqual(inside("systemctl", "is-active", "weir"), "active")
        self.assertEqual(inside("systemctl", "is-enabled", "weir"), "enabled")
        self.assertEqual(inside("systemd-analyze", "verify", "--man=no", f"/{UNIT}"), "")
        inside("systemd-analyze", "security", "--no-pager", "--threshold=45", "weir.service")
        self.assertIn("running, mount /var/lib/weir/mnt", inside("systemctl", "show", "--property=StatusText", "weir"))
        script = (". /etc/weir/root.env; export ZO_ROOT_USER_EMAIL ZO_ROOT_USER_PASSWORD; curl -sS "
                  "-u $ZO_ROOT_USER_EMAIL:$ZO_ROOT_USER_PASSWORD http://127.0.0.1:5080/")
        inside("sh", "-c", script + "api/default/app/_json -d '[{\"n\":1}]'")
        self.assertEqual(inside("sh", "-c", script + "node/flush -X PUT"), "true")
        # Seen from outside of the unit, as lines and in SQL.
        self.assertIn('"n":1', inside("sh", "-c", "cat /var/lib/weir/mnt/default/logs/app/text/*/*/*/*/*.ndjson"))
        self.kill_main(inside)
        query = script.split("curl")[0] + "weir query 'SELECT count(*) AS n FROM app'"
        self.assertEqual(inside("sh", "-c", query), '{"n":1}')
        self.kill_fs(inside)
        self.assertEqual(inside("sh", "-c", query), '{"n":1}')
        inside("sh", "-c", "echo ZO_HTTP_PORT=x >> /etc/weir/weir.env")
        inside("systemctl", "restart", "weir", code=1)
        self.assertEqual(inside("systemctl", "show", "--property=ExecMainStatus,NRestarts,ActiveState", "weir").split(),
                         ["NRestarts=0", "ExecMainStatus=78", "ActiveState=failed"])
        self.refuse_start(inside)
        inside("apt-get", "purge", "-y", "-q", "weir")
        self.assertNotIn("fuse.weir", inside("cat", "/proc/self/mountinfo"))
        self.assertEqual(self.left(), [])

    def refuse_start(self, inside):
        """A start that is refused takes nothing away that is another's."""
        inside("sed", "-i", "/^ZO_HTTP_PORT=x/d", "/etc/weir/weir.env")
        inside("mount", "-t", "tmpfs", "none", "/var/lib/weir/mnt")
        inside("touch", "/var/lib/weir/mnt/precious")
        inside("systemctl", "restart", "weir", code=1)
        self.assertEqual(inside("systemctl", "show", "--property=ExecMainStatus", "weir"), "ExecMainStatus=78")
        self.assertEqual(inside("ls", "/var/lib/weir/mnt"), "precious")
        inside("umount", "/var/lib/weir/mnt")
        inside("systemctl", "restart", "weir")
        self.kill_for_good(inside)
        inside("systemctl", "start", "weir")
        self.assertEqual(inside("ls", "/var/lib/weir/mnt/default/logs"), "app")
        inside("systemctl", "stop", "weir")
        self.assertNotIn("fuse.weir", inside("cat", "/proc/self/mountinfo"))

    def kill_for_good(self, inside):
        """Nothing is started again; the dead mount stays."""
        inside("sh", "-c", "mkdir -p /run/systemd/system/weir.service.d && cd /run/systemd/system/weir.service.d && "
               "printf '[Service]\\nRestart=no\\n' > restart.conf && systemctl daemon-reload")
        inside("sh", "-c", "kill -9 $(systemctl show --property=MainPID --value weir)")
        wait_for(lambda: inside("systemctl", "show", "--property=ActiveState", "weir") == "ActiveState=failed", what="the end of the unit")
        self.assertIn("fuse.weir", inside("cat", "/proc/self/mountinfo"))

    def kill_main(self, inside):
        """kill -9: systemd starts it again, on the dead mount."""
        inside("sh", "-c", "kill -9 $(systemctl show --property=MainPID --value weir)")
        wait_for(lambda: "NRestarts=1" in inside("systemctl", "show", "--property=NRestarts", "weir")
                 and inside("systemctl", "show", "--property=ActiveState", "weir") == "ActiveState=active", what="a restart")

    def kill_fs(self, inside):
        """kill -9 of the process that serves the mount: the unit goes on."""
        find = "for p in /proc/[0-9]*; do grep -qx weir-fs $p/comm 2>/dev/null && echo ${p#/proc/}; done; true"
        dead = inside("sh", "-c", find)
        inside("sh", "-c", f"kill -9 {dead}")
        wait_for(lambda: inside("sh", "-c", find) not in ("", dead)
                 and "running, mount" in inside("systemctl", "show", "--property=StatusText", "weir"), what="another fs")
        self.assertIn("NRestarts=1", inside("systemctl", "show", "--property=NRestarts", "weir"))

    def boot(self):
        """Runs commands in the booted system."""
        log = open(f"{self.scratch}/boot.log", "ab")
        self.addCleanup(log.close)
        machine = subprocess.Popen(["systemd-nspawn", "--quiet", "--boot", "--directory", self.root, "--private-network", "--register=no",
                                    "--keep-unit", "--bind=/dev/fuse", "--system-call-filter=@mount", "--console=pipe"],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(machine)

        def leader():
            return subprocess.run(["pgrep", "--parent", str(machine.pid)], capture_output=True, text=True).stdout.strip()

        def run(*args, code=0):
            result = subprocess.run(["nsenter", "--target", leader(), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root",
                                     "--wd=/", "/usr/bin/env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
                                     *args], capture_output=True, text=True, timeout=300)
            if code is not None:
                self.assertEqual(result.returncode, code, (args, result.stdout, result.stderr))
            return result.stdout.strip()

        try:
            wait_for(lambda: machine.poll() is not None or leader() and run("systemctl", "is-system-running", code=None) in ("running", "degraded"),
                     60, "the end of the boot")
            self.assertIsNone(machine.poll())
        except AssertionError:
            with open(f"{self.scratch}/boot.log", errors="replace") as text:
                self.skipTest(f"systemd does not boot in a container here: {text.read()[-500:]}")
        return run


if __name__ == "__main__":
    reason = reason_to_skip()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(SKIP)
    main()
