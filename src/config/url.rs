//! URLs of the configuration: absolute, http or https.

use http::Uri;

/// An absolute http or https URL, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url(String);

impl Url {
    /// The URL, if the text is one. A user name is not allowed, because the part before an `@` has a password
    /// or hides the host. A fragment is not allowed, because it is never sent.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The URL of a sign-out may have a placeholder for the ID token, but a URL has no braces.
        let plain = text.replace("{id_token}", "token");
        if plain.contains(['#', '{', '}', '\\', '"', '<', '>']) || !plain.is_ascii() {
            return None;
        }
        let uri = plain.parse::<Uri>().ok()?;
        let authority = uri.authority()?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_port = authority.as_str() != authority.host();
        let is_plain = !authority.host().is_empty()
            && !authority.as_str().contains('@')
            && (!has_port || authority.port_u16().is_some());
        (is_http && is_plain).then(|| Self(text.to_owned()))
    }

    /// The URL's text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn takes_absolute_http_urls() {
        for url in [
            "https://login.example.com",
            "http://127.0.0.1:5556/dex",
            "https://[::1]:8443/realms/main/",
            "https://login.example.com/end?hint={id_token}&x=1",
        ] {
            assert_eq!(Url::parse(url).as_ref().map(Url::as_str), Some(url));
        }
    }

    #[test]
    fn refuses_an_invalid_url() {
        for text in [
            "",
            "login.example.com",
            "/oauth2/callback",
            "//login.example.com",
            "ftp://login.example.com",
            "https://",
            "https:///path",
            "https://:443/",
            "https://user:pass@login.example.com",
            "https://user@login.example.com:443/",
            "https://login.example.com/#part",
            "https://login.example.com/a b",
            "https://login.example.com/\n",
            "https://login.example.com/{token}",
            "https://login.example.com:port",
            "https://login.example.com:65536",
            "https://login.example.com\\@evil.example",
        ] {
            assert_eq!(Url::parse(text), None, "{text:?}");
        }
    }
}
