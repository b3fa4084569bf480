//! Identity headers: what the upstream and the response are told about the user.
//!
//! A value that a header cannot carry exactly is left out: otherwise an upstream would read another value.
//!
//! | left out | because |
//! |---|---|
//! | a value with a control character, other than a tab inside it | RFC 9110 section 5.5 does not allow it |
//! | a value with a blank at an end | it is not part of a header's value, so `" admin"` would be `admin` |
//! | a group that contains the separator | it would be two groups |
//! | `Basic`, if the name contains a colon | what follows it would be the password (RFC 7617 section 2) |

use std::fmt;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Header;
use crate::config::Headers;
use crate::session::{Session, SessionInfo};

/// What a header needs besides its value: its name, its pointers, and the allocator's own.
const PER_HEADER: usize = 32;

/// The identity headers of a session.
#[derive(Default)]
pub(in crate::flow) struct IdentityHeaders {
    /// For the upstream, by `pass_*`.
    pub(in crate::flow) request: Rc<[Header]>,
    /// For the response, by `set_xauthrequest` and `set_authorization_header`.
    pub(in crate::flow) response: Vec<Header>,
    /// What is left out of both.
    pub(in crate::flow) omitted: OmittedHeaders,
}

/// What is left out, for the log: names of headers, never values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::flow) struct OmittedHeaders {
    headers: Vec<&'static str>,
    groups: usize,
}

impl IdentityHeaders {
    /// About how many bytes of memory they need.
    pub(in crate::flow) fn bytes(&self) -> usize {
        let headers = self.request.iter().chain(&self.response);
        headers.map(|(_, value)| value.len().saturating_add(PER_HEADER)).sum()
    }
}

/// Works out the identity headers of a session.
pub(in crate::flow) fn identity_headers(options: &Headers, session: &Session) -> IdentityHeaders {
    let mut omitted = OmittedHeaders::default();
    let request = for_upstream(options, session, &mut omitted).into();
    let response = for_response(options, session, &mut omitted);
    IdentityHeaders { request, response, omitted }
}

/// The name for `X-Forwarded-User`; empty if there is none. It is never the user instead of a missing email address: a
/// user name can look like another user's address.
pub(in crate::flow) fn name<'a>(options: &Headers, session: &'a SessionInfo) -> &'a [u8] {
    if options.prefer_email_to_user { &session.email } else { &session.user }
}

fn for_upstream(options: &Headers, session: &Session, omitted: &mut OmittedHeaders) -> Vec<Header> {
    let mut headers = Collector::new(omitted);
    if options.pass_user_headers || options.pass_basic_auth {
        headers.add("x-forwarded-user", name(options, session));
        if !options.prefer_email_to_user {
            headers.add("x-forwarded-email", &session.email);
        }
        headers.add_groups("x-forwarded-groups", session, options.groups_header_separator);
        headers.add("x-forwarded-preferred-username", &session.preferred_username);
    }
    if options.pass_access_token {
        headers.add("x-forwarded-access-token", &session.access_token);
    }
    if options.pass_authorization_header {
        headers.add_bearer(&session.id_token);
    } else if let Some(password) = options.basic_auth() {
        headers.add_basic(name(options, session), password);
    }
    headers.found
}

fn for_response(options: &Headers, session: &Session, omitted: &mut OmittedHeaders) -> Vec<Header> {
    let mut headers = Collector::new(omitted);
    if options.set_xauthrequest {
        headers.add("x-auth-request-user", &session.user);
        headers.add("x-auth-request-email", &session.email);
        headers.add_groups("x-auth-request-groups", session, options.groups_header_separator);
        headers.add("x-auth-request-preferred-username", &session.preferred_username);
        if options.pass_access_token {
            headers.add("x-auth-request-access-token", &session.access_token);
        }
    }
    if options.set_authorization_header {
        headers.add_bearer(&session.id_token);
    }
    headers.found
}

/// Whether a header can carry exactly these bytes.
pub(in crate::flow) fn is_field_value(value: &[u8]) -> bool {
    let is_field_content = value.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t');
    is_field_content && value.trim_ascii().len() == value.len()
}

