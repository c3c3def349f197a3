"""key.py - `croft key` as a person uses it: made, shown once, listed, changed, revoked, several at once; in a
key file, and in the ledger of a gateway."""
import json
import os
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

HOME = tempfile.TemporaryDirectory(prefix="croft-key-")
FILE = os.path.join(HOME.name, "conf", "croft", "keys.json")
ENV = dict(os.environ, XDG_CONFIG_HOME=os.path.join(HOME.name, "conf"))
ENV.pop("CROFT_KEY_FILE", None)


def key(*args, stdin=""):
    return subprocess.run([croft.CROFT, "key", *args], input=stdin, capture_output=True, text=True,
                          env=ENV, timeout=60)


def refused(p, status, code, name):
    check(p.returncode == status and "[E-%s]" % code in p.stderr and not p.stdout, name,
          "%d %r %r" % (p.returncode, p.stdout, p.stderr))


def listed():
    return {k["id"]: k for k in json.loads(key("list", "--json").stdout)}


def made():
    refused(key("list"), 3, "FILE-21", "a file that is not there")
    check(not os.path.exists(FILE), "listing makes no file")
    p = key("add", "laptop", "--expires", "2099-01-31", "--rpm", "60")
    token = p.stdout.strip()
    check(p.returncode == 0 and token.startswith("croft_laptop_") and "once" in p.stderr
          and token not in p.stderr, "a key is printed on standard output", p.stderr)
    secret = token.rsplit("_", 1)[1]
    with open(FILE) as f:
        text = f.read()
    check(len(secret) == 64 and secret not in text, "the file does not hold the secret")
    check(stat.S_IMODE(os.stat(FILE).st_mode) == 0o600, "the file is its owner's")
    check(listed()["laptop"] == {
        "id": "laptop", "state": "valid", "scopes": ["infer"], "group": None,
        "created": listed()["laptop"]["created"], "expires": "2099-01-31T00:00:00Z",
        "requests_per_minute": 60, "tokens_per_minute": None, "in_flight": None}, "what is listed",
        str(listed()))
    check("laptop" in key("list").stdout and "requests/min 60" in key("list").stdout, "as text")
    p = key("add", "--json", "-q", "--scope", "metrics", "--scope", "admin", "--group", "team")
    other = json.loads(p.stdout)
    check(p.stderr == "" and listed()[other["id"]]["scopes"] == ["metrics", "admin"]
          and listed()[other["id"]]["group"] == "team", "an id is chosen, scopes add up", p.stderr)
    return token, other["key"]


def checked(token, other):
    p = key("check", stdin=token + "\n")
    check((p.returncode, p.stdout) == (0, "laptop\n"), "check names the key", p.stderr)
    refused(key("check", stdin=token[:-1] + ("0" if token[-1] != "0" else "1")), 1, "KEY-10",
            "another secret")
    refused(key("check", stdin=token.replace("laptop", "other")), 1, "KEY-10", "another id")
    refused(key("check", stdin=""), 1, "KEY-10", "no key")
    check(key("check", stdin=other).returncode == 0, "the other key")


def changed(token):
    check(key("set", "laptop", "--rpm", "0", "--in-flight", "3").returncode == 0, "set")
    now = listed()["laptop"]
    check(now["requests_per_minute"] is None and now["in_flight"] == 3
          and now["expires"] == "2099-01-31T00:00:00Z", "only what was said changes", str(now))
    check(key("check", stdin=token).returncode == 0, "the secret stays")
    check(key("set", "laptop", "--expires", "2020-01-01").returncode == 0
          and listed()["laptop"]["state"] == "expired", "a key can end")
    check("expired" in key("check", stdin=token).stderr, "and is refused")
    check(key("set", "laptop", "--expires", "never").returncode == 0
          and key("check", stdin=token).returncode == 0, "and be valid again")
    check(key("revoke", "laptop").returncode == 0 and listed()["laptop"]["state"] == "revoked",
          "revoke")
    check("revoked" in key("check", stdin=token).stderr, "a revoked key is refused")
    refused(key("add", "laptop"), 2, "KEYS-08", "its id stays taken")
    fresh = key("renew", "laptop").stdout.strip()
    check(fresh != token and key("check", stdin=fresh).stdout == "laptop\n"
          and key("check", stdin=token).returncode == 1, "renew: the new secret alone")
    check(key("remove", "laptop").returncode == 0 and "laptop" not in listed(), "remove")


def wrong():
    refused(key("frobnicate"), 2, "KEY-11", "an action there is not")
    refused(key("revoke"), 2, "KEY-06", "no id")
    refused(key("revoke", "nobody"), 2, "KEY-07", "an unknown id")
    refused(key("add", "No_Good"), 2, "KEYS-07", "an id of other letters")
    refused(key("add", "x", "--scope", "everything"), 2, "KEY-04", "an unknown scope")
    refused(key("add", "x", "--expires", "soon"), 2, "KEY-03", "a time that is none")
    refused(key("add", "x", "--group", "A B"), 2, "KEY-05", "a group of other letters")
    refused(key("add", "x", "--key-file", os.path.join(HOME.name, "no/keys")), 3, "KEYS-03",
            "a folder that is not there")
    os.chmod(FILE, 0o602)
    refused(key("list"), 2, "KEYS-15", "a file others may write to")
    os.chmod(FILE, 0o600)
    check("x" not in listed(), "a refused key is not kept")


