//! The fields for Envoy's access log.

use super::errors::ConfigErrors;
use super::options::Options;

/// `access_log_fields`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLog {
    /// The user who is signed in. Personal data.
    pub user: bool,
    /// The outcome of loading the session.
    pub state: bool,
    /// The reason for that outcome.
    pub reason: bool,
}

impl AccessLog {
    /// Whether no field is set.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> AccessLog {
    let mut fields = AccessLog::default();
    for field in &options.access_log_fields {
        match field.as_str() {
            "user" => fields.user = true,
            "state" => fields.state = true,
            "reason" => fields.reason = true,
            _ => errors.add("access_log_fields", "must be a list of: user, state, reason"),
        }
    }
    fields
}
