//! `make config`: from oauth2-proxy's configuration to the filter JSON.

#![allow(clippy::unwrap_used, reason = "the helpers of a test are a test too")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// The output of the program for these sources, in an environment without options.
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
fn cfg_file_is_converted() {
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
        "redis_connection_url": "redis://portal@redis.example.com:6379/0",
        "set_xauthrequest": true,
        "pass_access_token": true,
        "reverse_proxy": true,
        "redirect_url": "https://portal.example.com",
    });
    assert_eq!(run.json, expected, "{}", run.told);
    assert_eq!(run.code, Some(0), "{}", run.told);
    for variable in ["CLIENT_SECRET", "COOKIE_SECRET", "REDIS_PASSWORD"] {
        run.tells(&format!("OAUTH2_PROXY_{variable}"));
    }
    run.tells("http_address: Envoy is the server");
    run.tells("upstreams: Envoy is the proxy");
    run.tells("reverse_proxy: it means that the proxy in front of Envoy sets X-Forwarded-Host");
    run.tells("login_url: it is found by discovery");
}

#[test]
fn alpha_configuration_is_converted() {
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
    // The cookie and the restrictions are in the other file, as with oauth2-proxy.
    assert_eq!(run.code, Some(1));
    run.tells("OAUTH2_PROXY_COOKIE_SECRET, which no source has");
    run.tells("email_domains: is missing");
}

#[test]
fn later_source_wins() {
    let both = run(&["oauth2-proxy.cfg", "alpha.yaml"]);
    assert_eq!(both.code, Some(0), "{}", both.told);
    assert_eq!(both.json["provider"], "keycloak-oidc");
    assert_eq!(both.json["cookie_expire"], "12h");
}

#[test]
fn variables_are_converted_with_default_provider() {
    let run = run(&["oauth2-proxy.env"]);
    let expected = json!({
        "provider": "google",
        "client_id": "portal.apps.googleusercontent.com",
        "email_domains": ["example.com", "example.org"],
    });
    assert_eq!(run.json, expected);
    assert_eq!(run.code, Some(0), "{}", run.told);
    assert!(!run.told.contains("http_address"), "a variable that is empty is not set");
}

#[test]
fn arguments_are_converted() {
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
    for variable in ["CLIENT_SECRET", "COOKIE_SECRET"] {
        run.tells(&format!("OAUTH2_PROXY_{variable}, which no source has"));
    }
    assert_eq!(run.code, Some(0), "{}", run.told);
}

#[test]
fn shipped_example_is_converted() {
    let shipped = run(&["../../../envoy-config/oauth2-proxy.cfg"]);
    assert_eq!(shipped.code, Some(0), "{}", shipped.told);
    assert_eq!(shipped.json["cookie_refresh"], "50m");
}

