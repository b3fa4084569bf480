//! `backchannel_logout`: the provider may end sessions.

use super::choices::ModeName;
use super::errors::ConfigErrors;
use super::options::Options;

/// Whether the provider may end sessions. The first reason why not is the only one that is reported.
pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> bool {
    let obstacle = match options.mode {
        _ if !options.backchannel_logout => None,
        ModeName::Beside => Some(
            "is not for mode beside, because oauth2-proxy has the paths under proxy_prefix and signs users out; leave \
             it out",
        ),
        ModeName::App => Some("is for mode login, because your app signs users in and out; leave it out"),
        ModeName::Login if options.session_store_type != "redis" => Some(
            "is for session_store_type redis, because a session in a cookie can only be ended by its own browser; set \
             that, or leave this out",
        ),
        ModeName::Login if !options.redis_session_index => {
            Some("needs redis_session_index, which finds the sessions of a user; set that, or leave this out")
        }
        ModeName::Login => None,
    };
    if let Some(obstacle) = obstacle {
        errors.add("backchannel_logout", obstacle);
    }
    options.backchannel_logout
}
