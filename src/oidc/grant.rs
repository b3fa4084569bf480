//! Requests to the token endpoint (RFC 6749 sections 4.1.3 and 6).

use form_urlencoded::Serializer;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};

use super::ClientAuth;

/// Exchanges an authorization code; `code_verifier` is PKCE's (RFC 7636 section 4.5).
pub fn code_grant(
    endpoint: &str,
    client: &ClientAuth<'_>,
    code: &str,
    redirect_uri: &str,
    code_verifier: Option<&str>,
) -> Request<Vec<u8>> {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code");
    form.append_pair("code", code);
    form.append_pair("redirect_uri", redirect_uri);
    if let Some(code_verifier) = code_verifier {
        form.append_pair("code_verifier", code_verifier);
    }
    post(endpoint, client, form)
}

/// Exchanges a refresh token. Without a scope, the granted one stays.
pub fn refresh_grant(endpoint: &str, client: &ClientAuth<'_>, refresh_token: &str) -> Request<Vec<u8>> {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("refresh_token", refresh_token);
    post(endpoint, client, form)
}

fn post(endpoint: &str, client: &ClientAuth<'_>, mut form: Serializer<'_, String>) -> Request<Vec<u8>> {
    let authorization = client.apply(&mut form);
    let mut request = Request::new(form.finish().into_bytes());
    *request.method_mut() = Method::POST;
    // Checked metadata has valid URLs only. `/` has no host, so the request would go nowhere.
    *request.uri_mut() = endpoint.parse().unwrap_or_else(|_| Uri::from_static("/"));
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::ClientAuthMethod;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    const ENDPOINT: &str = "https://server.example.com/token";

    fn client(method: ClientAuthMethod) -> ClientAuth<'static> {
        // The client of RFC 6749 section 2.3.1.
        ClientAuth { client_id: "s6BhdRkqt3", client_secret: "gX1fBat3bV", method }
    }

    fn body(request: &Request<Vec<u8>>) -> &str {
        std::str::from_utf8(request.body()).unwrap()
    }

    fn form(request: &Request<Vec<u8>>) -> Vec<(String, String)> {
        form_urlencoded::parse(request.body()).into_owned().collect()
    }

    #[test]
    fn code_grant_is_the_example_of_rfc_6749() {
        let request = code_grant(
            ENDPOINT,
            &client(ClientAuthMethod::Basic),
            "SplxlOBeZQQYbYS6WxSbIA",
            "https://client.example.com/cb",
            None,
        );
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), ENDPOINT);
        assert_eq!(request.headers()["authorization"], "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
        assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(request.headers()["accept"], "application/json");
        assert_eq!(request.headers().len(), 3);
        assert_eq!(
            body(&request),
            "grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA\
             &redirect_uri=https%3A%2F%2Fclient.example.com%2Fcb"
        );
    }

    #[test]
    fn refresh_grant_is_the_example_of_rfc_6749() {
        let request = refresh_grant(ENDPOINT, &client(ClientAuthMethod::Basic), "tGzv3JOkF0XG5Qx2TlKWIA");
        assert_eq!(request.headers()["authorization"], "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
        assert_eq!(body(&request), "grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA");
    }

    #[test]
    fn client_secret_post_is_in_the_body() {
        let request = refresh_grant(ENDPOINT, &client(ClientAuthMethod::Post), "tGzv3JOkF0XG5Qx2TlKWIA");
        assert!(!request.headers().contains_key("authorization"));
        assert_eq!(
            body(&request),
            "grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA\
             &client_id=s6BhdRkqt3&client_secret=gX1fBat3bV"
        );
    }

    #[test]
    fn public_client_sends_only_its_id() {
        for method in [ClientAuthMethod::Basic, ClientAuthMethod::Post] {
            let client = ClientAuth { client_secret: "", ..client(method) };
            let request = code_grant(ENDPOINT, &client, "c", "https://a.example/cb", Some("verifier"));
            assert!(!request.headers().contains_key("authorization"));
            let form = form(&request);
            assert!(form.contains(&("client_id".to_owned(), "s6BhdRkqt3".to_owned())));
            assert!(form.contains(&("code_verifier".to_owned(), "verifier".to_owned())));
            assert!(form.iter().all(|(name, _)| name != "client_secret"));
        }
    }

    #[test]
    fn basic_keeps_separators_in_id_and_secret() {
        let client = ClientAuth {
            client_id: "a:b c",
            client_secret: "p%+&=\u{20ac}:\n",
            method: ClientAuthMethod::Basic,
        };
        let request = refresh_grant(ENDPOINT, &client, "r");
        let header = &request.headers()["authorization"];
        assert!(header.is_sensitive());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
        let credentials = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
        // Appendix B of RFC 6749: form-encoding of UTF-8.
        assert_eq!(credentials, "a%3Ab+c:p%25%2B%26%3D%E2%82%AC%3A%0A");
    }

    #[test]
    fn raw_basic_is_not_form_encoded() {
        let client = ClientAuth {
            client_id: "filter",
            client_secret: "p%+&=/\u{20ac}:\n",
            method: ClientAuthMethod::BasicUnencoded,
        };
        let request = refresh_grant(ENDPOINT, &client, "r");
        let header = &request.headers()["authorization"];
        assert!(header.is_sensitive());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), "filter:p%+&=/\u{20ac}:\n".as_bytes());
    }

    #[test]
    fn hostile_code_adds_no_parameter() {
        let code = "x&grant_type=password&client_id=evil";
        let request = code_grant(ENDPOINT, &client(ClientAuthMethod::Basic), code, "https://a.example", None);
        let form = form(&request);
        assert_eq!(form[1], ("code".to_owned(), code.to_owned()));
        assert_eq!(form.len(), 3);
    }

    #[test]
    fn invalid_endpoint_names_no_host() {
        let request = refresh_grant("not an endpoint", &client(ClientAuthMethod::Basic), "r");
        assert_eq!(request.uri().authority(), None);
    }
}
