"""The listener `main` of an Envoy from a file (LDS), so that it can be replaced while Envoy runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .render import named, render

LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"


class Listeners:
    """`Envoy(…, render=listeners.render)` gets the listener from a file in this folder."""

    def __init__(self, folder: Path):
        self._path = folder / "listeners.json"
        self._version = 0
        self.main: dict = {}

    def render(self, filter_json: str | None, **options: Any) -> str:
        config = json.loads(render(filter_json, **options))
        listeners = config["static_resources"]["listeners"]
        self.main = named(listeners, "main")
        listeners.remove(self.main)
        self._write([self.main])
        config["node"] = {"id": "test", "cluster": "test"}
        config["dynamic_resources"] = {
            "lds_config": {"path_config_source": {"path": str(self._path)}, "resource_api_version": "V3"},
        }
        return json.dumps(config, indent=1)

    def plugin(self) -> dict:
        """The configuration of the filter in the listener."""
        manager = self.main["filter_chains"][0]["filters"][0]["typed_config"]
        return named(manager["http_filters"], "oauth2_session")["typed_config"]["config"]

    def update(self, change: Callable[[], None]) -> None:
        """Gives Envoy the listener after a change to `main`, or to `plugin()`."""
        change()
        self._write([self.main])

    def remove(self) -> None:
        """Removes the listener from Envoy."""
        self._write([])

    def _write(self, listeners: list[dict]) -> None:
        # Envoy reads the file when it is moved into its place.
        self._version += 1
        resources = [{"@type": LISTENER, **listener} for listener in listeners]
        new = self._path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps({"version_info": str(self._version), "resources": resources}), encoding="utf-8")
        new.replace(self._path)
