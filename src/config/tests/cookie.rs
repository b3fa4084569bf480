//! The options of the cookies, and how they depend on each other.

use std::time::Duration;

use super::*;
use crate::config::SessionCache;
use crate::cookie::{CookieSecret, SameSite};

#[test]
fn cookie_secret_has_the_length_of_an_aes_key() {
    // The last: 32 bytes in base64url, as the hint makes them.
    for secret in ["0123456789abcdef", &"k".repeat(32), "Rm9vQmFyQmF6UXV4X18tLUZvb0JhckJhelF1eDAxMjM="] {
        config(json!({"cookie_secret": secret}));
    }
    let line = mistake("cookie_secret", json!({"cookie_secret": "short"}));
    assert!(line.contains("16, 24 or 32 bytes") && line.contains("is 5"), "{line}");
    assert!(line.ends_with("; make one with: openssl rand -base64 32 | tr -- '+/' '-_'"), "{line}");
}

/// How many secrets an option has, and whether this one is the first.
fn secrets(option: &serde_json::Value, first: &str) -> (usize, bool) {
    let secrets = config(json!({ "cookie_secret": option })).cookie.secrets;
    (secrets.count(), **secrets.current() == CookieSecret::new(first.as_bytes()).unwrap())
}

#[test]
fn several_cookie_secrets_are_a_list_or_have_commas() {
    let (new, old) = ("fedcba9876543210", "Rm9vQmFyQmF6UXV4X18tLUZvb0JhckJhelF1eDAxMjM=");
    for option in [json!([new, old]), json!(format!("{new},{old}")), json!(format!("{new}, {old}"))] {
        assert_eq!(secrets(&option, new), (2, true), "{option}");
    }
    assert_eq!(secrets(&json!([old]), old), (1, true));
    let env = [("OAUTH2_PROXY_COOKIE_SECRET", format!("{new},{old}"))];
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let parsed = Config::parse(with(json!({})).to_string().as_bytes(), &super::env(&env)).unwrap();
    assert_eq!(parsed.cookie.secrets.count(), 2);
}

/// oauth2-proxy takes any bytes of the right length.
#[test]
fn valid_secret_with_commas_is_one_secret() {
    for secret in ["01234567,9abcdef", "0123,56789ab,def01234,67", ",123456789abcdef0123456789abcde,"] {
        assert_eq!(secrets(&json!(secret), secret), (1, true), "{secret}");
    }
}

#[test]
fn mistake_in_one_of_several_secrets_names_it() {
    let good = "0123456789abcdef";
    for (option, expected) in [
        (
            json!([good, "too-short-a-secret"]),
            "secret 2 of 2 must be 16, 24 or 32 bytes (or base64 of that many), but is 18",
        ),
        (json!(format!("{good},too-short-a-secret")), "secret 2 of 2 must be 16"),
        (json!(format!(",{good}")), "secret 1 of 2 is empty"),
        (json!([good, "fedcba9876543210", good]), "secret 3 of 3 is the same as secret 1"),
        (
            json!((10..19).map(|number| number.to_string().repeat(8)).collect::<Vec<_>>()),
            "must be 1 to 8 secrets, but are 9",
        ),
        (json!([]), "is missing"),
        (json!([good, 7]), "must be a string"),
        (json!([good, "0123456789abcdef\n"]), "must be a string"),
    ] {
        let line = mistake("cookie_secret", json!({ "cookie_secret": option }));
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains("too-short") && !line.contains(good), "{line}");
    }
}

#[test]
fn a_cookie_name_is_a_token() {
    for name in ["sid", "_oauth2_proxy", "a.b-c", &"n".repeat(256)] {
        assert_eq!(config(json!({"cookie_name": name})).cookie.name, name);
    }
    for name in ["", "a b", "a;b", "a=b", "a,b", "a\u{e4}", "a\r\nb", &"n".repeat(257)] {
        mistake("cookie_name", json!({"cookie_name": name}));
    }
}

#[test]
fn cookie_name_prefix_needs_its_attributes() {
    for name in ["__Secure-sid", "__Host-sid"] {
        config(json!({"cookie_name": name}));
        mistake("cookie_name", json!({"cookie_name": name, "cookie_secure": false}));
    }
    let path = json!({"cookie_path": "/a", "proxy_prefix": "/a/oauth2"});
    let with_path = |name: &str| {
        let mut changes = path.clone();
        changes["cookie_name"] = json!(name);
        changes
    };
    config(with_path("__Secure-sid"));
    config(json!({"cookie_name": "__Secure-sid", "cookie_domains": "a.example"}));
    mistake("cookie_name", with_path("__Host-sid"));
    mistake("cookie_name", json!({"cookie_name": "__Host-sid", "cookie_domains": "a.example"}));
    // Browsers compare the prefix without case.
    mistake("cookie_name", with_path("__host-sid"));
}

