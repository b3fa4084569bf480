//! Who signs users in, and the options that are refused in the other modes.

use super::*;
use crate::config::Mode;

/// The shortest configuration of a mode in which the filter does not sign users in.
fn elsewhere(changes: Value) -> Value {
    let mut json = json!({ "cookie_secret": "0123456789abcdef", "email_domains": ["*"] });
    json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json
}

fn app(changes: Value) -> Value {
    let mut json = elsewhere(json!({
        "mode": "app",
        "login_app_path": "/login",
        "login_app_clusters": ["login-app"],
    }));
    json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json
}

fn login_app(changes: Value) -> crate::config::LoginApp {
    match parse(&app(changes)).unwrap().mode {
        Mode::App(login_app) => login_app,
        other => panic!("{other:?}"),
    }
}

#[test]
fn default_mode_is_login() {
    assert!(matches!(config(json!({})).mode, Mode::Login));
}

#[test]
fn beside_and_app_need_no_provider() {
    for json in [elsewhere(json!({ "mode": "beside" })), app(json!({}))] {
        assert!(parse(&json).unwrap().provider.is_none());
    }
}

#[test]
fn unused_credentials_of_the_provider_are_refused() {
    for mode in [json!({ "mode": "beside" }), app(json!({}))] {
        let mut json = with(json!({}));
        json.as_object_mut().unwrap().extend(mode.as_object().unwrap().clone());
        let lines = lines(parse(&json));
        assert_eq!(lines.len(), 3, "{lines:#?}");
        for option in ["oidc_issuer_url", "client_id", "client_secret"] {
            let line = lines.iter().find(|line| line.starts_with(&format!("{option}: "))).unwrap();
            assert!(line.contains("cookie_refresh") && !line.contains("hush-hush"), "{line}");
        }
    }
}

#[test]
fn cookie_refresh_renews_in_every_mode() {
    for mode in [json!({ "mode": "beside" }), app(json!({}))] {
        let mut json = with(json!({ "cookie_refresh": "5m" }));
        json.as_object_mut().unwrap().extend(mode.as_object().unwrap().clone());
        assert!(parse(&json).unwrap().provider.is_some());
        for option in ["oidc_issuer_url", "client_id"] {
            let mut without = json.clone();
            without.as_object_mut().unwrap().remove(option);
            assert!(lines(parse(&without))[0].starts_with(&format!("{option}: is missing")));
        }
    }
}

#[test]
fn login_app_path_covers_only_paths_beneath_it() {
    let login_app = login_app(json!({ "login_app_path": "/sign.in/v2" }));
    for path in ["/sign.in/v2", "/sign.in/v2/", "/sign.in/v2/static/a.css", "/sign%2ein/v2"] {
        assert!(login_app.routes.allows(b"POST", path.as_bytes()), "{path}");
    }
    for path in ["/", "/sign.in", "/sign.in/v23", "/sign-in/v2", "/x/sign.in/v2", "/SIGN.IN/v2"] {
        assert!(!login_app.routes.allows(b"POST", path.as_bytes()), "{path}");
    }
}

#[test]
fn login_app_cluster_matches_by_its_whole_name() {
    let login_app = login_app(json!({ "login_app_clusters": ["login-app", "outbound|80||login.ns.svc"] }));
    for cluster in ["login-app", "outbound|80||login.ns.svc"] {
        assert!(login_app.is_trusted(cluster.as_bytes()));
    }
    for cluster in ["", "login", "login-app2", "Login-App"] {
        assert!(!login_app.is_trusted(cluster.as_bytes()), "{cluster:?}");
    }
}

#[test]
fn app_without_path_or_cluster_is_refused() {
    for option in ["login_app_path", "login_app_clusters"] {
        let mut json = app(json!({}));
        json.as_object_mut().unwrap().remove(option);
        assert_eq!(lines(parse(&json)), [format!("{option}: is missing; mode app needs it")]);
    }
}

#[test]
fn invalid_login_app_path_is_refused() {
    for path in ["login", "/", "//evil.example", "/login/", "/a?b", "/../x", "/oauth2", "/oauth2/sign_in"] {
        let lines = lines(parse(&app(json!({ "login_app_path": path }))));
        assert!(lines.len() == 1 && lines[0].starts_with("login_app_path: must "), "{path}: {lines:#?}");
    }
}

#[test]
fn app_options_in_another_mode_are_refused() {
    let lines = mistakes(json!({ "login_app_path": "/login", "login_app_clusters": "login-app" }));
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("only for mode app")), "{lines:#?}");
    assert!(mistake("mode", json!({ "mode": "aside" })).contains("\"beside\""));
}
