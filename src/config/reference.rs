//! How the filter treats an option of oauth2-proxy, for programs that convert a configuration.

use super::{options, refused};

/// What is known about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// An option of the filter.
    Taken {
        /// Whether it belongs into the environment.
        is_secret: bool,
        /// Whether it is a list.
        is_list: bool,
    },
    /// An option that only oauth2-proxy has, and what to do instead.
    Refused(&'static str),
}

/// What is known about an option by its name in oauth2-proxy's TOML.
pub fn known(name: &str) -> Option<Known> {
    let taken = options::rows().find(|row| row.name == name);
    let taken = taken.map(|row| Known::Taken { is_secret: row.is_secret, is_list: row.kind == "list" });
    taken.or_else(|| refused::instead(name).map(Known::Refused))
}
