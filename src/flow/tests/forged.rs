//! Forged identity headers, in every spelling, on every way through the filter, under every option.
//!
//! The names and the spellings are said here once more: oauth2-proxy's documentation has the names, and CGI (RFC 3875
//! section 4.1.18) and its heirs make the same variable of `-` and of any other byte that is not a letter or digit.

use serde_json::{Value, json};

use super::Site;
use super::browser::{Browser, sent};
use crate::flow::{Action, Decision, Forward, HeaderBlock, Ready, RequestHead};

const IDENTITY: [&str; 14] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-access-token",
    "x-auth-request-id-token",
    "gap-auth",
    "x-oauth2-session",
    "x-oauth2-session-guard",
];

const OTHERS: [&str; 8] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-userx",
    "xx-forwarded-user",
    "x-forwardeduser",
    "x0forwarded-user",
    "x-auth-request-redirect",
    "proxy-authorization",
];

/// Every spelling of a name that a reader may take for it.
fn spellings(name: &str) -> Vec<String> {
    let mut all: Vec<String> =
        "-_.~!+#$%&'*^`|".chars().map(|separator| name.replace('-', &separator.to_string())).collect();
    all.push(name.replacen('-', "_", 1));
    all.push(name.to_uppercase());
    all.push(
        name.chars().enumerate().map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect(),
    );
    all
}

/// What a client forges: all names in all spellings, and `Authorization`.
fn forged() -> Vec<String> {
    IDENTITY.iter().chain(&["authorization"]).chain(&OTHERS).flat_map(|name| spellings(name)).collect()
}

/// Whether a client may not send this header.
fn is_ours(name: &str, with_authorization: bool) -> bool {
    let folded: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    IDENTITY.contains(&folded.as_str()) || (with_authorization && folded == "authorization")
}

/// The headers that do not arrive.
fn removed(forward: &Forward) -> Vec<String> {
    forward.remove.iter().map(|name| String::from_utf8(name.clone()).unwrap()).collect()
}

fn expected(with_authorization: bool) -> Vec<String> {
    forged().into_iter().filter(|name| is_ours(name, with_authorization)).collect()
}

fn ask(browser: &mut Browser, method: &str, target: &str) -> Forward {
    let names = forged();
    let mut headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "root")).collect();
    headers.push((":method", method));
    browser.forward(target, &headers)
}

