#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds src/ and include/ against scripts/floors.txt.

Checked: which rooms and libraries a file includes, that private headers stay in their room, and
that no function from the list of banned ones is called. Exits 0, or 1 with one file:line: message
per finding. `--room NAME` looks at one room only; `--root DIR` at another tree.
"""

import argparse
import pathlib
import re
import sys

# Include name -> library in floors.txt. A name that ends in / stands for everything below it.
LIBRARY_HEADERS = {
    "cjson/": "cjson",
    "yaml.h": "yaml",
    "uv.h": "uv",
    "uv/": "uv",
    "openssl/": "openssl",
    "llhttp.h": "llhttp",
    "curl/": "curl",
    "sqlite3.h": "sqlite",
    "llama.h": "llama",
}

LIBC_HEADERS = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
    stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings tgmath time uchar
    wchar wctype endian byteswap malloc alloca sys/types sys/cdefs sanitizer/asan_interface
    sanitizer/lsan_interface sanitizer/tsan_interface immintrin x86intrin emmintrin tmmintrin
    nmmintrin arm_neon
""".split()

# A header that is neither here nor above is refused: add it to the right list, with thought.
POSIX_HEADERS = """
    aio arpa/inet dirent dlfcn execinfo fcntl fnmatch getopt glob grp ifaddrs langinfo libgen
    link linux/errqueue linux/filter linux/futex linux/if_packet linux/limits linux/openat2
    linux/sockios linux/tcp mntent net/if netdb netinet/in netinet/ip netinet/tcp paths poll pthread
    pwd regex resolv sched semaphore spawn sys/auxv sys/epoll sys/eventfd sys/file sys/inotify
    sys/ioctl sys/mman sys/param sys/prctl sys/random sys/resource sys/select sys/sendfile
    sys/signalfd sys/socket sys/stat sys/statfs sys/statvfs sys/syscall sys/sysinfo sys/sysmacros
    sys/time sys/timerfd sys/timex sys/uio sys/un sys/utsname sys/vfs sys/wait sys/xattr syscall
    sysexits syslog termios ucontext unistd utime wait wordexp xlocale
""".split()

# Why each is banned is in docs or obvious: unbounded, not thread-safe, silent about errors, or a
# shell. snprintf, strtol and the _r forms do their work.
BANNED = """
    strcpy strcat sprintf vsprintf strncpy strncat strtok atoi atol atoll atof gets alloca system
    popen rand srand localtime gmtime ctime asctime cJSON_GetObjectItem cJSON_HasObjectItem
""".split()

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
# Comments, strings and character constants, in one pass so that none is found inside another.
LITERALS = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def blank(text, keep_strings):
    """Overwrites comments, and strings too unless kept, with spaces; line numbers stay."""

    def replace(match):
        found = match.group(0)
        if keep_strings and found[0] in "\"'":
            return found
        return re.sub(r"[^\n]", " ", found)

    return LITERALS.sub(replace, text)


class Law:
    def __init__(self, path):
        self.rooms = {}
        self.libraries = {}
        known = {"libc", "posix", *LIBRARY_HEADERS.values()}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            line = line.split("#", 1)[0].strip()
            if not line:
                continue
            match = re.fullmatch(r"([a-z]+):([a-z\s]*)\|([a-z\s]*)", line)
            if not match:
                raise SystemExit(f"{path}:{number}: expected 'room: rooms | libraries', found: {line}")
            room, uses, libraries = match[1], match[2].split(), match[3].split()
            for lower in uses:
                if lower not in self.rooms:
                    raise SystemExit(f"{path}:{number}: {room} may use only rooms above it, "
                                     f"{lower} is not")
            for library in libraries:
                if library not in known:
                    raise SystemExit(f"{path}:{number}: {library} is not in check_floors.py's table")
            self.rooms[room] = set(uses)
            self.libraries[room] = set(libraries)


def library_of(name):
    if name in LIBRARY_HEADERS:
        return LIBRARY_HEADERS[name]
    for prefix, library in LIBRARY_HEADERS.items():
        if prefix.endswith("/") and name.startswith(prefix):
            return library
    stem = name.removesuffix(".h")
    if stem in LIBC_HEADERS:
        return "libc"
    if stem in POSIX_HEADERS:
        return "posix"
    return None


class Checker:
    def __init__(self, root, law):
        self.root = root
        self.law = law
        self.findings = []
        self.files = 0

    def report(self, path, number, text):
        self.findings.append(f"{path.relative_to(self.root)}:{number}: {text}")

    def check_include(self, path, number, room, quoted, name):
        if name == "penstock/version.h":
            return
        parts = name.split("/")
        if parts[0] == "penstock":
            other = parts[1] if len(parts) > 2 else None
            if other not in self.law.rooms:
                self.report(path, number, f"{name}: expected penstock/<room>/<name>.h")
            elif other != room and other not in self.law.rooms[room]:
                self.report(path, number, f"{room} may not use {other} ({name})")
            elif not (self.root / "include" / name).is_file():
                self.report(path, number, f"{name} does not exist")
        elif quoted:
            if (self.root / "include") in path.parents:
                self.report(path, number, f'"{name}": a public header includes public headers only')
                return
            home = self.root / "src" / room
            candidates = [(path.parent / name).resolve(), (home / name).resolve()]
            found = [c for c in candidates if c.is_file()]
            if not found:
                self.report(path, number, f'"{name}" is in neither this folder nor src/{room}')
            elif not found[0].is_relative_to(home.resolve()):
                self.report(path, number, f'"{name}" is private to another room')
        else:
            library = library_of(name)
            if library is None:
                self.report(path, number, f"<{name}> is in no table of check_floors.py")
            elif library not in self.law.libraries[room]:
                self.report(path, number, f"{room} may not use {library} (<{name}>)")

    def check_file(self, path, room):
        self.files += 1
        text = path.read_text(encoding="utf-8", errors="replace")
        code = blank(text, keep_strings=True)
        for match in INCLUDE.finditer(code):
            number = code.count("\n", 0, match.start(2)) + 1
            self.check_include(path, number, room, match[1] == '"', match[2])
        code = blank(text, keep_strings=False)
        for match in BANNED_CALL.finditer(code):
            number = code.count("\n", 0, match.start()) + 1
            self.report(path, number, f"{match[1]} is banned")

    def check_tree(self, top, only_room):
        base = self.root / top
        for path in sorted(base.rglob("*.[ch]")):
            parts = path.relative_to(base).parts
            if path == self.root / "src" / "main.c":
                room = "app"
            elif len(parts) == 1:
                self.report(path, 1, f"lies in no room: expected {path.parent.relative_to(self.root)}/<room>/")
                continue
            else:
                room = parts[0]
            if room not in self.law.rooms:
                self.report(path, 1, f"{room} is not a room of scripts/floors.txt")
            elif only_room in (None, room):
                self.check_file(path, room)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=pathlib.Path, default=here)
    parser.add_argument("--room")
    parser.add_argument("--quiet", action="store_true", help="say nothing when all is well")
    options = parser.parse_args()
    root = options.root.resolve()

    law = Law(root / "scripts" / "floors.txt")
    if options.room is not None and options.room not in law.rooms:
        raise SystemExit(f"{options.room} is not a room of scripts/floors.txt")
    checker = Checker(root, law)
    checker.check_tree("src", options.room)
    checker.check_tree("include/penstock", options.room)
    for finding in checker.findings:
        print(finding)
    if checker.findings:
        return 1
    if not options.quiet:
        print(f"{checker.files} files keep to scripts/floors.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
