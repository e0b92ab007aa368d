#!/usr/bin/env python3
"""Reports the first boot of this system to the lodad that installed it.

Runs as cloud-init vendor data, at every boot until it has been heard once: cloud-init marks what it does once for an
instance as done before it does it, so a power cut would lose the report. It needs nothing but Python's standard
library. The address, the secret and the certificate authority to trust are in loda.json, beside this file on the
partition labelled CIDATA.
"""
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

LIMIT = 600  # seconds of trying
NAME = "loda.json"
STATE = "/var/lib/loda"  # says what was reported


def log(text):
    print("loda: " + text, flush=True)


def settings():
    """Return loda.json from a mounted seed, or from the partition, mounted read-only for a moment."""
    for device in ("/dev/disk/by-label/CIDATA", "/dev/disk/by-partlabel/CIDATA"):
        if os.path.exists(device):
            break
    else:
        found = subprocess.run(["blkid", "-L", "CIDATA"], stdout=subprocess.PIPE, check=False)
        device = found.stdout.decode().strip()
    if not device:
        raise OSError("no partition labelled CIDATA")
    directory = tempfile.mkdtemp(prefix="loda-")
    try:
        subprocess.run(["mount", "-t", "vfat", "-o", "ro,nosuid,nodev,noexec", device, directory], check=True)
        try:
            with open(os.path.join(directory, NAME), encoding="utf-8") as file:
                return json.load(file)
        finally:
            subprocess.run(["umount", directory], check=True)
    finally:
        os.rmdir(directory)


def report(url, secret):
    """What this system says about itself."""
    parts = urllib.parse.urlsplit(url)
    address = ""
    try:
        with socket.socket(socket.AF_INET6 if ":" in (parts.hostname or "") else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect((parts.hostname, parts.port or 443))  # sends nothing: asks the routing table
            address = s.getsockname()[0]
    except OSError:
        pass
    with open("/proc/uptime", encoding="ascii") as file:
        uptime = float(file.read().split()[0])
    return {
        "secret": secret,
        "hostname": socket.gethostname(),
        "address": address,
        "kernel": os.uname().release,
        "uptime": uptime,
    }


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """The secret goes to the server that it was made for, and nowhere else."""

    def redirect_request(self, *args):
        return None


def finish(done, status):
    """Remember that nothing is left to say."""
    os.makedirs(STATE, mode=0o700, exist_ok=True)
    with open(done, "w", encoding="ascii"):
        pass
    return status


def main():
    known = settings()
    done = os.path.join(STATE, "first-boot-" + hashlib.sha256(known["secret"].encode()).hexdigest()[:16])
    if os.path.exists(done):
        return 0
    # Exactly the authority of the seed: none of the system's, and nobody who happens to answer.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=known["ca"])
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), NoRedirect())
    end = time.monotonic() + LIMIT
    wait = 0.5
    last = None
    while time.monotonic() < end:
        for url in known["urls"]:
            if not url.startswith("https://"):
                raise ValueError("refusing to send the secret to " + url)
            body = json.dumps(report(url, known["secret"])).encode()
            request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")
            try:
                with opener.open(request, timeout=15) as response:
                    log("first boot reported to %s: %s" % (url, response.status))
                    return finish(done, 0)
            except urllib.error.HTTPError as error:
                with error:
                    text = error.read(500).decode(errors="replace")
                problem = "%s: %s %s" % (url, error.code, text)
                if error.code in (400, 401, 403, 409, 410, 422):
                    log("first boot refused by " + problem)
                    return finish(done, 1)
            except (OSError, ValueError) as error:
                problem = "%s: %s" % (url, error)
            if problem != last:
                log("first boot not reported yet: " + problem)
                last = problem
        time.sleep(wait)
        wait = min(wait * 1.7, 15)
    log("first boot could not be reported within %d minutes, again at the next boot: %s" % (LIMIT // 60, last))
    return 1


if __name__ == "__main__":
    sys.exit(main())
