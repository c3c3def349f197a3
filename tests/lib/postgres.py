"""postgres.py - a PostgreSQL of a test's own: started, stopped, killed with all its processes."""
import contextlib
import glob
import os
import random
import shutil
import signal
import subprocess
import time


def runs(pid):
    """Not of one that ended and that nobody has waited for."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Server:
    """On 127.0.0.1, in a folder; it refuses to run as root.  `lacks`: why there is none, or None.
    `env`: more of its environment (LD_PRELOAD)."""

    def __init__(self, home, seed=None, env=None):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        self.bin = os.path.dirname(found[-1]) if found else None
        self.home = home
        self.env = dict(os.environ, **(env or {}))
        self.port = 20000 + random.Random(seed).randrange(5000) + os.getpid() % 5000
        self.p = None
        self.user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self.lacks = None if self.bin else "PostgreSQL is not installed: tools/setup"
        if self.bin:
            self.make()

    def run(self, program, *args, stdin=None):
        return subprocess.run(self.user + [os.path.join(self.bin, program), *args], text=True, input=stdin,
                              capture_output=True, timeout=120, cwd="/tmp", env=self.env)

    def make(self):
        os.mkdir(self.home)
        if self.user:
            shutil.chown(self.home, "postgres")
        p = self.run("initdb", "-D", self.home + "/data", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        if p.returncode or not self.start():
            self.lacks = "PostgreSQL does not start here: " + p.stderr[-200:]
            return
        self.psql("postgres", "CREATE ROLE croft LOGIN SUPERUSER PASSWORD 'pass word'")

    def start(self):
        """As our child: killed, it is gone, where pg_ctl's would stay as a zombie that seems to run."""
        with open(self.home + "/log", "ab") as log:
            self.p = subprocess.Popen(self.user + [self.bin + "/postgres", "-D", self.home + "/data", "-p", str(self.port),
                                                   "-k", self.home, "-c", "listen_addresses=127.0.0.1"],
                                      stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, cwd="/tmp",
                                      start_new_session=True)
        end = time.monotonic() + 60
        while time.monotonic() < end and self.p.poll() is None:
            if self.psql("postgres", "SELECT 1").returncode == 0:
                return True
            time.sleep(0.05)
        return False

    def stop(self, how="immediate"):
        if self.bin and self.p:
            self.run("pg_ctl", "-D", self.home + "/data", "-w", "-m", how, "stop")
            self.p.wait(60)

    def processes(self):
        """The postmaster and what it began."""
        try:
            with open(self.home + "/data/postmaster.pid") as f:
                first = int(f.readline())
            with open("/proc/%d/task/%d/children" % (first, first)) as f:
                return [first] + [int(p) for p in f.read().split()]
        except (OSError, ValueError):
            return []

    def signal(self, how):
        """To all of them; SIGKILL: until none is left."""
        all_of_it = self.processes()
        for p in all_of_it:
            with contextlib.suppress(ProcessLookupError):
                os.kill(p, how)
        if how == signal.SIGCONT:
            self.p.send_signal(how)     # runuser stops with what it runs
        while how == signal.SIGKILL and (any(map(runs, all_of_it)) or self.p.poll() is None):
            time.sleep(0.01)

    def psql(self, base, sql):
        return self.run("psql", "-h", self.home, "-p", str(self.port), "-d", base, "-At", "-c", sql,
                        *(() if self.user else ("-U", "postgres")))

    def url(self, base):
        return "postgres://croft:pass%%20word@127.0.0.1:%d/%s" % (self.port, base)
