//! What every page promises, checked on the pages as they are sent.

mod contrast;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ErrorPage, ListedSession, Pages, Sessions, SignIn, html, words};
use crate::config::Config;
use crate::flow::{Reply, RequestHead, Unavailable};

const HOSTILE: &str = "</style><script>alert('1')</script>\"&amp;{{ 1 }}";
const URL: &str = "/oauth2/start?rd=%2Freports&x=\"'><script>&quot;";
const LOGO: &str = "https://cdn.example.com/logo.svg?x=1&y=2";

/// A configuration with these options.
fn config(options: &Value) -> Config {
    Config::for_tests(options)
}

/// The configuration without options of the pages.
fn plain() -> Config {
    config(&json!({}))
}

/// The pages of this configuration, for a browser with this `Accept-Language`.
fn look<'a>(config: &'a Config, language: &str) -> Pages<'a> {
    let headers = [(":path", "/".as_bytes()), ("accept-language", language.as_bytes())];
    Pages::new(config, &RequestHead::from_pairs(headers))
}

fn full_sign_in<'a>(look: Pages<'_>, words: &'a str, url: &'a str) -> Reply {
    look.sign_in(&SignIn { provider_name: words, start_url: url, banner: Some(words), footer: Some(words) })
}

fn full_error<'a>(look: Pages<'_>, words: &'a str, url: &'a str) -> Reply {
    look.error(&ErrorPage {
        status: StatusCode::FORBIDDEN,
        title: words,
        message: words,
        reference: Some(words),
        retry_url: Some(url),
        retry_label: words,
    })
}

/// Every page without forms, with every field in use.
fn pages_of(look: Pages<'_>, words: &str, url: &str) -> [Reply; 5] {
    [
        full_sign_in(look, words, url),
        full_error(look, words, url),
        look.signed_in(url),
        look.signed_out(url, None, None),
        look.unavailable(words, Unavailable::Redis, url),
    ]
}

fn pages(words: &str, url: &str) -> [Reply; 5] {
    pages_of(look(&plain(), ""), words, url)
}

fn body(page: &Reply) -> &str {
    std::str::from_utf8(page.body()).unwrap()
}

fn header<'a>(page: &'a Reply, name: &str) -> &'a str {
    page.headers().get(name).unwrap().to_str().unwrap()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).unwrap().1.split_once(end).unwrap().0
}

fn href(page: &Reply) -> String {
    assert_eq!(body(page).matches("href=").count(), 1);
    decoded(between(body(page), "href=\"", "\""))
}

/// What a browser reads: the five characters that HTML escapes, by number or by name.
fn decoded(html: &str) -> String {
    let entities = [
        ("&#60;", "<"),
        ("&lt;", "<"),
        ("&#62;", ">"),
        ("&gt;", ">"),
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&#39;", "'"),
        // Last, so that what was escaped twice is decoded once.
        ("&amp;", "&"),
    ];
    let html = html.replace("&#38;", "&amp;");
    entities.iter().fold(html, |text, (entity, character)| text.replace(entity, character))
}

#[test]
fn text_from_outside_is_never_markup() {
    // How often the words stand in a page: each field once, the title of the error twice.
    for (page, times) in pages(HOSTILE, "/").iter().zip([3, 5, 0, 0, 1]) {
        let html = body(page);
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        assert_eq!(html.matches("</style>").count(), 1);
        assert_eq!(decoded(html).matches(HOSTILE).count(), times, "{html}");
    }
}

#[test]
fn link_keeps_its_address_and_stays_in_its_attribute() {
    for page in pages("words", URL) {
        assert_eq!(href(&page), URL);
        assert_eq!(body(&page).matches("<script").count(), 1);
    }
}

