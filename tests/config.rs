//! `make config`: from oauth2-proxy's configuration to the filter JSON.

#![allow(clippy::unwrap_used, reason = "the helpers of a test are a test too")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// What the program prints about these sources, in an environment without options.
struct Run {
    json: Value,
    told: String,
    code: Option<i32>,
}

fn run(sources: &[&str]) -> Run {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config");
    let sources: Vec<PathBuf> = sources.iter().map(|name| folder.join(name)).collect();
    let output = Command::new(program()).args(sources).output().unwrap();
    Run::from(&output)
}

/// `cargo test` builds the examples beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/config")
}

impl From<&Output> for Run {
    fn from(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let run = Self {
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            told: text(&output.stderr),
            code: output.status.code(),
        };
        let printed = format!("{}{}", text(&output.stdout), run.told);
        for secret in ["s3cr3t", "0123456789abcdef"] {
            assert!(!printed.contains(secret), "{printed}");
        }
        run
    }
}

impl Run {
    fn tells(&self, line: &str) {
        assert!(self.told.lines().any(|other| other.trim().starts_with(line)), "{line}:\n{}", self.told);
    }
}

#[test]
fn a_file_is_carried_over() {
    let run = run(&["oauth2-proxy.cfg"]);
    let expected = json!({
        "provider": "oidc",
        "provider_display_name": "Example",
        "oidc_issuer_url": "https://login.example.com",
        "client_id": "portal",
        "cookie_domains": [".example.com"],
        "cookie_expire": "12h",
        "cookie_refresh": "55m",
        "email_domains": ["*"],
        "skip_auth_routes": ["^/public/", "=^/a=b$"],
        "session_store_type": "redis",
        "set_xauthrequest": true,
        "pass_access_token": true,
    });
    assert_eq!(run.json, expected, "{}", run.told);
    assert_eq!(run.code, Some(0), "{}", run.told);
    for variable in ["CLIENT_SECRET", "COOKIE_SECRET", "REDIS_CONNECTION_URL"] {
        run.tells(&format!("OAUTH2_PROXY_{variable}"));
    }
    run.tells("http_address: Envoy is the server");
    run.tells("upstreams: Envoy is the proxy");
    run.tells("reverse_proxy: Envoy decides");
    run.tells("login_url: it is found by discovery");
    run.tells("emial_domains: unknown option");
}

#[test]
fn the_alpha_configuration_is_carried_over_where_it_has_options() {
    let run = run(&["alpha.yaml"]);
    let expected = json!({
        "provider": "keycloak-oidc",
        "oidc_issuer_url": "https://keycloak.example.com/realms/main",
        "client_id": "portal",
        "code_challenge_method": "S256",
        "insecure_oidc_skip_nonce": false,
        "allowed_groups": ["/staff"],
        "allowed_roles": ["portal:admin"],
        "prompt": "login",
        "pass_user_headers": true,
        "pass_basic_auth": true,
        "set_xauthrequest": true,
    });
    assert_eq!(run.json, expected, "{}", run.told);
    run.tells("OAUTH2_PROXY_BASIC_AUTH_PASSWORD");
    run.tells("upstreams: Envoy is the proxy");
    run.tells("http_address: Envoy is the server");
    run.tells("injectRequestHeaders: X-Tenant: ");
    run.tells("loginURLParameters: login_hint: ");
    // The cookie and who may come in are in the other file, as with oauth2-proxy.
    assert_eq!(run.code, Some(1));
    run.tells("cookie_secret: is missing");
    run.tells("email_domains: is missing");
}

#[test]
fn of_several_sources_the_later_wins() {
    let both = run(&["oauth2-proxy.cfg", "alpha.yaml"]);
    assert_eq!(both.code, Some(0), "{}", both.told);
    assert_eq!(both.json["provider"], "keycloak-oidc");
    assert_eq!(both.json["cookie_expire"], "12h");
}

#[test]
fn variables_are_carried_over_and_the_provider_is_oauth2_proxy_s_default() {
    let run = run(&["oauth2-proxy.env"]);
    let expected = json!({
        "provider": "google",
        "client_id": "portal.apps.googleusercontent.com",
        "email_domains": ["example.com", "example.org"],
    });
    assert_eq!(run.json, expected);
    assert_eq!(run.code, Some(0), "{}", run.told);
    run.tells("google_groups: the filter does not ask Google's Admin API");
    assert!(!run.told.contains("http_address"), "a variable that is empty is not set");
}

#[test]
fn arguments_are_carried_over() {
    let run = run(&["arguments.txt"]);
    let expected = json!({
        "provider": "oidc",
        "oidc_issuer_url": "https://login.example.com",
        "client_id": "portal",
        "email_domains": ["example.com", "example.org"],
        "cookie_secure": "false",
        "skip_provider_button": "true",
        "api_routes": ["^/api/"],
    });
    assert_eq!(run.json, expected);
    run.tells("upstreams: Envoy is the proxy");
    run.tells("cookie_secret: is missing");
    assert_eq!(run.code, Some(1));
}

#[test]
fn a_file_that_cannot_be_read_is_told_without_its_content() {
    let folder = std::env::temp_dir().join(format!("config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [
        ("broken.cfg", "client_id = \"a\"\nclient_secret = \"s3cr3t\nx = 1\n"),
        ("broken.yaml", "providers:\n  - clientSecret: \"s3cr3t\n x: [\n"),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        let run = Run::from(&Command::new(program()).arg(&path).output().unwrap());
        assert_eq!(run.code, Some(2), "{}", run.told);
        assert!(run.told.contains("see line "), "{}", run.told);
    }
    std::fs::remove_dir_all(&folder).unwrap();
    let run = Run::from(&Command::new(program()).arg("no-such-file.cfg").output().unwrap());
    assert_eq!(run.code, Some(2));
}