def at_once():
    """Each of these reads, changes and writes the file: none is lost."""
    before = set(listed())
    many = [subprocess.Popen([croft.CROFT, "key", "add", "-q", "many%d" % i], env=ENV,
                             stdout=subprocess.DEVNULL) for i in range(12)]
    check(all(p.wait() == 0 for p in many), "twelve at once")
    check(set(listed()) - before == {"many%d" % i for i in range(12)}, "all twelve are there",
          str(set(listed()) - before))
    check(sorted(os.listdir(os.path.dirname(FILE))) == ["keys.json", "keys.json.lock"],
          "nothing is left over", str(os.listdir(os.path.dirname(FILE))))


CONFIG = """
listen: {address: 127.0.0.1:4010}
state: {folder: %(home)s}
ledger: {url: 'sqlite:%(home)s/ledger.db'}
upstreams:
  - {name: own, dialect: chat, url: 'http://127.0.0.1:1/v1'}
models:
  - {name: near, upstream: own, aliases: [a]}
groups:
  - {name: best, members: [{model: near}]}
labels:
  - {name: personal}
teams:
  - {name: research, keys: [ci]}
  - {name: sales}
"""


def in_a_ledger():
    config = os.path.join(HOME.name, "croft.yaml")
    with open(config, "w") as f:
        f.write(CONFIG % {"home": HOME.name})

    def ledger(*args, stdin=""):
        return key(*args, "--config", config, stdin=stdin)

    def rows():
        return {k["id"]: k for k in json.loads(ledger("list", "--json").stdout)}

    refused(ledger("list"), 3, "SQLITE-09", "a ledger that is not there")
    p = ledger("create", "laptop", "--team", "sales", "--models", "best", "--models", "a", "--label",
               "personal", "--tag", "red", "--tag", "blue", "--expires", "2099-01-31")
    token = p.stdout.strip()
    check(p.returncode == 0 and token.startswith("croft_laptop_") and token not in p.stderr, "made in a ledger",
          p.stderr)
    check(rows()["laptop"] == {
        "id": "laptop", "state": "valid", "scopes": ["infer"], "created": rows()["laptop"]["created"],
        "expires": "2099-01-31T00:00:00Z", "team": "sales", "models": ["best", "a"], "labels": ["personal"],
        "tags": ["red", "blue"]}, "what is listed of it", str(rows()))
    check("team sales, models best a, labels personal, tags red blue" in ledger("list").stdout, "as text",
          ledger("list").stdout)
    with open(os.path.join(HOME.name, "ledger.db"), "rb") as f:
        check(token.rsplit("_", 1)[1].encode() not in f.read(), "the ledger does not hold the secret")
    check(ledger("check", stdin=token).stdout == "laptop\n" and key("check", stdin=token).returncode == 1,
          "a key of the ledger is not one of the file")
    check(ledger("set", "laptop", "--models", "", "--label", "", "--team", "", "--tag", "").returncode == 0
          and rows()["laptop"]["models"] is None and rows()["laptop"]["labels"] == []
          and rows()["laptop"]["team"] is None and rows()["laptop"]["tags"] == [], "lists are emptied",
          str(rows()))
    check(ledger("set", "laptop", "--label", "personal").returncode == 0
          and rows()["laptop"]["expires"] == "2099-01-31T00:00:00Z", "only what was said changes")
    check(ledger("revoke", "laptop").returncode == 0 and rows()["laptop"]["state"] == "revoked"
          and rows()["laptop"]["labels"] == ["personal"], "revoke leaves the rest", str(rows()))
    check("revoked" in ledger("check", stdin=token).stderr, "a revoked key is refused")
    fresh = ledger("renew", "laptop").stdout.strip()
    check(ledger("check", stdin=fresh).returncode == 0 and ledger("check", stdin=token).returncode == 1, "renew")
    refused(ledger("add", "laptop"), 2, "KEYS-08", "an id that is taken")
    refused(ledger("add", "x", "--team", "nobody"), 2, "KEY-15", "a team that is not")
    refused(ledger("add", "ci", "--team", "sales"), 2, "KEY-15", "a key that another team lists")
    refused(ledger("add", "x", "--models", "gpt"), 2, "KEY-13", "a model that is not")
    refused(ledger("add", "x", "--label", "secret"), 2, "KEY-14", "a label that is not")
    refused(ledger("add", "x", "--tag", "a b"), 2, "KEY-16", "a tag with a space")
    refused(ledger("add", "x", "--rpm", "3"), 2, "KEY-17", "a limit is a budget's")
    refused(key("add", "x", "--team", "sales"), 2, "KEY-19", "a team in a key file")
    refused(ledger("add", "x", "--key-file", FILE), 2, "KEY-12", "two places")
    refused(ledger("remove", "nobody"), 2, "KEY-07", "an unknown id")
    many = [subprocess.Popen([croft.CROFT, "key", "add", "-q", "m%d" % i, "-c", config], env=ENV,
                             stdout=subprocess.DEVNULL) for i in range(8)]
    check(all(p.wait() == 0 for p in many) and len(rows()) == 9, "eight at once", str(sorted(rows())))
    check(ledger("remove", "laptop").returncode == 0 and "laptop" not in rows(), "remove")
    check(ledger("check", stdin=fresh).returncode == 1, "and its secret is nobody's")


def main():
    token, other = made()
    checked(token, other)
    changed(token)
    wrong()
    at_once()
    in_a_ledger()
    HOME.cleanup()
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
