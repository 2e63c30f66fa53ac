"""Writes what a client in another language needs of the server's messages.

    python -m serving.protocol.bundle FOLDER

FOLDER gets `tensorflow.proto` and `tensorflow_serving.proto` for compilers. It gets `bcl.protoset`, a
FileDescriptorSet, for tools that need no compiler. Names and numbers are TensorFlow Serving's, and so are the bytes on
the wire.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from serving.files.whole_files import write_whole, writing_whole
from serving.protocol.descriptors import FILES

_DEFINITIONS = Path(__file__).parent / "definitions"
#: The files that clients need: each after those that it imports.
SOURCES = ("tensorflow.proto", "tensorflow_serving.proto")
#: The name of the FileDescriptorSet.
PROTOSET = "bcl.protoset"


def descriptor_set() -> bytes:
    """Returns the messages and services as a serialized FileDescriptorSet. It has the files that it imports, too."""
    files = FileDescriptorSet()
    for module in (any_pb2, wrappers_pb2):
        files.file.add().ParseFromString(module.DESCRIPTOR.serialized_pb)
    files.file.extend(file for file in FileDescriptorSet.FromString(FILES).file if file.name in SOURCES)
    return files.SerializeToString(deterministic=True)


def write_bundle(folder: Path) -> list[Path]:
    """Writes the bundle into a folder, which is made if it is missing, and returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        write_whole(folder / name, (_DEFINITIONS / name).read_text(encoding="utf-8"))
    with writing_whole(folder / PROTOSET) as aside:
        aside.write_bytes(descriptor_set())
    return [folder / name for name in (*SOURCES, PROTOSET)]


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the bundle, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serving.protocol.bundle", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder to write; it may be missing")
    try:
        files = write_bundle(parser.parse_args(argv).folder)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: cannot be written; {error.strerror}\n")
        return 2
    sys.stdout.writelines(f"{file}\n" for file in files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