/// A source of this text.
fn run_text(name: &str, text: &str) -> Run {
    let folder = std::env::temp_dir().join(format!("config-text-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    let run = Run::from(&Command::new(program()).arg(&path).output().unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
    run
}

/// A valid configuration with these lines added.
fn cfg(lines: &str) -> String {
    format!(
        "provider = \"oidc\"\noidc_issuer_url = \"https://login.example.com\"\nclient_id = \"a\"\n\
         email_domains = [\"*\"]\n{lines}\n"
    )
}

#[test]
fn lost_restriction_gives_no_filter_json() {
    for (option, line) in [
        ("authenticated_emails_file", r#"authenticated_emails_file = "/etc/emails""#),
        ("github_org", r#"github_org = "acme""#),
        ("github_team", r#"github_team = "acme:staff""#),
        ("gitlab_projects", r#"gitlab_projects = ["a/b"]"#),
        ("google_groups", r#"google_groups = ["staff@example.com"]"#),
        ("google_group", r#"google_group = "staff@example.com""#),
        ("keycloak_groups", r#"keycloak_groups = ["/staff"]"#),
        ("bitbucket_team", r#"bitbucket_team = "acme""#),
        ("emial_domains", r#"emial_domains = ["example.com"]"#),
    ] {
        let run = run_text(&format!("{option}.cfg"), &cfg(line));
        assert_eq!((run.code, &run.json), (Some(1), &Value::Null), "{option}: {}", run.told);
        run.tells(&format!("{option}: "));
    }
    let without = run_text("empty.cfg", &cfg("google_groups = []\nauthenticated_emails_file = \"\""));
    assert_eq!(without.code, Some(0), "{}", without.told);
    let alpha = "providers:\n  - provider: oidc\n    oidcConfig: { allowedWhatever: [a] }\n";
    let run = run_text("newer.yaml", alpha);
    assert_eq!((run.code, &run.json), (Some(1), &Value::Null), "{}", run.told);
}

#[test]
fn alpha_configuration_before_7_14_keeps_headers() {
    let run = run_text(
        "old.yaml",
        "injectRequestHeaders:\n  - name: X-Forwarded-User\n    values:\n      - claim: user\n  - name: \
         X-Forwarded-Email\n    values:\n      - claim: email\n  - name: Authorization\n    values:\n      - claim: \
         id_token\n        prefix: \"Bearer \"\n",
    );
    assert_eq!(run.json["pass_user_headers"], true, "{}", run.told);
    assert_eq!(run.json["pass_authorization_header"], true, "{}", run.told);
}

#[test]
fn file_of_another_program_is_named() {
    for (name, text, what) in [
        ("values.yaml", "config:\n  clientID: a\nextraArgs:\n  provider: oidc\n", "a Helm chart's values"),
        ("compose.yaml", "services:\n  proxy:\n    image: oauth2-proxy\n", "a Compose file"),
        ("pod.yaml", "apiVersion: v1\nkind: ConfigMap\n", "a manifest of Kubernetes"),
    ] {
        let run = run_text(name, text);
        assert_eq!((run.code, &run.json), (Some(2), &Value::Null), "{}", run.told);
        assert!(run.told.contains(what), "{}", run.told);
    }
}

#[test]
fn passwords_of_urls_become_variables() {
    let run = run_text(
        "sentinel.cfg",
        &cfg(
            "session_store_type = \"redis\"\nredis_use_sentinel = true\nredis_sentinel_master_name = \"m\"\n\
              redis_sentinel_connection_urls = [\"redis://:s3cr3t%40a@s1.example.com:26379\", \
              \"redis://:s3cr3t%40a@s2.example.com:26379\"]",
        ),
    );
    assert_eq!(run.code, Some(0), "{}", run.told);
    run.tells("OAUTH2_PROXY_REDIS_SENTINEL_PASSWORD");
    let urls = &run.json["redis_sentinel_connection_urls"];
    assert_eq!(*urls, json!(["redis://s1.example.com:26379", "redis://s2.example.com:26379"]));
}

#[test]
fn logo_of_sign_in_page_is_converted() {
    // PNG's signature, and an SVG: oauth2-proxy puts the files into its page (pkg/app/pagewriter).
    let folder = std::env::temp_dir().join(format!("config-logo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("logo.PNG"), b"\x89PNG\r\n\x1a\n").unwrap();
    std::fs::write(folder.join("logo.svg"), "<svg/>").unwrap();
    std::fs::write(folder.join("large.jpg"), [0; 40_000]).unwrap();
    let convert = |logo: &str| run_text("logo.cfg", &cfg(&format!("custom_sign_in_logo = {logo:?}")));
    let file = |name: &str| convert(folder.join(name).to_str().unwrap());
    for (run, expected) in [
        (convert("https://cdn.example.com/logo.svg"), json!("https://cdn.example.com/logo.svg")),
        (file("logo.PNG"), json!("data:image/png;base64,iVBORw0KGgo=")),
        (file("logo.svg"), json!("data:image/svg+xml;base64,PHN2Zy8+")),
        (convert("-"), Value::Null),
    ] {
        assert_eq!((run.code, &run.json["pages_logo"]), (Some(0), &expected), "{}", run.told);
        assert!(!run.told.contains("custom_sign_in_logo"), "{}", run.told);
    }
    let missing = file("no-such-file.png");
    assert_eq!((missing.code, &missing.json["pages_logo"]), (Some(0), &Value::Null), "{}", missing.told);
    missing.tells("custom_sign_in_logo: use pages_logo");
    let large = file("large.jpg");
    assert_eq!(large.code, Some(1));
    large.tells("pages_logo: must be");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn banner_with_html_is_named() {
    let run = run_text("banner.cfg", &cfg("banner = \"<b>Staff</b> only\"\nfooter = \"Room 12\""));
    assert_eq!((run.code, &run.json["footer"]), (Some(0), &json!("Room 12")), "{}", run.told);
    run.tells("banner: the filter shows it as plain text");
    assert!(!run.told.contains("footer"), "{}", run.told);
}

#[test]
fn unreadable_file_is_reported_without_content() {
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