#[test]
fn link_leads_to_no_other_site() {
    for url in [
        "//evil.example/",
        "/\\evil.example/",
        "/\t/evil.example/",
        "\t//evil.example/",
        "/\n/evil.example/",
        "https://evil.example/",
        "javascript:alert(1)",
        "evil",
    ] {
        for page in pages("words", url) {
            assert_eq!(href(&page), "", "{url:?}");
        }
    }
}

#[test]
fn empty_link_leads_to_same_address() {
    assert_eq!(href(&look(&plain(), "").unavailable("what", Unavailable::Busy, "")), "");
}

#[test]
fn policy_allows_only_the_pages_style_and_script() {
    for page in pages("words", URL) {
        let style = between(body(&page), "<style>", "</style>");
        let script = between(body(&page), "<script>", "</script>");
        let [style_hash, script_hash] = [style, script].map(|text| STANDARD.encode(Sha256::digest(text)));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'"
        );
        assert_eq!(header(&page, "content-security-policy"), policy);
        assert!(style.contains(".button"));
        // No other style, which the policy would block.
        assert_eq!(body(&page).matches("style").count(), 2);
    }
}

#[test]
fn style_and_script_are_hashed_as_browsers_read_them() {
    for text in [html::STYLE, html::SCRIPT] {
        // An HTML parser turns line ends into LF, and a character beyond ASCII may be decoded in other ways.
        assert!(text.is_ascii());
        assert!(!text.contains('\r'));
        assert!(!text.contains("</") && !text.contains("<!--"));
    }
}

#[test]
fn page_loads_nothing_and_runs_only_its_script() {
    for page in pages("words", "/start") {
        let html = body(&page).to_ascii_lowercase();
        assert_eq!((html.matches("<script>").count(), html.matches("<script").count()), (1, 1));
        for word in
            ["http:", "https:", "<link", "<form", "src=", "url(", "@import", "onload", "onerror", "onclick"]
        {
            assert!(!html.contains(word), "{word} in {html}");
        }
    }
}

#[test]
fn page_is_small() {
    for page in pages("words", "/start") {
        assert!(page.body().len() < 6 * 1024, "{}", page.body().len());
    }
}

#[test]
fn page_is_readable_on_phone_and_by_screen_reader() {
    for page in pages("words", "/start") {
        let html = body(&page);
        assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{html}");
        for once in [
            "<h1>",
            "<main>",
            "<meta charset=\"utf-8\">",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
            "<meta name=\"robots\" content=\"noindex\">",
            "<title>",
        ] {
            assert_eq!(html.matches(once).count(), 1, "{once} in {html}");
        }
        assert!(!between(html, "<title>", "</title>").trim().is_empty());
        for tag in ["h1", "main", "p", "a", "title", "body", "html", "div", "bdi", "code", "footer"] {
            let opened =
                html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag} in {html}");
        }
    }
}

#[test]
fn page_is_not_cached_framed_sniffed_or_referred() {
    for page in pages("words", "/start") {
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
        assert!(header(&page, "cache-control").contains("no-store"));
        assert_eq!(header(&page, "x-frame-options"), "DENY");
        assert_eq!(header(&page, "x-content-type-options"), "nosniff");
        assert_eq!(header(&page, "referrer-policy"), "no-referrer");
    }
}

#[test]
fn each_page_has_its_status() {
    let statuses = pages("words", "/start").map(|page| page.status().as_u16());
    assert_eq!(statuses, [200, 403, 200, 200, 503]);
}

#[test]
fn only_outage_page_has_retry_after() {
    let [sign_in, error, signed_in, signed_out, unavailable] = pages("words", "/start");
    assert_eq!(header(&unavailable, "retry-after"), "5");
    for page in [sign_in, error, signed_in, signed_out] {
        assert!(!page.headers().contains_key("retry-after"));
    }
}

#[test]
fn button_names_the_provider() {
    let page = full_sign_in(look(&plain(), ""), "Example Login", "/start");
    let link = between(body(&page), "<a ", "</a>").replace("<bdi>", "").replace("</bdi>", "");
    assert!(link.ends_with(">Sign in with Example Login"), "{link}");
}

