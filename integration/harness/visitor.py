"""A browser whose requests for one host are answered by one proxy or by another, as behind a load balancer."""

from __future__ import annotations

import copy
import http.cookiejar
from typing import Any
from urllib.parse import urlsplit

import httpx

from .browser import Browser, refuse_answer_of_dead_vm
from .waiting import until

SITE = "http://app.example.com"


class Visitor(Browser):
    """Asks `SITE`; `where` is the URL of the proxy that answers; `routes` name others for prefixes of paths.

    It keeps cookies by name, domain and path. So a cookie that a proxy does not clear stays, and is sent beside that
    of another proxy. It sends cookies with `Secure` over http too.
    """

    def __init__(self, where: str, routes: dict[str, str] | None = None):
        super().__init__(SITE)
        self.where = where
        self.routes = routes or {}
        self.kept: dict[tuple[str, str, str], str] = {}
        # `kept` is the jar of the site; this client's own stays empty.
        nothing = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self.service = httpx.Client(cookies=nothing, verify=False, timeout=30, trust_env=False)

    @property
    def cookies(self) -> dict[str, str]:
        return {name: value for (name, _, _), value in self.kept.items()}

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for (name, _, _), value in self.kept.items())

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        target = urlsplit(path)
        if target.netloc and f"{target.scheme}://{target.netloc}" != self.base_url:
            return self.elsewhere.request(method, path, **options)
        address = target.path + (f"?{target.query}" if target.query else "")
        proxy = next((url for prefix, url in self.routes.items() if target.path.startswith(prefix)), self.where)
        headers = {"host": urlsplit(self.base_url).netloc, **dict(options.pop("headers", {}))}
        if cookie := self.cookie:
            headers.setdefault("cookie", cookie)
        response = self.service.request(method, proxy + address, headers=headers, **options)
        refuse_answer_of_dead_vm(response)
        # So relative redirects stay at the site.
        response.request.url = httpx.URL(self.base_url + address)
        self.keep(response)
        return response

    def get_at(self, where: str, path: str = "/echo", **options: Any) -> httpx.Response:
        """One request to this proxy."""
        self.where = where
        return self.get(path, **options)

    def wait_for_end(self, *urls: str) -> None:
        """Waits until its session has ended at these proxies: a proxy may serve it until Redis has told of the end."""

        def has_ended() -> bool:
            statuses = [self.get_at(url).status_code for url in urls]
            assert set(statuses) <= {200, 302}, statuses
            return set(statuses) == {302}

        until(has_ended, "the session has ended")

    def keep(self, response: httpx.Response) -> None:
        for header in response.headers.get_list("set-cookie"):
            pair, *attributes = header.split("; ")
            name, value = pair.split("=", 1)
            wanted = dict(attribute.lower().partition("=")[::2] for attribute in attributes)
            key = (name, wanted.get("domain", ""), wanted.get("path", ""))
            if wanted.get("max-age") == "0":
                self.kept.pop(key, None)
            else:
                self.kept[key] = value

    def sign_in_again(self, user: str, *, is_followed: bool = True) -> httpx.Response:
        """A sign-in with the present cookies. Without `is_followed` it ends with the answer of the callback."""
        form = self.follow(self.get("/oauth2/start?rd=/echo"))
        back = self.submit(form, user, stop_before="/oauth2/callback")
        done = self.get(back.headers["location"])
        assert done.is_redirect, f"{done.status_code}\n{done.text[:2000]}"
        return self.follow(done) if is_followed else done

    def session(self, cookie_name: str) -> dict[str, str]:
        """Only the cookies of the session."""
        return {
            name: value for name, value in self.cookies.items() if name.startswith(cookie_name) and "csrf" not in name
        }

    def copy(self) -> Visitor:
        """Another browser with the same cookies."""
        other = copy.copy(self)
        other.kept = dict(self.kept)
        return other