fn with(more: Value) -> Value {
    let mut options = json!({ "skip_auth_routes": ["^/public$"], "skip_auth_preflight": true });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

/// The options: whether there are identity headers, `Authorization`, and the exception.
fn all_options() -> Vec<Value> {
    let mut all = Vec::new();
    for says in [
        json!({}),
        json!({ "pass_user_headers": false, "pass_basic_auth": false }),
        json!({ "basic_auth_password": "open sesame" }),
        json!({ "pass_authorization_header": true, "pass_user_headers": false, "pass_basic_auth": false }),
    ] {
        for strips in [true, false] {
            let mut options = with(json!({ "skip_auth_strip_headers": strips }));
            options.as_object_mut().unwrap().extend(says.as_object().unwrap().clone());
            all.push(options);
        }
    }
    all
}

fn sets_authorization(options: &Value) -> bool {
    options["basic_auth_password"].is_string() || options["pass_authorization_header"] == true
}

#[test]
fn forged_headers_arrive_only_without_skip_auth_strip_headers() {
    for options in all_options() {
        let site = Site::new(options.clone());
        let expected = expected(sets_authorization(&options));
        let mut of_somebody = site.signed_in();
        for (method, target) in [("GET", "/private"), ("GET", "/public"), ("OPTIONS", "/private")] {
            let forward = ask(&mut of_somebody, method, target);
            assert_eq!(removed(&forward), expected, "{method} {target} {options}");
        }
        assert_eq!(removed(&ask(&mut site.browser(), "OPTIONS", "/private")), expected, "{options}");
        let skipped = removed(&ask(&mut site.browser(), "GET", "/public"));
        if options["skip_auth_strip_headers"] == true {
            assert_eq!(skipped, expected, "{options}");
        } else {
            assert!(skipped.is_empty(), "{options}");
        }
    }
}

#[test]
fn session_without_identity_removes_forged_headers() {
    // No name and no ID token: there is nothing to replace the forged headers with.
    let options = with(json!({
        "mode": "app", "login_app_path": "/login", "login_app_clusters": ["login-app"],
        "oidc_issuer_url": "", "client_id": "", "client_secret": "",
        "pass_user_headers": false, "pass_basic_auth": false, "pass_authorization_header": true,
        "skip_auth_strip_headers": false,
    }));
    let site = Site::new(options);
    let mut browser = site.browser();
    let handed_over = browser.forward("/login", &[]).handed_over;
    let keeping = site.app.take_session(handed_over, b"login-app", &[br#"{"user": "alice"}"#]).unwrap();
    let response = site.world.run(vec![keeping]).remove(0).unwrap();
    browser.keep_cookies(&Action::Forward(Forward { response, ..Forward::default() }));
    let forward = ask(&mut browser, "GET", "/private");
    assert!(forward.set.is_empty());
    assert_eq!(removed(&forward), expected(true));
    // The login page needs no session, but it is not a skipped route.
    assert_eq!(removed(&ask(&mut site.browser(), "GET", "/login")), expected(true));
}

#[test]
fn mode_beside_forwards_authorization_but_no_identity_headers() {
    let site = Site::new(json!({
        "mode": "beside", "oidc_issuer_url": "", "client_id": "", "client_secret": "",
        "basic_auth_password": "open sesame", "skip_auth_strip_headers": false,
    }));
    let forward = ask(&mut site.browser(), "GET", "/oauth2/start");
    assert_eq!(removed(&forward), expected(false));
}

#[test]
fn forged_trailers_never_reach_upstream() {
    for options in all_options() {
        let site = Site::new(options.clone());
        let names = forged();
        let trailers = HeaderBlock::from_pairs(names.iter().map(|name| (name.as_str(), b"root".as_slice())));
        let removed: Vec<_> =
            site.app.forged_trailers(&trailers).into_iter().map(String::from_utf8).collect();
        let expected: Vec<_> = expected(sets_authorization(&options)).into_iter().map(Ok).collect();
        assert_eq!(removed, expected, "{options}");
    }
}

#[test]
fn forged_header_names_with_any_bytes_are_removed() {
    const NAME: &[u8] = b"x\xff\x66orwarded\xe9user";
    let site = Site::new(json!({ "skip_auth_routes": ["^/public$"] }));
    let head = RequestHead::from_pairs([
        (b":path".as_slice(), b"/public".as_slice()),
        (b":method", b"GET"),
        (NAME, b""),
    ]);
    let Ready::Now(Decision { action: Action::Forward(forward), .. }) = site.app.handle(head) else {
        panic!("not let through")
    };
    assert_eq!(forward.remove, [NAME]);
}

#[test]
fn connection_header_cannot_drop_identity_headers() {
    let site = Site::new(json!({ "basic_auth_password": "open sesame" }));
    let mut browser = site.signed_in();
    let mut connection = |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("connection", *value)).collect();
        let forward = browser.forward("/ws", &headers);
        assert!(!sent(&forward, "x-forwarded-user").is_empty());
        forward.connection.map(|value| String::from_utf8(value).unwrap())
    };
    // Untouched, so as it was.
    assert_eq!(connection(&[]), None);
    assert_eq!(connection(&["Upgrade"]), None);
    assert_eq!(connection(&["keep-alive,Upgrade , X-Forwarded-For"]), None);
    for forged in
        ["X-Forwarded-User", "x.FORWARDED_groups", "Authorization", "\tgap-auth ", "X-OAuth2-Session"]
    {
        assert_eq!(connection(&[&format!("Upgrade, {forged}")]).as_deref(), Some("Upgrade"), "{forged}");
        assert_eq!(
            connection(&[&format!("{forged},Upgrade,  TE")]).as_deref(),
            Some("Upgrade, TE"),
            "{forged}"
        );
        assert_eq!(connection(&["Upgrade", forged, "TE"]).as_deref(), Some("Upgrade, TE"), "{forged}");
        assert_eq!(connection(&[forged]).as_deref(), Some(""), "{forged}");
        // Apache's httpd ends a name at a blank and at `;` too, others take it out of quotes.
        for disguise in
            [format!("x {forged}"), format!("x;{forged}"), format!("\"{forged}\""), format!("{forged}=1")]
        {
            assert_eq!(connection(&["Upgrade", &disguise]).as_deref(), Some("Upgrade"), "{disguise}");
        }
    }
    let without = Site::new(json!({}));
    let mut browser = without.signed_in();
    assert_eq!(browser.forward("/ws", &[("connection", "Upgrade, Authorization")]).connection, None);
}
