"""A headless Chromium with its own profile, and the actions of a user: read, click, press keys."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

# The most seconds for a page; a machine that also compiles is slow.
SECONDS = 30

# Chromium writes a line for each answer that is not a success, even if it is the expected answer.
STATUS_LINE = "Failed to load resource: the server responded with a status of "


class Chromium:
    """At a service: paths are of `base_url`."""

    def __init__(self, base_url: str, *, width: int = 1000, height: int = 760):
        self.base_url = base_url
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        options.add_argument("--headless=new")
        options.add_argument(f"--window-size={width},{height}")
        options.add_argument("--lang=en")
        # A container's /dev/shm is often too small.
        options.add_argument("--disable-dev-shm-usage")
        # Hosts below a domain, for cookies that have one.
        options.add_argument("--host-resolver-rules=MAP *.example.com 127.0.0.1")
        # The machine's proxy must not be used for loopback.
        options.add_argument("--no-proxy-server")
        if os.geteuid() == 0:
            # Chromium's sandbox does not work for root.
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options, Driver(shutil.which("chromedriver")))
        self.driver.set_page_load_timeout(SECONDS)
        self.driver.set_script_timeout(SECONDS)
        self._console: list[dict] = []
        self._urls: list[str] = []

    def close(self) -> None:
        self.driver.quit()

    # ---- to read ----

    @property
    def path(self) -> str:
        """Path and query in the address bar."""
        parts = urlsplit(self.driver.current_url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    @property
    def heading(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "h1").text

    @property
    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    @property
    def link(self) -> WebElement:
        """The one link of a page of the filter."""
        (link,) = self.driver.find_elements(By.TAG_NAME, "a")
        return link

    @property
    def focused(self) -> str | None:
        """The name of the field with the focus."""
        return self.driver.switch_to.active_element.get_attribute("name")

    def echoed(self) -> dict:
        """The JSON that /echo shows."""
        return json.loads(self.driver.find_element(By.TAG_NAME, "pre").text)

    def session_cookies(self, name: str = "_oauth2_proxy") -> list[dict]:
        """The cookies of the session, as Chromium keeps them: `value`, `httpOnly`, `secure`, …"""
        cookies = self.command("Network.getCookies", urls=[self.base_url])["cookies"]
        return [cookie for cookie in cookies if cookie["name"].startswith(name) and "csrf" not in cookie["name"]]

    # ---- to do ----

    def open(self, path: str = "/") -> None:
        self.driver.get(urljoin(self.base_url, path))

    def open_in_new_tab(self, path: str = "/") -> str:
        """Opens a tab and brings it to the front; returns its handle."""
        self.driver.switch_to.new_window("tab")
        self.open(path)
        return self.driver.current_window_handle

    def show_tab(self, handle: str) -> None:
        self.driver.switch_to.window(handle)

    def click(self, css: str = "a") -> None:
        """Clicks, and waits for the next page."""
        self.leave_by(self.driver.find_element(By.CSS_SELECTOR, css).click)

    def leave_by(self, action: Callable[[], object]) -> None:
        """Does something that leads to another page, and waits for that page."""
        old, _ = self._document()
        action()

        def is_new() -> bool:
            began, state = self._document()
            return began != old and state == "complete"

        self.until(is_new, f"still at {self.driver.current_url}")

    def _document(self) -> tuple[float, str]:
        """When the document began, which is unique in a tab, and its state.

        Selenium's `staleness_of` would ask for an element of the old document. If that happens in the moment in
        which the new one replaces it, chromedriver fails instead of calling the element stale.
        """
        began, state = self.driver.execute_script("return [performance.timeOrigin, document.readyState]")
        return began, state

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def fill_in(self, user: str) -> None:
        """Answers the provider's form."""
        self.driver.find_element(By.NAME, "login").send_keys(user)
        self.click("button")

    def sign_in(self, user: str = "alice", path: str = "/") -> None:
        """Opens a page that needs a sign-in, and signs in by clicking."""
        self.open(path)
        self.click()
        self.fill_in(user)

    def run(self, script: str, *arguments: object) -> object:
        """The value of the body of an async function, run in the page."""
        result = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"(async (...args) => {{ {script} }})(...[...arguments].slice(0, -1))"
            ".then((value) => done({ value }), (error) => done({ error: String(error) }));",
            *arguments,
        )
        assert "error" not in result, result["error"]
        return result["value"]

    def until(self, is_true: Callable[[], object], message: str = "") -> object:
        """Waits; a page may change meanwhile."""
        wait = WebDriverWait(
            self.driver, SECONDS, ignored_exceptions=(NoSuchElementException, StaleElementReferenceException)
        )
        return wait.until(lambda _: is_true(), message)

    # ---- what kind of browser this is ----

    def command(self, name: str, **parameters: Any) -> dict:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def prefer(self, theme: str) -> None:
        """`light` or `dark`."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def be_a_phone(self, width: int = 360, height: int = 740) -> None:
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=True)

    # ---- what happened behind the page ----

    def complaints(self) -> list[str]:
        """Errors and warnings in the console, a policy's violations among them."""
        self._console += self.driver.get_log("browser")
        return [
            entry["message"]
            for entry in self._console
            if entry["level"] in ("SEVERE", "WARNING") and STATUS_LINE not in entry["message"]
        ]

    def asked_hosts(self) -> set[str]:
        """host:port of every request so far."""
        for line in self.driver.get_log("performance"):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._urls.append(message["params"]["request"]["url"])
            elif message["method"] == "Network.webSocketCreated":
                self._urls.append(message["params"]["url"])
        parts = [urlsplit(url) for url in self._urls]
        return {part.netloc for part in parts if part.scheme in ("http", "https", "ws", "wss")}
