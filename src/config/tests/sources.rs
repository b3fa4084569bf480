//! JSON and environment.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn the_shortest_configuration_of_the_readme_is_enough() {
    let json = br#"{
        "provider": "oidc",
        "oidc_issuer_url": "https://login.example.com",
        "client_id": "my-service",
        "email_domains": ["example.com"]
    }"#;
    let env = env(&[
        ("OAUTH2_PROXY_CLIENT_SECRET", "hush-hush"),
        ("OAUTH2_PROXY_COOKIE_SECRET", "0123456789abcdef"),
    ]);
    let config = Config::parse(json, &env).unwrap();
    assert_eq!(config.provider.as_ref().unwrap().client_secret.expose(), "hush-hush");
    assert_eq!(config.cookie.secrets.current().aes_key(), b"0123456789abcdef");
}

#[test]
fn everything_can_come_from_the_environment() {
    let env = env(&[
        ("PATH", "/bin"),
        ("OAUTH2_PROXY_OIDC_ISSUER_URL", "https://login.example.com"),
        ("OAUTH2_PROXY_CLIENT_ID", "my-service"),
        ("OAUTH2_PROXY_CLIENT_SECRET", "hush-hush"),
        ("OAUTH2_PROXY_COOKIE_SECRET", "0123456789abcdef"),
        ("OAUTH2_PROXY_EMAIL_DOMAINS", "example.com, example.org"),
        ("OAUTH2_PROXY_COOKIE_SECURE", "false"),
        ("OAUTH2_PROXY_COOKIE_EXPIRE", "12h"),
        ("OAUTH2_PROXY_SESSION_CACHE_SIZE", "10"),
        ("OAUTH2_PROXY_COOKIE_SAMESITE", "lax"),
    ]);
    for json in ["{}", "", " \n"] {
        let config = Config::parse(json.as_bytes(), &env).unwrap();
        assert_eq!(config.login.email_domains, ["example.com", "example.org"]);
        assert!(!config.cookie.attributes.secure);
        assert_eq!(config.cookie.expire.as_secs(), 12 * 3600);
        assert_eq!(config.cookie.session_cache, crate::config::SessionCache::Entries(10));
    }
}

#[test]
fn environment_wins_even_over_an_invalid_json_value() {
    let json = with(json!({"client_id": 5, "cookie_expire": "1h"})).to_string();
    let env = env(&[("OAUTH2_PROXY_CLIENT_ID", "other"), ("OAUTH2_PROXY_COOKIE_EXPIRE", "2h")]);
    let config = Config::parse(json.as_bytes(), &env).unwrap();
    assert_eq!(config.provider.as_ref().unwrap().client_id, "other");
    assert_eq!(config.cookie.expire.as_secs(), 7200);
}

#[test]
fn empty_variable_counts_as_not_set() {
    let env = env(&[("OAUTH2_PROXY_CLIENT_ID", ""), ("OAUTH2_PROXY_HTTP_ADDRESS", "")]);
    let config = Config::parse(with(json!({})).to_string().as_bytes(), &env).unwrap();
    assert_eq!(config.provider.as_ref().unwrap().client_id, "my-service");
}

#[test]
fn invalid_variable_is_named_in_the_error() {
    let env = env(&[("OAUTH2_PROXY_COOKIE_EXPIRE", "1 week")]);
    let lines = lines(Config::parse(with(json!({})).to_string().as_bytes(), &env));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("cookie_expire: must be a duration"), "{}", lines[0]);
    assert!(lines[0].ends_with("(in OAUTH2_PROXY_COOKIE_EXPIRE)"), "{}", lines[0]);
}

#[test]
fn empty_configuration_names_all_required_options() {
    for json in ["", "{}"] {
        let lines = lines(Config::parse(json.as_bytes(), &[]));
        let options: Vec<_> = lines.iter().map(|line| line.split(": is missing; ").next().unwrap()).collect();
        let expected = ["email_domains", "client_id", "oidc_issuer_url", "cookie_secret"];
        assert_eq!(options, expected, "{lines:#?}");
    }
}

