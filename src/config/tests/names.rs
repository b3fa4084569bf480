//! Names of options: known, refused, misspelt.

use super::*;
use crate::config::{options, provider_name, refused};

/// oauth2-proxy's names, in its file and on its command line.
const ORIGINAL: &str = include_str!("../../../tests/data/oauth2-proxy-v7.15.3.txt");

fn original() -> Vec<&'static str> {
    let lines = ORIGINAL.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn every_oauth2_proxy_option_is_either_taken_or_refused() {
    assert_eq!(original().len(), 168);
    for name in original() {
        assert_ne!(options::NAMES.contains(&name), refused::instead(name).is_some(), "{name}");
    }
}

#[test]
fn every_refused_option_exists_in_oauth2_proxy() {
    let mut refused: Vec<_> = refused::all().flat_map(|(_, names)| names).collect();
    assert!(refused.iter().all(|name| original().contains(name)), "{refused:?}");
    refused.sort_unstable();
    assert!(refused.windows(2).all(|two| two[0] != two[1]), "{refused:?}");
}

#[test]
fn option_is_ours_only_if_oauth2_proxy_lacks_it() {
    for row in options::rows() {
        let is_ours = matches!(row.presence, options::Presence::FilterOnly(_));
        assert_eq!(is_ours, !original().contains(&row.name), "{}", row.name);
    }
}

#[test]
fn flag_of_oauth2_proxy_suggests_its_option() {
    let flags =
        ORIGINAL.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
    for (option, flag) in flags.filter(|(option, _)| options::NAMES.contains(option)) {
        let written = flag.trim_start_matches('-').replace('-', "_");
        if written != option {
            let expected = format!("{flag}: unknown option; did you mean {option}?");
            assert_eq!(mistakes(json!({flag: "x"})), [expected]);
        }
    }
}

#[test]
fn every_provider_that_is_taken_is_documented() {
    let names = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>();
    assert_eq!(
        names(&mut provider_name::PRESETS.iter().map(|own| own.name)),
        names(&mut provider_name::DOCS.iter().map(|(name, _)| *name)),
    );
}

#[test]
fn a_refused_option_says_what_to_do_instead() {
    for (option, instead) in [
        ("http_address", "its listener"),
        ("cookie_secret_file", "OAUTH2_PROXY_COOKIE_SECRET"),
        ("redis_ca_path", "oauth2_session_redis_tls"),
        ("skip_auth_regex", "use skip_auth_routes"),
        ("user_id_claim", "use oidc_email_claim"),
    ] {
        assert!(mistake(option, json!({option: "x"})).contains(instead), "{option}");
    }
}

#[test]
fn misspelt_option_suggests_the_nearest() {
    for (misspelt, option) in [
        ("cookie_secert", "cookie_secret"),
        ("cookiesecret", "cookie_secret"),
        ("Cookie_Secret", "cookie_secret"),
        ("cookie-secret", "cookie_secret"),
        ("--cookie-secret", "cookie_secret"),
        ("cookie_domain", "cookie_domains"),
        ("email_domain", "email_domains"),
        ("whitelist_domain", "whitelist_domains"),
        ("allowed_group", "allowed_groups"),
        ("skip_auth_route", "skip_auth_routes"),
        ("api_route", "api_routes"),
        ("oidc_audience_claim", "oidc_audience_claims"),
        ("oidc_extra_audience", "oidc_extra_audiences"),
    ] {
        let expected = format!("{misspelt}: unknown option; did you mean {option}?");
        assert_eq!(mistakes(json!({misspelt: "x"})), [expected]);
    }
}

#[test]
fn name_unlike_any_option_is_unknown() {
    for name in ["x", "", "injectRequestHeaders", "listen_port"] {
        assert_eq!(mistakes(json!({name: "x"})), [format!("{name}: unknown option")]);
    }
}

#[test]
fn name_with_control_characters_stays_in_its_line() {
    let lines = mistakes(json!({"a\nclient_id: fine\u{1b}[2J": "x", "b".repeat(100_000): "x"}));
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| line.len() < 200 && !line.contains('\u{1b}')));
}

#[test]
fn unknown_variable_suggests_the_nearest_too() {
    for (variable, mistake) in [
        ("OAUTH2_PROXY_COOKIE_SECERT", "unknown option; did you mean OAUTH2_PROXY_COOKIE_SECRET?"),
        ("OAUTH2_PROXY_COOKIE_DOMAIN", "unknown option; did you mean OAUTH2_PROXY_COOKIE_DOMAINS?"),
        ("OAUTH2_PROXY_cookie_name", "unknown option; did you mean OAUTH2_PROXY_COOKIE_NAME?"),
        ("OAUTH2_PROXY_HTTP_ADDRESS", "Envoy is the server; set this in its listener"),
        ("OAUTH2_PROXY_", "unknown option"),
    ] {
        let env = env(&[(variable, "x")]);
        let lines = lines(Config::parse(with(json!({})).to_string().as_bytes(), &env));
        assert_eq!(lines, [format!("{variable}: {mistake}")]);
    }
}

#[test]
fn every_default_is_a_value_of_its_option() {
    // An invalid default would be an error here, because the JSON is read in the same way.
    for row in options::rows() {
        if !matches!(row.presence, options::Presence::Required(_) | options::Presence::Needed) {
            config(json!({"provider": "gitlab", row.name: row.presence.default()}));
        }
    }
}
