"""Prints which file beside this one has the packages for this machine and this Python: tfx-1.16 or tfx-1.21.

Where none does, prints one sentence that says what is supported. Any Python from 3.6 on can run it, on any system.
"""

import platform
import struct
import sys

ELSEWHERE = "Elsewhere use the Dockerfile, or WSL on Windows."
SYSTEMS = {"Darwin": "macOS"}


def main():
    """Writes the name of the lane, or the sentence that says what is missing."""
    sys.stdout.write(lane() or sentence())


def lane():
    """Returns the name of the file; nothing where no file fits."""
    if system() or sys.implementation.name != "cpython":
        return None
    # ml-metadata and tensorflow-data-validation of TFX 1.21 need glibc 2.39.
    if glibc() >= (2, 39) and (3, 11) <= sys.version_info < (3, 14):
        return "tfx-1.21"
    return "tfx-1.16" if (3, 10) <= sys.version_info < (3, 12) else None


def sentence():
    """Returns what is supported, and what was found instead."""
    if system():
        return f"expected x86-64 Linux with glibc. Received: {system()}. {ELSEWHERE}"
    pythons = "3.11 to 3.13" if glibc() >= (2, 39) else "3.11 or 3.10"
    found = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    received = f"{found}, beside glibc {'.'.join(map(str, glibc()))}"
    return f"expected Python {pythons}. Received: {received}. Install one and name it: make PYTHON=python3.11"


def system():
    """Returns in words what the machine is, where TFX has no packages for it; nothing where it has."""
    name, machine, bits = platform.system(), platform.machine(), struct.calcsize("P") * 8
    if name != "Linux" or machine.lower() not in ("x86_64", "amd64"):
        return f"{SYSTEMS.get(name, name or 'an unknown system')} on {machine or 'an unknown processor'}"
    if bits != 64:
        return f"a Python of {bits} bits"
    return "" if glibc() else "Linux without glibc, such as Alpine with musl"


def glibc():
    """Returns the version of glibc, empty where Python was built on another C library."""
    name, version = platform.libc_ver()
    numbers = version.split(".")[:2]
    return tuple(map(int, numbers)) if name == "glibc" and all(map(str.isdigit, numbers)) else ()


if __name__ == "__main__":
    main()
