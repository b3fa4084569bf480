//! The logout request, for the browser (OpenID Connect RP-Initiated Logout 1.0 section 2): the provider ends its own
//! session.
//!
//! The request is a URL. By the standard a provider also has to accept a form, which could be of any length. But some do
//! not: the certified `oidc-provider` answers 404 in its default configuration. Nor does a browser send cookies with
//! `SameSite=Lax` with a form of another site.

use super::query::with_query;

/// What a logout request says. Empty strings are left out.
pub struct EndSessionRequest<'a> {
    /// `id_token_hint`: whose session ends. Without it, the provider asks the user.
    pub id_token: &'a str,
    /// `client_id`.
    pub client_id: &'a str,
    /// `post_logout_redirect_uri`: where the browser goes after that.
    pub redirect_uri: &'a str,
    /// `state`, which the provider adds to that address.
    pub state: &'a str,
}

impl EndSessionRequest<'_> {
    /// The endpoint with the request in its query.
    pub fn url(&self, endpoint: &str) -> String {
        let parameters = [
            ("id_token_hint", self.id_token),
            ("client_id", self.client_id),
            ("post_logout_redirect_uri", self.redirect_uri),
            ("state", self.state),
        ];
        with_query(endpoint, parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logout_request_has_names_of_the_standard() {
        let request = EndSessionRequest {
            id_token: "e30.e30.c2ln",
            client_id: "s6BhdRkqt3",
            redirect_uri: "https://client.example.com/out?a=b&c",
            state: "x y",
        };
        assert_eq!(
            request.url("https://server.example.com/logout?p=B2C_1"),
            "https://server.example.com/logout?p=B2C_1&id_token_hint=e30.e30.c2ln&client_id=s6BhdRkqt3\
             &post_logout_redirect_uri=https%3A%2F%2Fclient.example.com%2Fout%3Fa%3Db%26c&state=x+y"
        );
    }

    #[test]
    fn empty_parameters_of_logout_are_left_out() {
        let request =
            EndSessionRequest { id_token: "", client_id: "s6BhdRkqt3", redirect_uri: "", state: "" };
        assert_eq!(
            request.url("https://server.example.com/end"),
            "https://server.example.com/end?client_id=s6BhdRkqt3"
        );
    }
}
