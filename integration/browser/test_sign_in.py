"""Users sign in and out, by clicking and with the keyboard alone."""

from urllib.parse import parse_qs, urlsplit

from selenium.webdriver.common.keys import Keys


def test_user_signs_in_and_out(chromium):
    browser = chromium(prompt="login")
    browser.open("/?page=1")
    assert browser.heading == "Sign in"
    browser.click()
    browser.fill_in("alice")
    assert browser.path == "/?page=1"
    assert "alice@example.com" in browser.text
    (cookie,) = browser.session_cookies()
    assert cookie["httpOnly"]
    browser.open("/oauth2/sign_out")
    assert "signed out" in browser.heading
    assert browser.session_cookies() == []
    browser.open("/")
    assert browser.heading == "Sign in"


def test_user_signs_in_with_the_keyboard_alone(chromium):
    browser = chromium(prompt="login")
    browser.open("/echo")
    browser.leave_by(lambda: browser.press(Keys.TAB, Keys.ENTER))
    # The field gets the focus when the page is painted, which may be later than all other events.
    browser.until(lambda: browser.focused == "login")
    browser.leave_by(lambda: browser.press("alice", Keys.ENTER))
    headers = dict(browser.echoed()["headers"])
    assert headers["x-forwarded-user"] == "alice"


def test_two_tabs_sign_in_at_the_same_time(chromium):
    browser = chromium(prompt="login", skip_provider_button=True)
    browser.open("/echo?tab=1")
    first = browser.driver.current_window_handle
    browser.open_in_new_tab("/echo?tab=2")
    browser.fill_in("alice")
    assert browser.echoed()["path"] == "/echo?tab=2"
    browser.show_tab(first)
    browser.fill_in("alice")
    assert browser.echoed()["path"] == "/echo?tab=1"


def test_large_session_fits_into_the_browser(chromium):
    browser = chromium(prompt="login")
    browser.sign_in("carol", "/echo")
    assert len(browser.session_cookies()) > 1
    headers = dict(browser.echoed()["headers"])
    assert headers["x-forwarded-groups"].count(",") == 400


def test_script_of_a_page_gets_401_instead_of_a_redirect(chromium):
    browser = chromium(skip_auth_routes=["^/public"])
    browser.open("/public")
    assert browser.run("return (await fetch('/echo', { redirect: 'manual' })).status") == 401


def test_refused_account_gets_a_page_with_a_reference(chromium):
    browser = chromium(prompt="login")
    browser.sign_in("bob", "/echo")
    assert browser.heading == "Sign-in failed"
    assert browser.session_cookies() == []


def test_sign_out_clears_the_cookie_in_every_former_scope(chromium):
    """`cookie_domains` was changed several times, and the browser still has a session of each setting."""
    host = "app.eu.example.com"
    browser = chromium(host=host, prompt="login", cookie_domains=["eu.example.com"])
    browser.sign_in("alice", "/echo")
    (cookie,) = browser.session_cookies()
    assert cookie["domain"] == ".eu.example.com"
    for domain in ({}, {"domain": f".{host}"}, {"domain": ".example.com"}):
        browser.driver.execute_cdp_cmd(
            "Network.setCookie",
            {
                "name": cookie["name"],
                "value": cookie["value"],
                "url": browser.base_url,
                "path": "/",
                "httpOnly": True,
                **domain,
            },
        )
    assert {cookie["domain"] for cookie in browser.session_cookies()} == {
        host,
        f".{host}",
        ".eu.example.com",
        ".example.com",
    }
    browser.open("/oauth2/sign_out")
    assert "signed out" in browser.heading
    assert browser.session_cookies() == []
    browser.open("/echo")
    assert browser.heading == "Sign in"


def test_fragment_of_a_page_survives_the_sign_in_page(chromium):
    browser = chromium(prompt="login")
    browser.open("/echo?x=1#/route?a=b&c=%20d")
    assert browser.heading == "Sign in"
    browser.click()
    browser.fill_in("alice")
    assert browser.path == "/echo?x=1"
    assert urlsplit(browser.driver.current_url).fragment == "/route?a=b&c=%20d"


def test_hostile_fragment_neither_redirects_nor_runs_script(chromium):
    browser = chromium(prompt="login")
    for fragment in (
        "//evil.example/",
        "@evil.example",
        "javascript:alert(1)",
        "'\"><img src=x onerror=alert(1)>",
        "&rd=https://evil.example/",
        "x" * 3000,
    ):
        # A change of only the fragment is not another page.
        browser.open("about:blank")
        browser.open(f"/oauth2/sign_in?rd=%2Fecho%23old&rd=/other#{fragment}")
        link = urlsplit(browser.link.get_attribute("href"))
        assert (link.netloc, link.path) == (urlsplit(browser.base_url).netloc, "/oauth2/start"), fragment
        (target,) = parse_qs(link.query)["rd"]
        assert target.split("#")[0] == "/echo", fragment
        assert target.startswith("/echo#"), fragment


