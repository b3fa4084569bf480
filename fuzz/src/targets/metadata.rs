//! The discovery document, and the requests to its endpoints.

use oauth2_session_filter::oidc::{
    AuthorizationRequest, ClientAuth, ClientAuthMethod, Metadata, authorization_url, code_grant,
    userinfo_request,
};
use url::Url;

const ISSUER: &str = "https://login.example.com";

/// The bytes are the document.
pub(super) fn run(bytes: &[u8]) {
    let strict = Metadata::parse(bytes, ISSUER, false);
    if let Err(error) = &strict {
        assert!(error.to_string().len() < 4096, "a line of the log is short");
    }
    let Ok(metadata) = Metadata::parse(bytes, ISSUER, true) else {
        assert!(strict.is_err());
        return;
    };
    assert!(strict.is_err() || strict.as_ref() == Ok(&metadata));
    assert!(strict.is_err() || metadata.issuer == ISSUER);
    let request = AuthorizationRequest {
        client_id: "filter",
        redirect_uri: "https://app.example.com/oauth2/callback",
        scope: "openid",
        state: "hash:/",
        nonce: Some("nonce"),
        code_challenge: Some(("S256", "challenge")),
        prompt: "",
        acr_values: "",
        access_type: "",
    };
    let endpoint = &metadata.authorization_endpoint;
    // To a browser, a host such as `a.1` is invalid, so it goes nowhere.
    if let Some(origin) = read_by_browser(endpoint).map(|url| url.origin()) {
        let url = read_by_browser(&authorization_url(endpoint, &request)).expect("it is the endpoint's");
        assert_eq!(url.origin(), origin);
        assert!(url.query_pairs().any(|(name, value)| name == "state" && value == "hash:/"));
    }
    let mut client =
        ClientAuth { client_id: "filter", client_secret: "secret", method: ClientAuthMethod::Basic };
    let methods = client.methods(&metadata, None);
    assert_eq!(methods.len(), 2, "a secret can be said in two ways");
    client.method = methods[0];
    let grant = code_grant(&metadata.token_endpoint, &client, "code", "https://app.example.com/", None);
    assert!(grant.uri().authority().is_some(), "it goes nowhere");
    if let Some(endpoint) = &metadata.userinfo_endpoint {
        assert!(userinfo_request(endpoint, "token").uri().authority().is_some(), "it goes nowhere");
    }
}

/// An endpoint as a browser reads it: no credentials in it, no fragment, http or https.
fn read_by_browser(endpoint: &str) -> Option<Url> {
    let url = Url::parse(endpoint).ok()?;
    assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{endpoint:?}");
    assert!(
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none(),
        "{endpoint:?}"
    );
    Some(url)
}
