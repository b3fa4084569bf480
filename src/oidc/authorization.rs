//! The authorization request, a URL for the browser (RFC 6749 section 4.1.1, RFC 7636 section 4.3, OpenID Connect Core
//! 3.1.2.1).

use super::query::with_query;

/// What an authorization request asks for. Empty strings are left out.
pub struct AuthorizationRequest<'a> {
    /// `client_id`.
    pub client_id: &'a str,
    /// The callback.
    pub redirect_uri: &'a str,
    /// The scopes, `openid` among them.
    pub scope: &'a str,
    /// The `state` that the callback returns.
    pub state: &'a str,
    /// The `nonce` that the ID token has.
    pub nonce: Option<&'a str>,
    /// PKCE: the method (`S256` or `plain`) and the challenge.
    pub code_challenge: Option<(&'a str, &'a str)>,
    /// `prompt`, such as `login` or `consent`.
    pub prompt: &'a str,
    /// `acr_values`: the requested strength of the authentication.
    pub acr_values: &'a str,
    /// `access_type` of Google: `offline` for a refresh token.
    pub access_type: &'a str,
}

/// The endpoint with the request in its query. A query of the endpoint is kept (RFC 6749 section 3.1).
pub fn authorization_url(endpoint: &str, request: &AuthorizationRequest<'_>) -> String {
    let (method, challenge) = request.code_challenge.unzip();
    let parameters = [
        ("response_type", Some("code")),
        ("client_id", Some(request.client_id)),
        ("redirect_uri", Some(request.redirect_uri)),
        ("scope", Some(request.scope)),
        ("state", Some(request.state)),
        ("nonce", request.nonce),
        ("code_challenge", challenge),
        ("code_challenge_method", method),
        ("prompt", Some(request.prompt)),
        ("acr_values", Some(request.acr_values)),
        ("access_type", Some(request.access_type)),
    ];
    with_query(endpoint, parameters.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> AuthorizationRequest<'static> {
        // The client, the redirect URI and the state of RFC 6749 section 4.1.1, the challenge of RFC 7636
        // appendix B.
        AuthorizationRequest {
            client_id: "s6BhdRkqt3",
            redirect_uri: "https://client.example.com/cb",
            scope: "openid email",
            state: "xyz",
            nonce: Some("n-0S6_WzA2Mj"),
            code_challenge: Some(("S256", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")),
            prompt: "",
            acr_values: "",
            access_type: "",
        }
    }

    fn query(url: &str) -> Vec<(String, String)> {
        let (_, query) = url.split_once('?').unwrap();
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    #[test]
    fn authorization_url_asks_for_a_code() {
        let url = authorization_url("https://server.example.com/authorize", &request());
        assert_eq!(
            url,
            "https://server.example.com/authorize?response_type=code&client_id=s6BhdRkqt3\
             &redirect_uri=https%3A%2F%2Fclient.example.com%2Fcb&scope=openid+email&state=xyz\
             &nonce=n-0S6_WzA2Mj&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
             &code_challenge_method=S256"
        );
    }

    #[test]
    fn query_of_the_endpoint_is_kept() {
        for endpoint in ["https://a.example/auth?p=sign%20in", "https://a.example/auth?p=sign%20in&"] {
            let url = authorization_url(endpoint, &request());
            assert!(url.starts_with("https://a.example/auth?p=sign%20in&response_type=code&"), "{url}");
        }
        let url = authorization_url("https://a.example/auth?", &request());
        assert!(url.starts_with("https://a.example/auth?response_type=code&"), "{url}");
    }

    #[test]
    fn hostile_value_adds_no_parameter() {
        let hostile = "a&prompt=none#x?\r\n\u{fc} +%26";
        let request =
            AuthorizationRequest { state: hostile, prompt: "login", acr_values: "2 1", ..request() };
        let url = authorization_url("https://a.example/auth", &request);
        assert!(url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{url}");
        let query = query(&url);
        let values = |name: &str| -> Vec<_> {
            query.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(values("state"), [hostile]);
        assert_eq!(values("prompt"), ["login"]);
        assert_eq!(values("acr_values"), ["2 1"]);
    }

    #[test]
    fn empty_parameters_are_left_out() {
        let request = AuthorizationRequest { nonce: None, code_challenge: None, ..request() };
        let names: Vec<_> = query(&authorization_url("https://a.example/auth", &request))
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["response_type", "client_id", "redirect_uri", "scope", "state"]);
    }
}
