//! The identity headers for the upstream and for the response.

use super::errors::ConfigErrors;
use super::options::Options;
use super::secret::Secret;

/// The options of the identity headers.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// `pass_user_headers`.
    pub pass_user_headers: bool,
    /// `pass_basic_auth`.
    pub pass_basic_auth: bool,
    /// `pass_access_token`.
    pub pass_access_token: bool,
    /// `pass_authorization_header`.
    pub pass_authorization_header: bool,
    /// `prefer_email_to_user`.
    pub prefer_email_to_user: bool,
    /// `set_xauthrequest`.
    pub set_xauthrequest: bool,
    /// `set_authorization_header`.
    pub set_authorization_header: bool,
    /// `skip_auth_strip_headers`.
    pub skip_auth_strip_headers: bool,
    /// `groups_header_separator`.
    pub groups_header_separator: u8,
    /// `strip_session_cookie`.
    pub strip_session_cookie: bool,
    /// `pass_guard_header`, if it is set.
    pub guard: Option<Vec<u8>>,
    basic_auth_password: Secret,
}

impl Headers {
    /// The password of the `Authorization: Basic` for the upstream; `None` if the upstream gets no such
    /// header.
    pub fn basic_auth(&self) -> Option<&[u8]> {
        let password = self.basic_auth_password.expose();
        (self.pass_basic_auth && !password.is_empty()).then_some(password.as_bytes())
    }

    /// Whether the filter sets `Authorization` for the upstream.
    pub fn sets_authorization(&self) -> bool {
        self.pass_authorization_header || self.basic_auth().is_some()
    }
}

pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Headers {
    // One byte: with `||`, the groups `a|` and `b` would arrive as `a` and `|b`.
    let separator = match options.groups_header_separator.as_bytes() {
        [separator] if separator.is_ascii_punctuation() => *separator,
        _ => {
            errors
                .add("groups_header_separator", "must be one character of ASCII punctuation, such as | or ;");
            b','
        }
    };
    // A blank at the start or the end would not arrive, and a comma would look like two values.
    let guard = options.pass_guard_header.as_bytes();
    let is_plain = guard.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',');
    errors.check(is_plain, "pass_guard_header", "must have only visible ASCII characters, and no comma");
    Headers {
        pass_user_headers: options.pass_user_headers,
        pass_basic_auth: options.pass_basic_auth,
        pass_access_token: options.pass_access_token,
        pass_authorization_header: options.pass_authorization_header,
        prefer_email_to_user: options.prefer_email_to_user,
        set_xauthrequest: options.set_xauthrequest,
        set_authorization_header: options.set_authorization_header,
        skip_auth_strip_headers: options.skip_auth_strip_headers,
        groups_header_separator: separator,
        strip_session_cookie: options.strip_session_cookie,
        guard: (!guard.is_empty()).then(|| guard.to_vec()),
        basic_auth_password: options.basic_auth_password.clone(),
    }
}