def test_link_without_target_keeps_the_fragment(chromium):
    browser = chromium(prompt="login")
    browser.open("/oauth2/sign_out#/route")
    assert urlsplit(browser.link.get_attribute("href")).fragment == "/route"


def test_try_again_link_works_with_a_fragment(chromium, make_redis):
    """A link to the same address with a fragment sends no request."""
    redis = make_redis()
    browser = chromium(prompt="login", session_store_type="redis", redis_connection_url=redis.url)
    browser.sign_in("alice", "/echo")
    redis.stop()
    # A change of only the fragment is not another page.
    browser.open("about:blank")
    browser.open("/echo#/route")
    assert browser.heading == "Not available right now"
    browser.click()
    assert browser.path == "/echo"


def test_fragment_from_the_provider_does_not_reach_a_query(chromium):
    """`response_mode=fragment`: a query would be in logs."""
    browser = chromium(prompt="login")
    browser.open("/oauth2/callback#state=a&code=secret&id_token=secret&access_token=secret")
    assert browser.heading == "Sign-in failed"
    link = urlsplit(browser.link.get_attribute("href"))
    assert (link.path, link.query, link.fragment) == ("/oauth2/start", "rd=%2F", "")


def test_sign_out_ends_the_session_at_the_provider_too(chromium):
    browser = chromium(provider_sign_out=True)
    browser.sign_in("alice", "/echo")
    browser.open("/oauth2/sign_out")
    assert browser.heading == "Sign out of the demo provider?"
    assert browser.session_cookies() == []
    browser.click("button[name=logout]")
    assert browser.heading == "Signed out of the demo provider"
    # The provider asks who the user is.
    browser.sign_in("alice", "/echo")
    assert dict(browser.echoed()["headers"])["x-forwarded-user"] == "alice"


def with_sessions(chromium, make_redis, **options):
    redis = make_redis()
    return chromium(
        prompt="login",
        session_store_type="redis",
        redis_connection_url=redis.url,
        redis_session_index=True,
        **options,
    )


def test_user_ends_a_session_and_then_all_of_them(chromium, make_redis):
    browser = with_sessions(chromium, make_redis)
    browser.sign_in("alice", "/echo")
    browser.driver.delete_all_cookies()
    browser.sign_in("alice", "/echo")
    browser.open("/oauth2/sessions")
    assert browser.text.count("This session") == 1
    buttons = "main form button"
    assert len(browser.driver.find_elements("css selector", buttons)) == 3
    browser.click("li:last-child button")
    assert browser.path == "/oauth2/sessions"
    assert len(browser.driver.find_elements("css selector", buttons)) == 2
    browser.click("main > form button")
    assert browser.heading == "You are signed out"
    assert browser.session_cookies() == []
    browser.open("/echo")
    assert browser.heading == "Sign in"


def test_signed_out_page_signs_out_everywhere(chromium, make_redis):
    browser = with_sessions(chromium, make_redis)
    browser.sign_in("alice", "/echo")
    [other] = browser.session_cookies()
    browser.driver.delete_all_cookies()
    browser.sign_in("alice", "/echo")
    browser.open("/oauth2/sign_out")
    browser.click("form button")
    assert browser.heading == "You are signed out"
    browser.driver.add_cookie({"name": other["name"], "value": other["value"], "path": "/"})
    browser.open("/echo")
    assert browser.heading == "Sign in"


def test_sign_out_everywhere_goes_on_to_the_provider(chromium, make_redis):
    """Chromium applies the page's `form-action` also to the redirect."""
    browser = with_sessions(chromium, make_redis, provider_sign_out=True)
    browser.sign_in("alice", "/echo")
    browser.open("/oauth2/sessions")
    browser.click("main > form button")
    assert browser.heading == "Sign out of the demo provider?"
    assert browser.session_cookies() == []


def test_pages_show_the_service_s_name_logo_and_language(chromium):
    title = "Portal</title><script>alert(1)</script>"
    # An SVG of 2 by 1 pixels.
    logo = (
        "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHdpZHRoPSIyIiBoZWlnaHQ9IjEiLz4="
    )
    browser = chromium(prompt="login", pages_title=title, pages_logo=logo, pages_language="de")
    browser.open("/echo")
    assert browser.heading == "Anmelden"
    assert browser.driver.title == f"Anmelden · {title}"
    assert title in browser.text
    assert browser.run("return document.documentElement.lang") == "de"
    assert browser.run("return document.images[0].naturalWidth") == 2
    browser.open("/oauth2/sign_out")
    assert browser.heading == "Sie sind abgemeldet"


def test_page_is_in_the_first_language_of_the_browser(chromium):
    browser = chromium(prompt="login", pages_language="browser")
    browser.command("Network.enable")
    browser.command("Network.setUserAgentOverride", userAgent="test", acceptLanguage="fr-CH,de-CH,en")
    browser.open("/oauth2/sign_in")
    assert browser.heading == "Anmelden"
