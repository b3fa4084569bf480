"""The session cookie: its attributes, its size, and invalid cookies."""

from __future__ import annotations

import time

import pytest

from harness.service import arrived

NAME = "_oauth2_proxy"


def set_cookies(response) -> dict[str, str]:
    """Names of the cookies that a response sets, with their values and attributes."""
    return dict(header.split("=", 1) for header in response.headers.get_list("set-cookie"))


def session_cookies(browser) -> dict[str, str]:
    return {name: value for name, value in browser.cookies.items() if name.startswith(NAME) and "csrf" not in name}


def attributes(cookie: str) -> list[str]:
    return [part.strip().lower().split("=")[0] for part in cookie.split(";")[1:]]


def test_cookies_of_a_sign_in_are_host_only_and_httponly(browser):
    callback = browser.callback_url()
    answer = browser.get(callback)
    cookie = set_cookies(answer)[NAME]
    assert "httponly" in attributes(cookie)
    assert "path" in attributes(cookie)
    assert "domain" not in attributes(cookie)
    assert "secure" not in attributes(cookie), "the tests set cookie_secure to false"


def test_cookies_are_secure_by_default(service):
    answer = service(cookie_secure=None).browser().get("/oauth2/start")
    assert answer.status_code == 302
    assert set_cookies(answer)
    assert all("secure" in attributes(cookie) for cookie in set_cookies(answer).values())


def test_cookie_attributes_follow_the_options(service):
    browser = service(cookie_name="mine", cookie_samesite="strict", cookie_path="/", cookie_expire="1h").browser()
    cookie = set_cookies(browser.get(browser.callback_url()))["mine"].lower()
    assert "samesite=strict" in cookie
    assert "max-age=3600" in cookie or "expires=" in cookie


def test_finished_sign_in_leaves_no_csrf_cookie(browser):
    browser.sign_in("alice")
    assert [name for name in browser.cookies if name.startswith(NAME)] == [NAME]


def test_large_session_is_split_and_joined(browser):
    browser.sign_in("carol")
    parts = session_cookies(browser)
    assert set(parts) >= {f"{NAME}_0", f"{NAME}_1"}
    assert all(len(name) + len(value) <= 4096 for name, value in parts.items())
    groups = arrived(browser.get("/echo"))["x-forwarded-groups"].split(",")
    assert len(groups) == 401
    assert groups[0] == "everything"


def test_large_session_with_a_missing_part_is_invalid(browser):
    browser.sign_in("carol")
    jar = browser._jar
    next_to_last = sorted(session_cookies(browser))[-1]
    for cookie in list(jar):
        if cookie.name == next_to_last:
            jar.clear(cookie.domain, cookie.path, cookie.name)
    assert browser.get("/echo").status_code == 302


def test_small_session_removes_the_parts_of_a_large_one(browser):
    browser.sign_in("carol")
    assert len(session_cookies(browser)) > 1
    # Signed in again as another user: the provider has to ask, so its session goes.
    for cookie in list(browser._jar):
        if not cookie.name.startswith(NAME):
            browser._jar.clear(cookie.domain, cookie.path, cookie.name)
    page = browser.follow(browser.get("/oauth2/start?rd=/echo"))
    assert arrived(browser.submit(page, "alice"))["x-forwarded-user"] == "alice"
    assert set(session_cookies(browser)) == {NAME}


def test_sign_out_removes_every_part(browser):
    browser.sign_in("carol")
    assert len(session_cookies(browser)) > 1
    browser.get("/oauth2/sign_out")
    assert session_cookies(browser) == {}


def test_session_too_large_for_envoy_is_not_set(service):
    """carol's session is larger than 8 kB. A sign-out still works."""
    at = service(cookie_max_bytes=8192)
    browser = at.browser()
    page = browser.sign_in("carol")
    assert page.status_code == 503 and "8192" in page.text and "the operator has to fix this" in page.text
    assert session_cookies(browser) == {}
    assert at.envoy.says("but at most 8192 are allowed")
    assert browser.get("/oauth2/sign_out").status_code == 200


def test_sign_out_clears_the_cookie_in_each_domain(service, cookie):
    """A cookie is identified by name, domain and path. So a change of `cookie_domains` may leave another cookie."""
    host = {"host": "app.example.com"}
    answer = service().browser().get("/oauth2/sign_out", headers={**host, "cookie": f"{NAME}={cookie}"})
    cleared = [header.lower() for header in answer.headers.get_list("set-cookie")]
    assert all("max-age=0" in header for header in cleared)
    domains = {part.partition("domain=")[2].partition(";")[0] for part in cleared}
    assert domains == {"", "app.example.com", "example.com"}