#[test]
fn banner_and_footer_appear_if_set() {
    let config = plain();
    let page = |banner, footer| {
        let page = SignIn { provider_name: "OIDC", start_url: "/start", banner, footer };
        look(&config, "").sign_in(&page)
    };
    let both = page(Some("For staff only"), Some("Help: room 12"));
    let main = between(body(&both), "<main>", "</main>");
    assert!(main.contains("For staff only") && !main.contains("Help: room 12"));
    assert!(between(body(&both), "<footer", "</footer>").ends_with("Help: room 12"));

    let neither = page(None, None);
    assert!(!body(&neither).contains("<footer"));
    assert!(!body(&neither).contains("class=\"own\""));
}

#[test]
fn line_ends_of_banner_stay() {
    let page = full_sign_in(look(&plain(), ""), "first\nsecond", "/start");
    assert!(body(&page).contains("<p class=\"own\" dir=\"auto\">first\nsecond</p>"));
}

#[test]
fn reference_is_shown_if_there_is_one() {
    let config = plain();
    let page = |reference| {
        look(&config, "").error(&ErrorPage {
            status: StatusCode::BAD_GATEWAY,
            title: "Sign-in failed",
            message: "The answer cannot be trusted.",
            reference,
            retry_url: None,
            retry_label: "Try again",
        })
    };
    let with = page(Some("0badcafe"));
    assert_eq!(with.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(between(body(&with), "<code>", "</code>"), "0badcafe");
    let without = page(None);
    assert!(!body(&without).contains("<code>"));
    assert!(!body(&without).contains("reference"));
    // Nor a link that leads nowhere.
    assert!(!body(&without).contains("href=") && !body(&without).contains("Try again"));
}

#[test]
fn outage_page_shows_its_reason() {
    let page = look(&plain(), "").unavailable("This page cannot be shown", Unavailable::Provider, "/reports");
    assert!(body(&page).contains("This page cannot be shown: the sign-in service does not answer.</p>"));
}

#[test]
fn signed_out_page_links_to_the_provider_if_asked_to() {
    let config = plain();
    let signed_out =
        |url, retry_url, everywhere_url| look(&config, "").signed_out(url, retry_url, everywhere_url);
    let page = signed_out("/oauth2/sign_in", Some("/oauth2/sign_out"), None);
    let links: Vec<_> =
        body(&page).split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(links, ["/oauth2/sign_in", "/oauth2/sign_out"]);
    assert!(!body(&signed_out("/a", Some("//evil.example"), Some("//evil.example"))).contains("evil"));
}

/// The pages with forms, with every field in use.
fn pages_with_forms(look: Pages<'_>, words: &str, url: &str) -> [Reply; 3] {
    let listed = ListedSession {
        began: words.to_owned(),
        last_used: Some(words.to_owned()),
        is_current: true,
        end_url: url.to_owned(),
    };
    let page = Sessions {
        user: Some(words),
        sessions: &[listed],
        everywhere_url: url,
        search_url: Some(url),
        forms_leave: false,
    };
    let of_self = Sessions { user: None, sessions: &[], ..page };
    [look.sessions(&page), look.sessions(&of_self), look.signed_out("/sign_in", None, Some(url))]
}

#[test]
fn page_with_forms_sends_them_to_this_site_only() {
    for page in pages_with_forms(look(&plain(), ""), HOSTILE, URL) {
        let policy = header(&page, "content-security-policy");
        assert!(policy.contains("form-action 'self'; frame-ancestors 'none'"), "{policy}");
        assert!(policy.contains("default-src 'none'"));
        let html = body(&page);
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        let mut actions =
            html.split("action=\"").skip(1).map(|rest| decoded(rest.split('"').next().unwrap()));
        assert!(actions.all(|action| action == URL), "{html}");
        for tag in ["form", "button", "ul", "li", "label", "time", "strong", "bdi"] {
            let opened =
                html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag} in {html}");
        }
    }
}

