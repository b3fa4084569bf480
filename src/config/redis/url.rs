//! Connection URLs, parsed into their parts.
//!
//! ```text
//! rediss://user:password@host:6379/0
//! ```

use percent_encoding::percent_decode_str;

use crate::redis::is_host;

/// The format of a URL.
const EXPECTED: &str = "must be redis://[user:password@]host[:port][/database], or rediss:// for TLS";

/// The parts of a connection URL.
#[cfg_attr(test, derive(Debug))]
#[derive(Default, PartialEq, Eq)]
pub(super) struct RedisUrl {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) database: u32,
}

impl RedisUrl {
    /// Parses a URL. It may have a password, so an error has no part of it.
    pub(super) fn parse(url: &str, default_port: u16) -> Result<Self, &'static str> {
        if url.is_empty() {
            return Err("is missing; write the URL of Redis, such as redis://redis.example.com:6379");
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(EXPECTED);
        };
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" => false,
            "rediss" => true,
            "unix" => return Err("the filter cannot open Unix sockets; let Redis listen on a port"),
            _ => return Err(EXPECTED),
        };
        if rest.contains(['?', '#']) {
            return Err("must not have parameters; use redis_connect_timeout, redis_command_timeout, \
                 redis_connection_idle_timeout and redis_insecure_skip_tls_verify instead");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (username, password) = user.split_once(':').unwrap_or((user, ""));
        let (host, port) = host_and_port(server, default_port)?;
        Ok(Self {
            is_tls,
            host,
            port,
            username: decode(username)?,
            password: decode(password)?,
            database: database(path)?,
        })
    }
}

/// `host`, `host:port`, `[::1]:port`; without a host it is this machine, as in oauth2-proxy.
pub(super) fn host_and_port(server: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(EXPECTED)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| EXPECTED)?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or(EXPECTED)?)
        }
        None => server.split_once(':').unwrap_or((server, "")),
    };
    let host = if host.is_empty() { "localhost" } else { host };
    if !is_host(host) {
        return Err(EXPECTED);
    }
    let port = match port {
        "" => default_port,
        // Not `+6379`, which the parser of numbers accepts.
        port if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().map_err(|_| EXPECTED)?,
        _ => return Err(EXPECTED),
    };
    if port == 0 { Err(EXPECTED) } else { Ok((host.to_owned(), port)) }
}

/// The database in the path of a URL. Redis itself limits it by `databases`, 16 by default.
fn database(path: &str) -> Result<u32, &'static str> {
    const MISTAKE: &str = "must have a number from 0 to 2147483647 as the database";
    let is_number = path.len() <= 10 && path.bytes().all(|byte| byte.is_ascii_digit());
    match path {
        "" => Ok(0),
        _ if !is_number => Err(MISTAKE),
        number => number.parse().ok().filter(|number| i32::try_from(*number).is_ok()).ok_or(MISTAKE),
    }
}

fn decode(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| EXPECTED)?;
    Ok(decoded.into_owned())
}
