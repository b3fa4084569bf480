"""Secrets in a folder as Kubernetes mounts them, and envoy.yaml with the lines that follow them.

    folder/cookie_secret ──► ..data/cookie_secret        ..data ──► ..1, then ..2, …

A change makes a new folder, and replaces the link `..data` in one step.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .known_secrets import SECRETS
from .render import ROOT, TEMPLATE, render

NAMES = ("cookie_secret", "client_secret", "redis_password", "redis_sentinel_password")
FOLDER = "/etc/oauth2-session"
# The volume of the manifests with the files of RESOURCES.
RESOURCES_FOLDER = "/etc/oauth2-session-resources"
RESOURCES = "envoy-config/secrets"
MARK = "#SECRETS "


class Mounted:
    """The secrets of one Envoy, in `folder`; a secret that is not given has an empty file."""

    def __init__(self, folder: Path, **secrets: str):
        self.folder, self.resources = folder / "secrets", folder / "resources"
        self.folder.mkdir(parents=True)
        self.resources.mkdir()
        self._number = 0
        self._secrets = dict.fromkeys(NAMES, "")
        self.change(**secrets)
        for name in NAMES:
            (self.folder / name).symlink_to(f"..data/{name}")
            shipped = (ROOT / RESOURCES / f"{name}.yaml").read_text(encoding="utf-8")
            text = shipped.replace(FOLDER, str(self.folder))
            assert text != shipped
            (self.resources / f"{name}.yaml").write_text(text, encoding="utf-8")

    def change(self, **secrets: str) -> None:
        """Changes these secrets as the kubelet does."""
        SECRETS.add_options(secrets)
        self._secrets.update(secrets)
        before, self._number = self._number, self._number + 1
        new = self.folder / f"..{self._number}"
        new.mkdir()
        for name, value in self._secrets.items():
            (new / name).write_text(value, encoding="utf-8")
        link = self.folder / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self.folder / "..data")
        shutil.rmtree(self.folder / f"..{before}", ignore_errors=True)

    def in_place_of_the_volumes(self, text: str) -> str:
        """A configuration of the manifests with these files."""
        return text.replace(RESOURCES_FOLDER, str(self.resources)).replace(FOLDER, str(self.folder))

    def as_volumes(self, text: str) -> str:
        """The other way round."""
        return text.replace(str(self.resources), RESOURCES_FOLDER).replace(str(self.folder), FOLDER)

    def render(self, filter_json: str, **options: Any) -> str:
        """envoy.yaml with its lines about secrets."""
        template = self.resources / "envoy.yaml"
        text = TEMPLATE.read_text(encoding="utf-8").replace(MARK, "")
        template.write_text(
            text.replace(RESOURCES, str(self.resources)).replace(FOLDER, str(self.folder)), encoding="utf-8"
        )
        return render(filter_json, template=template, **options)
