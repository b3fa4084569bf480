"""Makes the documentation a site, with MkDocs: `dist/docs/<version>/`, and `dist/docs/index.html` with all versions.

    .venv/bin/python tools/docs.py            this folder, as the version of Cargo.toml
    .venv/bin/python tools/docs.py --tags     also each tag `v*` of git, as its version

The site has the pages at the paths that they have in the repository, so their links work in both. A link to another
file leads to a copy of it, and a link to a folder leads to a list of its files. A link or an anchor that does not exist
fails.
"""

from __future__ import annotations

import argparse
import html
import logging
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "dist" / "docs"
PAGES = ("*.md", "docs/*.md", "bench/*.md")
IMAGES = ("docs/*.png", "bench/*.svg")
LINK = re.compile(r"\]\(([^)\s#]+)")
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tags", action="store_true", help="also each tag v* of git")
    wanted = arguments.parse_args()
    logging.basicConfig(level=logging.WARNING, format="docs: %(message)s")
    try:
        make(ROOT, version_of(ROOT))
        if wanted.tags:
            for tag in git("tag", "--list", "v*").decode().split():
                with tempfile.TemporaryDirectory() as folder:
                    with tarfile.open(fileobj=BytesIO(git("archive", tag))) as archive:
                        archive.extractall(folder, filter="data")
                    if (Path(folder) / "mkdocs.yml").exists():
                        make(Path(folder), tag.removeprefix("v"))
    except Abort as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    write_versions()
    return 0


def make(source: Path, version: str) -> None:
    """The site of the sources in a folder."""
    site = SITE / version
    with tempfile.TemporaryDirectory() as folder:
        stage(source, Path(folder))
        config = load_config(
            str(source / "mkdocs.yml"),
            docs_dir=folder,
            site_dir=str(site),
            site_name=f"oauth2-session-filter {version}",
            strict=True,
        )
        config.mdx_configs["toc"] = {"slugify": as_github, "permalink": True}
        config.markdown_extensions.append("toc")
        build(config)
    check_lists(site)
    check_links(site)
    print(f"docs: {site.relative_to(ROOT)}", flush=True)


def check_lists(site: Path) -> None:
    """GitHub begins a list or a table without a blank line before it, and MkDocs does not."""
    for page in sorted(site.rglob("*.html")):
        for paragraph in re.findall(r"<p>(.*?)</p>", page.read_text(encoding="utf-8"), re.DOTALL):
            if found := re.search(r"^ *(?:[-*] |\d+\. |\|).*", paragraph, re.MULTILINE):
                raise Abort(f"{page.relative_to(site)}: needs a blank line before: {found[0].strip()[:80]}")


def check_links(site: Path) -> None:
    """MkDocs does not fail for a link to a file that it leaves out. Links with `/` in front are only in 404.html."""
    for page in sorted(site.rglob("*.html")):
        for link in re.findall(r'(?:href|src)="([^/":#?][^":#?]*)["#?]', page.read_text(encoding="utf-8")):
            if not (page.parent / unquote(link)).exists():
                raise Abort(f"{page.relative_to(site)}: the link leads to no file: {link}")


def stage(source: Path, into: Path) -> None:
    """Copies the pages, and what they link to."""
    pages = [path for pattern in PAGES for path in sorted(source.glob(pattern))]
    for path in (path for pattern in IMAGES for path in source.glob(pattern)):
        copy(path, into / path.relative_to(source))
    shutil.copytree(source / "tools" / "site", into / "site")
    # A page may lead to more pages.
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for target in LINK.findall(FENCE.sub("", text)):
            linked = (page.parent / target).resolve()
            if ":" in target or not linked.is_relative_to(source.resolve()) or not linked.exists():
                continue
            if linked.is_dir():
                text = re.sub(rf"\]\({re.escape(target)}(?=[)#])", f"]({target.rstrip('/')}/{index_of(linked)}", text)
                linked = linked / index_of(linked)
            # MkDocs and GitHub Pages leave out files whose names begin with a dot.
            text = text.replace(f"]({target})", f"]({without_dots(target)})")
            name = linked.relative_to(source.resolve())
            if not linked.exists():
                write_list(source, linked.parent, into / name.parent)
            elif name.suffix != ".md":
                copy(linked, into / without_dots(str(name)))
            elif source / name not in pages:
                pages.append(source / name)
        staged = into / page.relative_to(source)
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(text, encoding="utf-8")


def without_dots(path: str) -> str:
    """`.github/ci.yaml` is `github/ci.yaml` on the site."""
    return re.sub(r"(^|/)\.(?=[^./])", r"\1", path)


def index_of(folder: Path) -> str:
    """The page of a folder."""
    return "README.md" if (folder / "README.md").exists() else "index.md"


def write_list(source: Path, folder: Path, into: Path) -> None:
    """A page with the files of a folder."""
    name = PurePosixPath(folder.relative_to(source.resolve()))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and is_source(path.relative_to(folder)))
    lines = [f"# {name}/", ""]
    for path in files:
        file = path.relative_to(folder)
        copy(path, into / file)
        lines.append(f"- [{file}]({file})" if path.suffix != ".md" else f"- {file}")
    into.mkdir(parents=True, exist_ok=True)
    (into / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def is_source(path: Path) -> bool:
    return not {"target", "__pycache__", "node_modules", "corpus", "found"} & set(path.parts)


def copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def as_github(heading: str, _separator: str = "-") -> str:
    """The anchor of a heading, as GitHub makes it. `integration/tests/test_docs.py` has the same rule."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def version_of(source: Path) -> str:
    found = re.search(r'^version = "([^"]+)"', (source / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise Abort("Cargo.toml has no version")
    return found[1]


def write_versions() -> None:
    """The page of all versions, the newest first."""
    numbers = {
        path.name: [int(part) for part in re.findall(r"\d+", path.name)] for path in SITE.iterdir() if path.is_dir()
    }
    rows = "".join(
        f'<li><a href="{html.escape(name)}/index.html">{html.escape(name)}</a></li>\n'
        for name in sorted(numbers, key=lambda name: numbers[name], reverse=True)
    )
    page = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>oauth2-session-filter</title>\n'
        f"<h1>Documentation</h1>\n<ul>\n{rows}</ul>\n"
    )
    (SITE / "index.html").write_text(page, encoding="utf-8")


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


if __name__ == "__main__":
    sys.exit(main())