/// Collects the headers that have a value. It notes in `omitted` those whose value a header cannot carry.
struct Collector<'a> {
    found: Vec<Header>,
    omitted: &'a mut OmittedHeaders,
}

impl<'a> Collector<'a> {
    fn new(omitted: &'a mut OmittedHeaders) -> Self {
        Self { found: Vec::new(), omitted }
    }

    fn add(&mut self, name: &'static str, value: &[u8]) {
        self.add_if(is_field_value(value), name, value, <[u8]>::to_vec);
    }

    fn add_bearer(&mut self, token: &[u8]) {
        self.add_if(is_field_value(token), "authorization", token, |token| [b"Bearer ", token].concat());
    }

    fn add_basic(&mut self, name: &[u8], password: &[u8]) {
        let is_exact = is_field_value(name) && !name.contains(&b':');
        self.add_if(is_exact, "authorization", name, |name| {
            let credentials = STANDARD.encode([name, b":", password].concat());
            [b"Basic ", credentials.as_bytes()].concat()
        });
    }

    /// The groups, joined by the separator. A group with an empty name is left out, as in oauth2-proxy.
    fn add_groups(&mut self, name: &'static str, session: &Session, separator: u8) {
        let named = session.groups.iter().map(Vec::as_slice).filter(|group| !group.is_empty());
        let (exact, others): (Vec<_>, Vec<_>) =
            named.partition(|group| is_field_value(group) && !group.contains(&separator));
        self.omitted.groups = others.len();
        if !exact.is_empty() {
            self.found.push((name, exact.join(&separator)));
        }
    }

    fn add_if(
        &mut self,
        is_exact: bool,
        name: &'static str,
        value: &[u8],
        write: impl FnOnce(&[u8]) -> Vec<u8>,
    ) {
        if value.is_empty() {
        } else if is_exact {
            self.found.push((name, write(value)));
        } else {
            self.omitted.headers.push(name);
        }
    }
}

impl OmittedHeaders {
    pub(in crate::flow) fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.groups == 0
    }
}