def test_second_sign_in_removes_the_session_of_another_scope(service, cookie):
    """The browser sends both, in any order; the next answer leaves one."""
    at = service(cookie_domains=["example.com"])
    time.sleep(1.1)  # signatures have whole seconds
    other = service().browser()
    other.sign_in("alice")
    newer = session_cookies(other)[NAME]
    for pair in ((cookie, newer), (newer, cookie)):
        header = "; ".join(f"{NAME}={value}" for value in pair)
        answer = at.browser().get("/echo", headers={"host": "app.example.com", "cookie": header})
        *cleared, kept = answer.headers.get_list("set-cookie")
        assert kept.startswith(f"{NAME}={newer};") and "Domain=example.com" in kept
        assert len(cleared) == 2 and all("Max-Age=0" in header for header in cleared)
        assert "private" in answer.headers["cache-control"]


def test_large_session_is_found_behind_another_of_its_name(service, browser):
    """The chunks of two sessions; those of another application with another secret come first."""
    other = service(cookie_secret="another-secret-of-32-characters!").browser()
    other.sign_in("carol")
    browser.sign_in("carol")
    jars = [session_cookies(other), session_cookies(browser)]
    # RFC 6265 section 5.4: cookies of one name are ordered by path, and then by age.
    pairs = [f"{name}={jar[name]}" for name in sorted(set(jars[0]) | set(jars[1])) for jar in jars if name in jar]
    answer = service().browser().get("/echo", headers={"cookie": "; ".join(pairs)})
    assert arrived(answer)["x-forwarded-groups"].count(",") == 400


def test_neighbour_with_a_numbered_cookie_name_stays_signed_in(service):
    neighbour = service(cookie_name=f"{NAME}_1", cookie_secret="another-secret-of-32-characters!").browser()
    neighbour.sign_in("alice")
    theirs = f"{NAME}_1={session_cookies(neighbour)[f'{NAME}_1']}"
    browser = service().browser()
    browser.sign_in("alice")
    answer = browser.get("/oauth2/sign_out", headers={"cookie": f"{theirs}; {browser.cookie}"})
    assert {header.split("=")[0] for header in answer.headers.get_list("set-cookie")} == {NAME}


# ---- invalid cookies ----


@pytest.fixture
def cookie(browser):
    """The value of a valid session cookie."""
    browser.sign_in("alice")
    return session_cookies(browser)[NAME]


def changed(value: str, at: int) -> str:
    return value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]


@pytest.mark.parametrize(
    "forge",
    [
        lambda value: changed(value, 10),
        lambda value: changed(value, len(value) // 2),
        lambda value: changed(value, len(value) - 10),
        lambda value: value[:-1] + "!",
        lambda value: value[: len(value) // 2],
        lambda value: "|".join(["QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB", *value.split("|")[1:]]),
        lambda value: value.replace("|", "", 1),
        lambda value: "||",
        lambda value: "",
        lambda value: "x" * 5000,
    ],
    ids=["value", "middle", "signature", "alphabet", "half", "swapped", "joined", "bars", "empty", "long"],
)
def test_forged_cookie_goes_to_sign_in(forge, cookie, service):
    browser = service().browser()
    answer = browser.get("/echo", headers={"cookie": f"{NAME}={forge(cookie)}"})
    assert answer.status_code == 302
    assert browser.get("/echo", headers={"cookie": f"{NAME}={cookie}"}).status_code == 200


def test_invalid_cookie_is_cleared(service):
    answer = service().browser().get("/echo", headers={"cookie": f"{NAME}=abc|123|def; other=1"})
    gone = set_cookies(answer)
    assert list(gone) == [NAME]
    assert "max-age=0" in gone[NAME].lower() or "1970" in gone[NAME]


def test_cookie_under_another_name_goes_to_sign_in(cookie, service):
    other = service(cookie_name="other").browser()
    assert other.get("/echo", headers={"cookie": f"other={cookie}"}).status_code == 302


def test_cookie_signed_with_another_secret_goes_to_sign_in(cookie, service):
    stranger = service(cookie_secret="another-secret-of-32-characters!").browser()
    assert stranger.get("/echo", headers={"cookie": f"{NAME}={cookie}"}).status_code == 302


def test_cookie_is_valid_at_another_envoy_with_the_same_secret(cookie, service):
    replica = service(session_cache_bytes=0).browser()
    assert arrived(replica.get("/echo", headers={"cookie": f"{NAME}={cookie}"}))["x-forwarded-user"] == "alice"


def test_session_without_tokens_is_smaller_and_works(service):
    browser = service(session_cookie_minimal=True).browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert arrived(browser.get("/echo"))["x-forwarded-email"] == "alice@example.com"
