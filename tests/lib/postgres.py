"""postgres.py - a PostgreSQL of the tests' own, where one is installed."""
import glob
import os
import random
import shutil
import subprocess


class Server:
    """A PostgreSQL of its own; it refuses to run as root."""

    def __init__(self, home):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        self.bin = os.path.dirname(found[-1]) if found else None
        self.home = home
        self.port = 20000 + random.randrange(5000) + os.getpid() % 5000
        self.user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self.lacks = None if self.bin else "PostgreSQL is not installed: tools/setup"
        if self.bin:
            self.make()

    def run(self, program, *args, stdin=None):
        return subprocess.run(self.user + [os.path.join(self.bin, program), *args], text=True, input=stdin,
                              capture_output=True, timeout=120, cwd="/tmp")

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
        p = self.run("pg_ctl", "-D", self.home + "/data", "-w", "-l", self.home + "/log", "-o",
                     "-p %d -c listen_addresses=127.0.0.1 -k %s" % (self.port, self.home), "start")
        return p.returncode == 0

    def stop(self, how="immediate"):
        if self.bin:
            self.run("pg_ctl", "-D", self.home + "/data", "-w", "-m", how, "stop")

    def psql(self, base, sql):
        return self.run("psql", "-h", self.home, "-p", str(self.port), "-d", base, "-At", "-c", sql,
                        *(() if self.user else ("-U", "postgres")))
