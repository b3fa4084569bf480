//! Errors that redirect a command to another node.
//!
//! ```text
//! MOVED <slot> <host>:<port>      that node has this slot from now on
//! ASK <slot> <host>:<port>        that node may have this key already: the slot is being moved to it
//! ```

use super::slot::SLOTS;
use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::endpoint::Endpoint;
use crate::redis::failure::Failure;
use crate::redis::reply::ServerError;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    Moved(Endpoint),
    Ask(Endpoint),
}

impl Redirect {
    /// Whether an error is a redirect, by its code.
    pub(super) fn is(error: &ServerError) -> bool {
        matches!(error.code(), "MOVED" | "ASK")
    }

    /// Reads a redirect by the node `from`; `None` if it is invalid.
    ///
    /// # Errors
    /// The failure, if it leads to a node that is not allowed.
    pub(super) fn read(
        error: &ServerError,
        from: &Endpoint,
        policy: &AnnouncePolicy,
    ) -> Result<Option<Self>, Failure> {
        let Some((kind, host, port)) = parts(error) else {
            return Ok(None);
        };
        // As in the map: a node with an unknown host has the host of the node that redirects to it.
        let host = if matches!(host, b"" | b"?") { from.host.as_bytes() } else { host };
        let endpoint = policy.server(from, host, port)?;
        Ok(endpoint.and_then(|endpoint| match kind {
            b"MOVED" => Some(Self::Moved(endpoint)),
            b"ASK" => Some(Self::Ask(endpoint)),
            _ => None,
        }))
    }
}

/// The kind, the host and the port.
fn parts(error: &ServerError) -> Option<(&[u8], &[u8], &[u8])> {
    let mut words = error.text().split(|byte| *byte == b' ');
    let (kind, slot, server) = (words.next()?, words.next()?, words.next()?);
    std::str::from_utf8(slot).ok()?.parse::<u16>().ok().filter(|slot| *slot < SLOTS)?;
    let colon = server.iter().rposition(|byte| *byte == b':')?;
    let (host, port) = server.split_at_checked(colon)?;
    Some((kind, host, port.strip_prefix(b":")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::endpoint::Tls;

    fn at(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.to_owned(), port, tls: Tls::Verified }
    }

    fn read(text: &str) -> Option<Redirect> {
        Redirect::read(&ServerError::new(text.as_bytes()), &at("asked", 7000), &AnnouncePolicy::default())
            .unwrap()
    }

    #[test]
    fn valid_redirect_has_a_node() {
        for (text, redirect) in [
            ("MOVED 3999 10.0.0.1:6381", Redirect::Moved(at("10.0.0.1", 6381))),
            ("ASK 16383 redis-1.example.com:1", Redirect::Ask(at("redis-1.example.com", 1))),
            ("MOVED 0 fd00::1:6381", Redirect::Moved(at("fd00::1", 6381))),
            // A loopback address means the node's own machine.
            ("MOVED 0 127.0.0.1:6381", Redirect::Moved(at("asked", 6381))),
            ("MOVED 0 :6381", Redirect::Moved(at("asked", 6381))),
            ("MOVED 0 ?:6381", Redirect::Moved(at("asked", 6381))),
        ] {
            assert_eq!(read(text), Some(redirect), "{text}");
        }
    }

    #[test]
    fn invalid_redirect_is_none() {
        for text in [
            "MOVED",
            "MOVED 1",
            "MOVED 1 a",
            "MOVED 1 a:",
            "MOVED 1 a:0",
            "MOVED 1 a:65536",
            "MOVED 1 a:b:1",
            "MOVED 16384 a:1",
            "MOVED -1 a:1",
            "MOVED x a:1",
            "MOVED 1  a:1",
            "MOVED 1 a\r\nb:1",
            "ASK 1 a/b:1",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read(&format!("MOVED 1 {}:1", "a".repeat(400))), None);
    }
}