impl fmt::Display for OmittedHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = (self.groups > 0).then(|| format!("{} of its groups", self.groups));
        let parts: Vec<_> = self.headers.iter().map(|name| (*name).to_owned()).chain(groups).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    const PASSWORD: &str = "open sesame";

    fn headers_of(options: Value, session: &Session) -> IdentityHeaders {
        identity_headers(&Config::for_tests(options).headers, session)
    }

    fn value<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
        headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_slice())
    }

    fn text(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    fn groups(separator: &str, groups: &[&str]) -> (Option<String>, usize) {
        let session = Session {
            info: SessionInfo {
                groups: groups.iter().map(|group| text(group)).collect(),
                ..Default::default()
            },
            ..Session::default()
        };
        let said =
            headers_of(json!({ "groups_header_separator": separator, "set_xauthrequest": true }), &session);
        let joined = value(&said.request, "x-forwarded-groups");
        assert_eq!(value(&said.response, "x-auth-request-groups"), joined);
        (joined.map(|joined| String::from_utf8(joined.to_vec()).unwrap()), said.omitted.groups)
    }

    #[test]
    fn exact_value_is_sent_in_identity_headers() {
        for said in ["admin", "a b", "a\tb", "zoë", "a,b", "a:b", "CN=a,DC=b"] {
            let session = Session {
                info: SessionInfo {
                    user: text(said),
                    email: text(said),
                    preferred_username: text(said),
                    ..Default::default()
                },
                ..Session::default()
            };
            let headers = headers_of(json!({}), &session);
            for name in ["x-forwarded-user", "x-forwarded-email", "x-forwarded-preferred-username"] {
                assert_eq!(value(&headers.request, name), Some(said.as_bytes()), "{name}");
            }
            assert!(headers.omitted.is_empty(), "{said:?}");
        }
    }

    #[test]
    fn inexact_value_is_left_out_of_identity_headers() {
        let no_field_values =
            [" admin ", "admin ", "\tadmin", "admin\n", "\radmin", "ad\x07min", "admin\x7f", " "];
        // These Envoy would refuse, or take for another header.
        for omitted in no_field_values.into_iter().chain(["admin\0", "a\r\nx-forwarded-groups: b"]) {
            let session = Session {
                info: SessionInfo {
                    user: text(omitted),
                    email: text(omitted),
                    preferred_username: text(omitted),
                    groups: vec![text(omitted), text("staff")],
                    ..Default::default()
                },
                access_token: text(omitted),
                id_token: text(omitted),
                ..Session::default()
            };
            let all = headers_of(
                json!({
                    "pass_access_token": true, "pass_authorization_header": true,
                    "set_xauthrequest": true, "set_authorization_header": true,
                }),
                &session,
            );
            assert_eq!(*all.request, [("x-forwarded-groups", text("staff"))], "{omitted:?}");
            assert_eq!(*all.response, [("x-auth-request-groups", text("staff"))], "{omitted:?}");
            // Five of the upstream and five of the response.
            assert_eq!((all.omitted.headers.len(), all.omitted.groups), (10, 1), "{omitted:?}");
            let basic = headers_of(json!({ "basic_auth_password": PASSWORD }), &session);
            assert_eq!(value(&basic.request, "authorization"), None, "{omitted:?}");
        }
    }

    #[test]
    fn group_is_sent_whole_or_left_out() {
        assert_eq!(groups(",", &["a", "b c"]), (Some("a,b c".to_owned()), 0));
        // A group without a name is none, by the original.
        assert_eq!(groups(",", &["", "a", ""]), (Some("a".to_owned()), 0));
        assert_eq!(groups(",", &["CN=admins,DC=example", "staff", " admins"]), (Some("staff".to_owned()), 2));
        assert_eq!(groups(",", &["CN=admins,DC=example"]), (None, 1));
        assert_eq!(
            groups("|", &["CN=admins,DC=example", "staff", "a|b"]),
            (Some("CN=admins,DC=example|staff".to_owned()), 1)
        );
        assert_eq!(groups(",", &[]), (None, 0));
    }

    #[test]
    fn basic_credentials_need_an_exact_name() {
        let authorization = |options: Value, user: &str, email: &str| {
            let session = Session {
                info: SessionInfo { user: text(user), email: text(email), ..Default::default() },
                ..Session::default()
            };
            let mut all = json!({ "basic_auth_password": PASSWORD });
            all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
            let said = headers_of(all, &session);
            let value = value(&said.request, "authorization").map(<[u8]>::to_vec);
            let decoded = value.map(|value| STANDARD.decode(value.strip_prefix(b"Basic ").unwrap()).unwrap());
            (decoded.map(|bytes| String::from_utf8(bytes).unwrap()), said.omitted.headers)
        };
        let by_email = || json!({ "prefer_email_to_user": true });
        assert_eq!(authorization(json!({}), "alice", ""), (Some(format!("alice:{PASSWORD}")), vec![]));
        // RFC 7617 section 2: a reader takes what is before the first colon for the name.
        assert_eq!(authorization(json!({}), "admin:x", ""), (None, vec!["authorization"]));
        assert_eq!(
            authorization(by_email(), "admin:x", "a@example.com"),
            (Some(format!("a@example.com:{PASSWORD}")), vec![])
        );
        assert_eq!(authorization(by_email(), "alice", "admin:x@example.com").0, None);
        // As oauth2-proxy: without a name there is no credential.
        assert_eq!(authorization(json!({}), "", "a@example.com"), (None, vec![]));
        assert_eq!(authorization(by_email(), "alice", ""), (None, vec![]));
    }

    #[test]
    fn missing_email_is_not_replaced_by_user() {
        // A provider may let people choose their user, so that it looks like another one's email address.
        let session = Session {
            info: SessionInfo { user: text("root@example.com"), ..Default::default() },
            ..Session::default()
        };
        let said = headers_of(json!({ "prefer_email_to_user": true }), &session);
        assert_eq!(*said.request, []);
    }

    #[test]
    fn omitted_headers_are_logged_without_values() {
        let session = Session {
            info: SessionInfo {
                user: text("ad:min "),
                groups: vec![text("a,b"), text("c,d")],
                ..Default::default()
            },
            ..Session::default()
        };
        let said = headers_of(json!({ "basic_auth_password": PASSWORD }), &session);
        assert_eq!(said.omitted.to_string(), "x-forwarded-user, authorization, 2 of its groups");
    }
}
