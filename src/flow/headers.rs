//! Identity headers: what the upstream and the response get to know.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Header;
use crate::config::Headers;
use crate::session::Session;

/// What the upstream gets, by `pass_*`.
pub(super) fn for_upstream(options: &Headers, session: &Session) -> Rc<[Header]> {
    let mut headers = Collector::default();
    if options.pass_user_headers || options.pass_basic_auth {
        if options.prefer_email_to_user && !session.email.is_empty() {
            headers.add("x-forwarded-user", &session.email);
        } else {
            headers.add("x-forwarded-user", &session.user);
            headers.add("x-forwarded-email", &session.email);
        }
        headers.add("x-forwarded-groups", &groups(session));
        headers.add("x-forwarded-preferred-username", &session.preferred_username);
    }
    if options.pass_access_token {
        headers.add("x-forwarded-access-token", &session.access_token);
    }
    if options.pass_authorization_header {
        headers.add_prefixed("authorization", b"Bearer ", &session.id_token);
    } else if let Some(password) = options.basic_auth() {
        let user = if options.prefer_email_to_user { &session.email } else { &session.user };
        let credentials = [user.as_slice(), b":", password].concat();
        headers.add_prefixed("authorization", b"Basic ", STANDARD.encode(credentials).as_bytes());
    }
    headers.0.into()
}

/// What the response gets, by `set_xauthrequest` and `set_authorization_header`.
pub(super) fn for_response(options: &Headers, session: &Session) -> Vec<Header> {
    let mut headers = Collector::default();
    if options.set_xauthrequest {
        headers.add("x-auth-request-user", &session.user);
        headers.add("x-auth-request-email", &session.email);
        headers.add("x-auth-request-groups", &groups(session));
        headers.add("x-auth-request-preferred-username", &session.preferred_username);
        if options.pass_access_token {
            headers.add("x-auth-request-access-token", &session.access_token);
        }
    }
    if options.set_authorization_header {
        headers.add_prefixed("authorization", b"Bearer ", &session.id_token);
    }
    headers.0
}

/// The groups with commas between them; one without a name is left out, as oauth2-proxy does.
fn groups(session: &Session) -> Vec<u8> {
    let named: Vec<&[u8]> =
        session.groups.iter().map(Vec::as_slice).filter(|group| !group.is_empty()).collect();
    named.join(&b',')
}

/// Headers with a value; a claim that cannot be a header value (RFC 9110 section 5.5, which allows a tab) is left
/// out.
#[derive(Default)]
struct Collector(Vec<Header>);

impl Collector {
    fn add(&mut self, name: &'static str, value: &[u8]) {
        self.add_prefixed(name, b"", value);
    }

    fn add_prefixed(&mut self, name: &'static str, prefix: &[u8], value: &[u8]) {
        let value = value.trim_ascii();
        let is_field_content = value.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t');
        if !value.is_empty() && is_field_content {
            self.0.push((name, [prefix, value].concat()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_without_a_name_and_blanks_around_a_value_are_left_out_as_by_the_original() {
        let text = |text: &str| text.as_bytes().to_vec();
        let session = Session {
            groups: vec![text(""), text("a"), text(""), text("b c ")],
            preferred_username: text(" Alice "),
            ..Session::default()
        };
        let config = crate::config::Config::for_tests(serde_json::json!({}));
        let headers = for_upstream(&config.headers, &session);
        let expected =
            [("x-forwarded-groups", text("a,b c")), ("x-forwarded-preferred-username", text("Alice"))];
        assert_eq!(*headers, expected);
    }

    #[test]
    fn a_tab_within_a_value_arrives_as_with_the_original_and_other_control_characters_do_not() {
        let session = Session {
            user: b"a\tb".to_vec(),
            email: b"\ta@example.com\t".to_vec(),
            preferred_username: b"a\x07b".to_vec(),
            groups: vec![b"c\nd".to_vec()],
            ..Session::default()
        };
        let config = crate::config::Config::for_tests(serde_json::json!({}));
        let expected =
            [("x-forwarded-user", b"a\tb".to_vec()), ("x-forwarded-email", b"a@example.com".to_vec())];
        assert_eq!(*for_upstream(&config.headers, &session), expected);
    }
}
