//! The options of the provider, and how they depend on each other.

use super::*;

#[test]
fn a_provider_has_a_name_of_oauth2_proxy() {
    for provider in ["", "okta", "OIDC", "keycloak_oidc"] {
        let line = mistake("provider", json!({"provider": provider}));
        assert!(line.contains("must be oidc, keycloak-oidc, "), "{line}");
    }
}

#[test]
fn a_provider_without_openid_connect_is_refused_by_name() {
    // Together with the accepted ones, all providers of v7.15.3 (`pkg/apis/options/providers.go`).
    for (provider, instead) in [
        ("azure", "use entra-id"),
        ("bitbucket", "such as Dex"),
        ("cidaas", "use oidc"),
        ("digitalocean", "such as Dex"),
        ("facebook", "such as Dex"),
        ("github", "such as Dex"),
        ("keycloak", "use keycloak-oidc"),
        ("linkedin", "use oidc"),
        ("login.gov", "private key"),
        ("nextcloud", "use oidc"),
        ("sourcehut", "such as Dex"),
    ] {
        assert!(mistake("provider", json!({"provider": provider})).contains(instead), "{provider}");
    }
}

#[test]
fn a_provider_has_defaults_of_its_own() {
    let of = |provider: &str, groups: Value| {
        let config = config(json!({"provider": provider, "allowed_groups": groups}));
        (config.login.provider_display_name, config.provider.unwrap().scope)
    };
    for (provider, name, scope, with_groups) in [
        ("oidc", "OpenID Connect", "openid email profile", "openid email profile groups"),
        ("keycloak-oidc", "Keycloak OIDC", "openid email profile", "openid email profile groups"),
        ("entra-id", "Microsoft Entra ID", "openid email profile", "openid email profile groups"),
        ("adfs", "ADFS", "openid email profile", "openid email profile"),
        ("gitlab", "GitLab", "openid email", "openid email"),
    ] {
        assert_eq!(of(provider, json!([])), (name.to_owned(), scope.to_owned()));
        assert_eq!(of(provider, json!(["a"])).1, with_groups, "{provider}");
    }
    assert_eq!(of("google", json!([])).1, "openid email profile");
    assert!(
        mistake("allowed_groups", json!({"provider": "google", "allowed_groups": ["a"]}))
            .contains("no groups")
    );
}

#[test]
fn only_google_and_gitlab_have_a_default_issuer() {
    let mut json = with(json!({}));
    json.as_object_mut().unwrap().remove("oidc_issuer_url");
    for (provider, issuer) in [("google", "https://accounts.google.com"), ("gitlab", "https://gitlab.com")] {
        json["provider"] = provider.into();
        assert_eq!(parse(&json).unwrap().provider.unwrap().issuer_url, issuer);
        let own = config(json!({"provider": provider, "oidc_issuer_url": "https://login.example.com"}));
        assert_eq!(own.provider.unwrap().issuer_url, "https://login.example.com");
    }
    for provider in ["oidc", "keycloak-oidc", "entra-id", "adfs"] {
        json["provider"] = provider.into();
        assert!(lines(parse(&json))[0].starts_with("oidc_issuer_url: is missing"), "{provider}");
    }
}

#[test]
fn option_of_another_provider_is_refused() {
    for (option, provider) in
        [("allowed_roles", "keycloak-oidc"), ("entra_id_allowed_tenants", "entra-id"), ("resource", "adfs")]
    {
        config(json!({"provider": provider, option: "x"}));
        assert!(mistake(option, json!({option: "x"})).contains(provider));
    }
}

#[test]
fn adfs_resource_prefixes_the_scope_once() {
    let scope = |options| config(options).provider.unwrap().scope;
    let resource = "urn:microsoft:userinfo";
    assert_eq!(
        scope(json!({"provider": "adfs", "resource": resource})),
        "urn:microsoft:userinfo/openid email profile"
    );
    let written = json!({
        "provider": "adfs", "resource": format!("{resource}/"), "scope": format!("{resource}/openid"),
    });
    assert_eq!(scope(written), "urn:microsoft:userinfo/openid");
}

