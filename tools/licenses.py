"""`make licenses`: THIRD-PARTY-LICENSES, the licenses of what is linked into the module.

    .venv/bin/python tools/licenses.py [--check]

Each text is from the package itself. If a package lets its user choose, the choice is MIT, or else Apache-2.0.
`make lint` checks that the file is current. It has no versions, so that an update of a package changes it only if a
license changes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from cargo import TARGET, linked, metadata

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "THIRD-PARTY-LICENSES"
# The names of the files that have a license, the preferred one first.
FILES = {
    "MIT": ("LICENSE-MIT", "LICENSE-MIT.txt", "LICENSE", "LICENSE.txt", "LICENSE.md"),
    "Apache-2.0": ("LICENSE-APACHE", "LICENSE"),
    "BSD-3-Clause": ("LICENSE",),
    "Zlib": ("LICENSE",),
}
# Words that the text of a license has.
WORDS = {
    "MIT": "Permission is hereby granted, free of charge",
    "Apache-2.0": "Apache License",
    "BSD-3-Clause": "Redistributions in binary form",
    "Zlib": "This software is provided 'as-is'",
}
# Files of which Apache-2.0 says that they go with the code (section 4d).
NOTICES = ("NOTICE", "NOTICE.txt", "NOTICE.md")
# Rust's standard library is linked too, and with it a C library. Neither is a package of cargo.
OF_THE_COMPILER = {
    "std, the standard library of Rust": "Apache-2.0",
    "wasi-libc, the C library beneath it": "Apache-2.0",
}
# Parts of wasi-libc, and of the mathematical functions of the standard library.
MUSL = """Copyright © 2005-2020 Rich Felker, et al.

Permission is hereby granted, free of charge, to any person obtaining
a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including
without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be
included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND,
EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.
IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT,
TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""
LINE = "-" * 80


class NoLicense(Exception):
    """A package has no license that is known here. The text says which."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only check that the file is current")
    wanted = parser.parse_args()
    try:
        text = document()
    except (NoLicense, OSError, subprocess.CalledProcessError) as error:
        print(f"licenses: {error}", file=sys.stderr)
        return 1
    if not wanted.check:
        FILE.write_text(text, encoding="utf-8")
        print(f"licenses: {FILE.relative_to(ROOT)}, {len(text)} characters")
    elif not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
        print(f"licenses: {FILE.relative_to(ROOT)} is not current; run: make licenses", file=sys.stderr)
        return 1
    return 0


def document() -> str:
    """The texts, and above each the packages that have it."""
    folders = {
        (each["name"], each["version"]): Path(each["manifest_path"]).parent
        for each in metadata("--filter-platform", TARGET)["packages"]
    }
    packages = {key: each for key, each in linked().packages.items() if each.is_of_registry}
    # The full text, for what has no file: it is the same for all.
    apache = next(read(folders[key] / "LICENSE") for key, each in packages.items() if each.license == "Apache-2.0")
    users: dict[tuple[str, str], set[str]] = {("MIT", MUSL): {"musl, in parts of wasi-libc and std"}}
    for key, package in packages.items():
        name, text = license_of(package.license or "", folders[key]) or ("Apache-2.0", apache)
        users.setdefault((name, text), set()).add(package.name)
        for notice in notices(folders[key]):
            users.setdefault((f"{name}, notice", notice), set()).add(package.name)
    for name, license_name in OF_THE_COMPILER.items():
        users[license_name, apache].add(name)
    parts = [
        "oauth2-session-filter contains the packages below. Its own license is in LICENSE.\n\n"
        "A package that gives a choice is used under the license that is named here.\n"
    ]
    for (name, text), of in sorted(users.items(), key=lambda each: (each[0][0], sorted(each[1]))):
        parts.append(f"{LINE}\n{name}: {'; '.join(sorted(of))}\n{LINE}\n\n{text}\n")
    return "\n".join(parts)


def license_of(expression: str, folder: Path) -> tuple[str, str] | None:
    """The license that is chosen, and its text in the package; nothing for Apache-2.0 without a file."""
    choices = re.split(r"\s+OR\s+|\s*/\s*", expression)
    for choice, files in FILES.items():
        if choice in choices:
            for file in files:
                if (folder / file).is_file() and WORDS[choice] in (text := read(folder / file)):
                    return choice, text
    if "Apache-2.0" in choices:
        return None
    raise NoLicense(f"{folder.name} has no file with a license that is known here: {expression or 'it names none'}")


def notices(folder: Path) -> list[str]:
    return [read(folder / name) for name in NOTICES if (folder / name).is_file()]


def read(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")


if __name__ == "__main__":
    sys.exit(main())