#[test]
fn cookie_attributes_with_separators_are_refused() {
    for path in ["", "a", "/a;Secure", "/a\r\nSet-Cookie: b=c", "/\u{e4}"] {
        mistake("cookie_path", json!({"cookie_path": path}));
    }
    for domain in ["a;b", "a..b", "*.example.com", "https://example.com", "example.com:8443", "a\r\nb", "."] {
        mistake("cookie_domains", json!({"cookie_domains": ["example.com", domain]}));
    }
    let domains = ["example.com", ".example.com", "localhost", "10.0.0.1", "my_host.internal"];
    assert_eq!(config(json!({"cookie_domains": domains})).cookie.attributes.domains, domains);
}

#[test]
fn csrf_samesite_defaults_to_cookie_samesite() {
    let same_site = |changes| {
        let cookie = config(changes).cookie;
        (cookie.attributes.same_site, cookie.csrf_attributes.same_site)
    };
    let (lax, strict) = (Some(SameSite::Lax), Some(SameSite::Strict));
    assert_eq!(same_site(json!({"cookie_samesite": "strict"})), (strict, strict));
    let both = json!({"cookie_samesite": "strict", "cookie_csrf_samesite": "lax"});
    assert_eq!(same_site(both), (strict, lax));
}

#[test]
fn same_site_none_needs_secure() {
    for option in ["cookie_samesite", "cookie_csrf_samesite"] {
        config(json!({option: "none"}));
        mistake(option, json!({option: "none", "cookie_secure": false}));
    }
}

#[test]
fn cookie_refresh_must_be_below_cookie_expire() {
    mistake("cookie_refresh", json!({"cookie_expire": "1h", "cookie_refresh": "1h"}));
    mistake("cookie_refresh", json!({"cookie_refresh": "169h"}));
    config(json!({"cookie_expire": "1h", "cookie_refresh": "59m"}));
    // Then the browser ends the session.
    let cookie = config(json!({"cookie_expire": "0", "cookie_refresh": "1h"})).cookie;
    assert_eq!((cookie.expire, cookie.refresh), (Duration::ZERO, Duration::from_secs(3600)));
}

#[test]
fn minimal_session_refuses_options_that_need_tokens() {
    assert!(config(json!({"session_cookie_minimal": true})).cookie.minimal);
    for (option, value) in [
        ("cookie_refresh", json!("1h")),
        ("pass_access_token", json!(true)),
        ("pass_authorization_header", json!(true)),
        ("set_authorization_header", json!(true)),
    ] {
        mistake(option, json!({"session_cookie_minimal": true, option: value}));
    }
}

#[test]
fn cookie_max_bytes_has_a_range() {
    for bytes in [4096, 48 << 10, 128 << 10] {
        assert_eq!(config(json!({ "cookie_max_bytes": bytes })).cookie.max_bytes, bytes);
    }
    for bytes in [0, 4095, (128 << 10) + 1] {
        mistake("cookie_max_bytes", json!({ "cookie_max_bytes": bytes }));
    }
}

#[test]
fn csrf_limit_of_zero_is_no_limit() {
    let limit = |limit| config(json!({"cookie_csrf_per_request_limit": limit})).cookie.csrf_per_request_limit;
    assert_eq!(limit(json!(0)), None);
    assert_eq!(limit(json!("3")), Some(3));
}

#[test]
fn session_cache_is_limited_in_bytes_or_in_sessions() {
    let cache = |options| config(options).cookie.session_cache;
    assert_eq!(cache(json!({ "session_cache_bytes": 1 << 20 })), SessionCache::Bytes(1 << 20));
    assert_eq!(cache(json!({ "session_cache_bytes": "0" })), SessionCache::Bytes(0));
    assert_eq!(cache(json!({ "session_cache_bytes": 512 << 20 })), SessionCache::Bytes(512 << 20));
    assert_eq!(cache(json!({ "session_cache_size": 500 })), SessionCache::Entries(500));
    // Templates often write an option that is not set.
    assert_eq!(
        cache(json!({ "session_cache_bytes": "", "session_cache_size": "" })),
        SessionCache::Bytes(32 << 20)
    );
}

#[test]
fn session_cache_is_refused_if_too_large_or_limited_twice() {
    assert_eq!(
        mistake("session_cache_bytes", json!({ "session_cache_bytes": (512 << 20) + 1 })),
        "session_cache_bytes: must be at most 536870912 (512 MiB)"
    );
    assert_eq!(
        mistake("session_cache_bytes", json!({ "session_cache_bytes": 1024, "session_cache_size": 0 })),
        "session_cache_bytes: cannot be set together with session_cache_size; leave out session_cache_size"
    );
}