#[test]
fn allowed_groups_add_groups_to_the_scope() {
    let scope = |changes| config(changes).provider.unwrap().scope;
    assert_eq!(scope(json!({"allowed_groups": ["admins"]})), "openid email profile groups");
    assert_eq!(scope(json!({"allowed_groups": ["admins"], "scope": "openid"})), "openid");
}

#[test]
fn client_without_secret_needs_pkce() {
    assert!(config(json!({"client_secret": ""})).provider.unwrap().client_secret.is_empty());
    let neither = json!({"client_secret": "", "code_challenge_method": ""});
    assert!(mistake("client_secret", neither).contains("code_challenge_method"));
    // A secret of the wrong type is not also reported as missing.
    mistake("client_secret", json!({"client_secret": 5, "code_challenge_method": ""}));
    let config = config(json!({"code_challenge_method": ""}));
    assert_eq!(config.provider.as_ref().unwrap().code_challenge_method, None);
}

#[test]
fn issuer_with_query_is_refused() {
    let issuer = "https://login.example.com/realms/main/";
    assert_eq!(config(json!({"oidc_issuer_url": issuer})).provider.unwrap().issuer_url, issuer);
    mistake("oidc_issuer_url", json!({"oidc_issuer_url": "https://login.example.com/?realm=main"}));
    mistake("oidc_issuer_url", json!({"oidc_issuer_url": "https://login.example.com/#main"}));
}

#[test]
fn skip_discovery_needs_the_endpoints() {
    let mut endpoints = json!({
        "skip_oidc_discovery": true,
        "login_url": "https://login.example.com/authorize",
        "redeem_url": "https://login.example.com/token",
        "oidc_jwks_url": "https://login.example.com/keys",
    });
    let metadata = config(endpoints.clone()).provider.unwrap().metadata.unwrap();
    assert_eq!(metadata.issuer, "https://login.example.com");
    assert_eq!(metadata.authorization_endpoint, "https://login.example.com/authorize");
    assert_eq!(metadata.token_endpoint, "https://login.example.com/token");
    assert_eq!(metadata.jwks_uri, "https://login.example.com/keys");
    assert_eq!(metadata.userinfo_endpoint, None);

    endpoints["profile_url"] = json!("https://login.example.com/userinfo");
    let metadata = config(endpoints.clone()).provider.unwrap().metadata.unwrap();
    assert_eq!(metadata.userinfo_endpoint.as_deref(), Some("https://login.example.com/userinfo"));

    for endpoint in ["login_url", "redeem_url", "oidc_jwks_url"] {
        let mut endpoints = endpoints.clone();
        endpoints.as_object_mut().unwrap().remove(endpoint);
        assert!(mistake(endpoint, endpoints.clone()).contains("is missing"));
        endpoints[endpoint] = json!("authorize");
        assert!(mistake(endpoint, endpoints).contains("must be an absolute"));
    }
}

#[test]
fn http_endpoint_of_https_issuer_is_refused() {
    let names = ["login_url", "redeem_url", "oidc_jwks_url", "profile_url", "oidc_end_session_url"];
    for plain in names {
        let mut options = json!({ "skip_oidc_discovery": true });
        for name in names {
            options[name] = json!("https://login.example.com/x");
        }
        options[plain] = json!("HTTP://login.internal/x");
        assert!(mistake(plain, options.clone()).contains("insecure_oidc_allow_http_endpoints"));
        for (name, value) in [
            ("oidc_issuer_url", json!("http://login.internal")),
            ("insecure_oidc_allow_http_endpoints", json!(true)),
        ] {
            let mut options = options.clone();
            options[name] = value;
            config(options);
        }
    }
}

#[test]
fn endpoint_with_discovery_is_refused() {
    for endpoint in ["login_url", "redeem_url", "oidc_jwks_url", "profile_url"] {
        let url = "https://login.example.com/x";
        assert!(mistake(endpoint, json!({endpoint: url})).contains("skip_oidc_discovery"));
    }
}

#[test]
fn empty_or_zero_value_is_refused() {
    for (option, value) in [
        ("bridge_cluster", json!("")),
        ("oidc_email_claim", json!("")),
        ("oidc_audience_claims", json!([])),
        ("provider_request_timeout", json!("0")),
        ("provider_request_timeout", json!("999us")),
    ] {
        mistake(option, json!({option: value}));
    }
}