/// Every page with the title and the logo.
fn pages_with_look(title: &str, logo: &str) -> Vec<Reply> {
    let config = config(&json!({ "pages_title": title, "pages_logo": logo }));
    let look = look(&config, "");
    pages_of(look, "words", URL).into_iter().chain(pages_with_forms(look, "words", URL)).collect()
}

#[test]
fn hostile_title_is_shown_as_text() {
    for page in pages_with_look(HOSTILE, LOGO) {
        let html = body(&page);
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        assert_eq!(html.matches("</style>").count(), 1);
        assert_eq!(decoded(html).matches(HOSTILE).count(), 2, "{html}");
        assert!(decoded(between(html, "<title>", "</title>")).ends_with(HOSTILE), "{html}");
    }
}

#[test]
fn policy_allows_only_this_logo() {
    let pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=";
    for (logo, source) in [(LOGO, "https://cdn.example.com/logo.svg"), (pixel, "data:")] {
        for page in pages_with_look("Portal", logo) {
            let policy = header(&page, "content-security-policy");
            assert_eq!(
                policy.matches(&format!("default-src 'none'; img-src {source}; style-src")).count(),
                1,
                "{policy}"
            );
            let html = body(&page);
            assert_eq!(html.matches("src=").count(), 1);
            assert_eq!(decoded(between(html, " src=\"", "\"")), logo);
        }
    }
    for page in pages("words", URL) {
        assert!(!header(&page, "content-security-policy").contains("img-src"));
        assert!(!body(&page).contains("<img") && !body(&page).contains("class=\"service\""));
    }
}

#[test]
fn page_is_in_the_language_that_was_set() {
    for (language, accept, expected) in [
        ("en", "de", "en"),
        ("de", "en", "de"),
        ("browser", "", "en"),
        ("browser", "de", "de"),
        ("browser", "de-AT,de;q=0.9,en;q=0.8", "de"),
        ("browser", "fr, DE;q=0.5", "de"),
        ("browser", "en-GB, de;q=0.5", "en"),
        ("browser", "fr;q=0.9,*", "en"),
        ("browser", "en;q=0, de", "de"),
        ("browser", "de ; q=0.000,en", "en"),
        ("browser", "de;q=0.05,en;q=0", "de"),
        ("browser", "den,deutsch,;,-,=", "en"),
    ] {
        let config = config(&json!({ "pages_language": language }));
        let look = look(&config, accept);
        for page in pages_of(look, "words", URL).iter().chain(&pages_with_forms(look, "words", URL)) {
            assert!(body(page).contains(&format!("<html lang=\"{expected}\">")), "{language} {accept}");
            let is_german = ["Anmeld", "angemeldet", "verfügbar", "Sitzung", "abgemeldet", "Nummer"]
                .iter()
                .any(|word| body(page).contains(word));
            assert_eq!(is_german, expected == "de", "{language} {accept}: {}", body(page));
        }
    }
}

#[test]
fn languages_have_the_same_shape() {
    // The fields in the order of the struct, as `Debug` writes them.
    let texts = |words: &words::Words| {
        let text = format!("{words:?}");
        text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let (english, german) = (texts(&words::ENGLISH), texts(&words::GERMAN));
    assert_eq!(english.len(), german.len());
    for (ours, theirs) in english.iter().zip(&german) {
        assert_ne!(ours, theirs, "not translated");
        // What follows a text, or goes before it, is the same in each language.
        for end in ['.', ' ', ':'] {
            assert_eq!(ours.ends_with(end), theirs.ends_with(end), "{ours:?} and {theirs:?}");
        }
        assert_eq!(ours.starts_with(' '), theirs.starts_with(' '), "{ours:?} and {theirs:?}");
    }
}