#[test]
fn empty_required_option_is_missing() {
    for (option, empty) in [
        ("oidc_issuer_url", json!("")),
        ("client_id", json!("")),
        ("cookie_secret", json!("")),
        ("email_domains", json!([])),
        ("email_domains", json!("")),
        ("email_domains", json!([""])),
    ] {
        assert!(mistake(option, json!({option: empty})).contains("is missing"));
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let lines = mistakes(json!({
        "cookie_secret": "short",
        "cookie_expire": "never",
        "cookie_secure": "maybe",
        "skip_auth_routes": ["(", "^/fine", "["],
        "http_address": ":4180",
        "emial_domains": ["*"],
    }));
    let options: Vec<_> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    let expected = [
        "emial_domains",
        "http_address",
        "cookie_expire",
        "cookie_secure",
        "cookie_secret",
        "skip_auth_routes",
        "skip_auth_routes",
    ];
    assert_eq!(options, expected, "{lines:#?}");
}

#[test]
fn wrong_type_error_names_the_expected_type() {
    for (option, wrong, expected) in [
        ("client_id", json!(5), "must be a string, but is a number"),
        ("client_id", json!(null), "must be a string, but is null"),
        (
            "client_secret",
            json!(["a"]),
            "must be a string without control characters, such as the line break that echo adds, but is an array",
        ),
        ("cookie_secure", json!({}), "must be true or false, but is an object"),
        ("session_cache_size", json!(true), "must be a whole number, 0 or more, but is a boolean"),
        ("email_domains", json!(1), "must be a list of strings, or one string with commas, but is a number"),
    ] {
        assert_eq!(mistake(option, json!({option: wrong})), format!("{option}: {expected}"));
    }
    for (option, wrong) in [
        ("cookie_expire", json!(3600)),
        ("cookie_expire", json!("-1h")),
        ("oidc_issuer_url", json!("login.example.com")),
        ("cookie_samesite", json!("Lax")),
        ("code_challenge_method", json!("s256")),
    ] {
        assert!(mistake(option, json!({option: wrong})).contains(": must be "));
    }
}

#[test]
fn the_json_has_to_be_an_object() {
    for (json, found) in [("[]", "an array"), ("null", "null"), ("\"a\"", ""), ("1", "a number")] {
        let lines = lines(Config::parse(json.as_bytes(), &[]));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("the filter JSON must be an object"), "{}", lines[0]);
        assert!(lines[0].ends_with(found), "{}", lines[0]);
    }
}

#[test]
fn invalid_json_error_has_the_position() {
    for json in ["{\"client_id\": \"a\",\n}", "{\n", "{}x", "{'a': 1}", "\u{feff}{}"] {
        let lines = lines(Config::parse(json.as_bytes(), &[]));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("the filter JSON is not valid JSON: see line "), "{}", lines[0]);
    }
    assert!(Config::parse(b"{\"client_id\": \"\xff\"}", &[]).is_err());
    assert!(Config::parse("[".repeat(100_000).as_bytes(), &[]).is_err());
}

#[test]
fn too_large_json_is_refused() {
    let fits = with(json!({"banner": "a".repeat(900_000)}));
    assert!(parse(&fits).is_ok());
    let too_large = with(json!({"banner": "a".repeat(1_100_000)}));
    assert_eq!(lines(parse(&too_large)), ["the filter JSON is larger than 1048576 bytes"]);
}

#[test]
fn test_configuration_has_given_and_required_options() {
    let config = Config::for_tests(json!({"cookie_refresh": "1h"}));
    assert_eq!(config.cookie.refresh.as_secs(), 3600);
    assert!(Config::for_tests("{}").cookie.refresh.is_zero());
}

proptest! {
    #[test]
    fn any_invalid_bytes_give_errors(json in vec(any::<u8>(), 0..64)) {
        let errors = Config::parse(&json, &[]).unwrap_err();
        prop_assert!(!errors.to_string().is_empty());
    }
}
