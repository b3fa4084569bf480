"""A browser in code: cookies, redirects, and the two pages of a sign-in."""

from __future__ import annotations

import html
import http.cookiejar
import re
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from .known_secrets import SECRETS
from .vm import VmDied, is_answer_of_dead_vm

MAX_REDIRECTS = 15
SET_COOKIE = re.compile(r"[^=]+=([^;]+)")
# The header that integration/upstream.py puts into its responses. Envoy's own x-envoy-upstream-service-time is
# missing if a response began before its request had ended.
OF_THE_UPSTREAM = "x-upstream"


class Browser:
    """Keeps cookies as a browser does: by host, whatever the port.

    `base_url` is the address of the service; with `http2`, the browser speaks HTTP/2 without TLS to it. To the
    provider it always speaks HTTP/1.1.
    """

    def __init__(self, base_url: str, *, http2: bool = False):
        self.base_url = base_url
        # The pages and errors that the filter itself wrote.
        self.pages: list[str] = []
        self._jar = http.cookiejar.CookieJar()
        options: dict[str, Any] = {"cookies": self._jar, "timeout": 30, "trust_env": False}
        self.service = httpx.Client(http1=not http2, http2=http2, **options)
        # The filter checks certificates; this browser does not.
        self.elsewhere = httpx.Client(verify=False, **options)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.service.close()
        self.elsewhere.close()

    @property
    def cookies(self) -> dict[str, str]:
        """Names and values of the cookies for the service."""
        host = urlsplit(self.base_url).hostname
        return {cookie.name: cookie.value or "" for cookie in self._jar if cookie.domain.split(".local")[0] == host}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; it follows no redirect. A path without a host is one of the service."""
        url = urljoin(self.base_url, path)
        is_service = url.startswith(self.base_url)
        response = (self.service if is_service else self.elsewhere).request(method, url, **options)
        if is_service:
            refuse_answer_of_dead_vm(response)
            for header in response.headers.get_list("set-cookie"):
                if cookie := SET_COOKIE.match(header):
                    SECRETS.add("a cookie", cookie[1])
            if OF_THE_UPSTREAM not in response.headers:
                self.pages.append(response.text)
        return response

    @property
    def cookie(self) -> str:
        """The `cookie` header that the service would get, for requests without this browser."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def get(self, path: str = "/", **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def follow(self, response: httpx.Response, *, stop_before: str | None = None) -> httpx.Response:
        """Follows redirects to their end, or until one leads to a path that begins with `stop_before`."""
        for _ in range(MAX_REDIRECTS):
            if not response.is_redirect:
                return response
            target = urljoin(str(response.url), response.headers["location"])
            if stop_before and urlsplit(target).path.startswith(stop_before):
                return response
            response = self.get(target)
        raise AssertionError(f"more than {MAX_REDIRECTS} redirects, the last to {response.headers['location']}")

    def open_form(self, path: str = "/") -> httpx.Response:
        """The provider's form, reached through the redirects and the sign-in page."""
        page = self.follow(self.get(path))
        if (start := link_to(page, "/start?")) is not None:
            page = self.follow(self.get(start))
        return page

    def submit(self, form: httpx.Response, user: str, *, stop_before: str | None = None) -> httpx.Response:
        """Fills in the provider's form and follows the redirects."""
        action = re.search(r'<form method="post" action="([^"]+)"', form.text)
        assert action, f"{form.url} ({form.status_code}) is not the provider's form:\n{form.text[:2000]}"
        target = urljoin(str(form.url), html.unescape(action[1]))
        return self.follow(self.request("POST", target, data={"login": user}), stop_before=stop_before)

    def sign_in(self, user: str = "alice", path: str = "/") -> httpx.Response:
        """A whole sign-in; returns the page at its end."""
        page = self.open_form(path)
        # The provider may know this browser already.
        return self.submit(page, user) if "<form" in page.text else page

    def callback_url(self, user: str = "alice", path: str = "/") -> str:
        """A sign-in up to the redirect from the provider to the callback, which is not followed."""
        page = self.submit(self.open_form(path), user, stop_before="/oauth2/callback")
        assert page.is_redirect, f"no redirect to the callback: {page.status_code}\n{page.text[:2000]}"
        return page.headers["location"]


def refuse_answer_of_dead_vm(response: httpx.Response) -> None:
    if is_answer_of_dead_vm(response.status_code, response.headers, response.content):
        raise VmDied([f"{response.request.method} {response.url.path}: an empty 503 that is not the filter's"])


def link_to(page: httpx.Response, part: str) -> str | None:
    """The first link whose address has `part`."""
    links = (html.unescape(link) for link in re.findall(r'<a\b[^>]*\bhref="([^"]*)"', page.text))
    return next((link for link in links if part in link), None)
