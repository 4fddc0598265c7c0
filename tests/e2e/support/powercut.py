# SPDX-License-Identifier: Apache-2.0
"""What a power cut leaves: replays a log of tests/support/faultfs up to any record and makes the folder
as the disk may hold it.

A disk keeps what was synced: bytes of a file by a sync of the file, names in a folder by a sync of the
folder. What was not may be there or not. `rebuild` makes the strict folder (nothing else is there), or
with a `random.Random` one of the others: some of the changed names, in their order, and any of the
4 KiB sectors of the writes that were never synced. A sync that failed proves nothing: the kernel may
have dropped the pages and call the next sync a success, so what was waiting then is never taken for
synced.

As a program: powercut.py LOG ROOT TARGET [RECORD [SEED]]
"""

import os
import random
import struct
import sys

HEADER = struct.Struct("<IBBHIIQQ")
MAGIC = 0x31534646
CREATE, WRITE, TRUNCATE, SYNC, SYNC_FOLDER, RENAME, UNLINK, MKDIR, RMDIR, SAID = range(1, 11)
SECTOR = 4096


class Record:
    __slots__ = ("kind", "ok", "path", "path2", "inode", "offset", "data")

    def __init__(self, kind, ok, path, path2, inode, offset, data):
        self.kind, self.ok, self.path, self.path2 = kind, ok, path, path2
        self.inode, self.offset, self.data = inode, offset, data


def read_log(path):
    with open(path, "rb") as file:
        log = file.read()
    records = []
    at = 0
    while at < len(log):
        magic, kind, ok, path_len, path2_len, data_len, inode, offset = HEADER.unpack_from(log, at)
        assert magic == MAGIC, f"no record at {at}"
        at += HEADER.size
        parts = []
        for length in (path_len, path2_len, data_len):
            parts.append(log[at:at + length])
            at += length
        records.append(Record(kind, bool(ok), parts[0].decode(), parts[1].decode(), inode, offset,
                              parts[2]))
    return records


def said(records, end=None):
    """What the program had written to its standard output by then."""
    return b"".join(record.data for record in records[:end] if record.kind == SAID)


class File:
    """Its writes in order; those before `synced` are on disk unless they are in `lost`."""

    def __init__(self):
        self.writes = []  # (offset, data), or (length, None): truncated
        self.synced = 0
        self.lost = set()

    def sync(self, ok):
        if not ok:
            self.lost.update(range(self.synced, len(self.writes)))
        self.synced = len(self.writes)

    def content(self, chance):
        content = bytearray()
        share = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0)) if chance else 0.0
        for number, (offset, data) in enumerate(self.writes):
            sure = number < self.synced and number not in self.lost
            if data is None:
                if sure or (chance and chance.random() < share):
                    del content[offset:]
                    content.extend(bytes(offset - len(content)))
                continue
            for begin, piece in self._sectors(offset, data, whole=sure):
                if sure or (chance and chance.random() < share):
                    if begin > len(content):
                        content.extend(bytes(begin - len(content)))
                    content[begin:begin + len(piece)] = piece
        return bytes(content)

    @staticmethod
    def _sectors(offset, data, whole):
        if whole:
            yield offset, data
            return
        at = 0
        while at < len(data):
            end = min(len(data), at + SECTOR - (offset + at) % SECTOR)
            yield offset + at, data[at:end]
            at = end


class Change:
    """Of names: made durable by a sync of one of its folders."""

    def __init__(self, kind, path, path2=None, file=None):
        self.kind, self.path, self.path2, self.file = kind, path, path2, file
        self.durable = False

    def folders(self):
        return {os.path.dirname(path) for path in (self.path, self.path2) if path}

    def apply(self, names):
        """`names`: path → File, or None for a folder. Where the folder is missing, so is the name."""
        if self.kind in (CREATE, MKDIR):
            if os.path.dirname(self.path) in names and self.path not in names:
                names[self.path] = self.file
        elif self.kind == RENAME:
            names.pop(self.path, None)
            if os.path.dirname(self.path2) in names:
                names[self.path2] = self.file
        else:
            names.pop(self.path, None)


class Disk:
    def __init__(self, root):
        self.root = os.path.normpath(root)
        self.inodes = {}  # inode → File
        self.now = {}  # path → File, as the program sees it
        self.changes = []

    def play(self, record):
        kind = record.kind
        path = os.path.normpath(record.path) if record.path else None
        path2 = os.path.normpath(record.path2) if record.path2 else None
        if kind == CREATE:
            file = self.inodes[record.inode] = self.now[path] = File()
            self.changes.append(Change(kind, path, file=file))
        elif kind == RENAME:
            file = self.now.pop(path)
            self.now[path2] = file
            self.changes.append(Change(kind, path, path2, file))
        elif kind in (UNLINK, MKDIR, RMDIR):
            self.now.pop(path, None)
            self.changes.append(Change(kind, path))
        elif kind == WRITE:
            self.inodes[record.inode].writes.append((record.offset, record.data))
        elif kind == TRUNCATE:
            self.inodes[record.inode].writes.append((record.offset, None))
        elif kind == SYNC:
            self.inodes[record.inode].sync(record.ok)
        elif kind == SYNC_FOLDER and record.ok:
            for change in self.changes:
                if path in change.folders():
                    change.durable = True

    def rebuild(self, target, chance=None):
        """Makes the folder at `target`, which must not exist."""
        names = {self.root: None}
        reached = chance.randint(0, len(self.changes)) if chance else 0
        for number, change in enumerate(self.changes):
            if change.durable or number < reached:
                change.apply(names)
        os.makedirs(target)
        for path in sorted(names):
            place = os.path.join(target, os.path.relpath(path, self.root))
            if names[path] is None:
                os.makedirs(place, exist_ok=True)
            elif os.path.dirname(path) in names:
                with open(place, "wb") as file:
                    file.write(names[path].content(chance))


def rebuild(records, root, target, end=None, chance=None):
    disk = Disk(root)
    for record in records[:end]:
        disk.play(record)
    disk.rebuild(target, chance)


def main():
    log, root, target = sys.argv[1:4]
    end = int(sys.argv[4]) if len(sys.argv) > 4 else None
    chance = random.Random(int(sys.argv[5])) if len(sys.argv) > 5 else None
    rebuild(read_log(log), root, target, end, chance)


if __name__ == "__main__":
    main()
