//! Which servers a Sentinel or a node of a Cluster may announce. The client connects to an announced server, and
//! sends it the password.
//!
//! Each announcement is checked here, so there is no [`Endpoint`] with a host that is not allowed. A loopback address
//! means the host under which the announcing server was reached.

use std::net::IpAddr;

use super::config::{ClientConfig, Topology};
use super::endpoint::{Endpoint, is_host};
use super::failure::Failure;
use super::host_pattern::HostPattern;

#[derive(Default)]
pub(super) struct AnnouncePolicy {
    /// If there is none, all hosts are allowed.
    allowed: Vec<HostPattern>,
    /// The servers of the configuration.
    configured: Vec<Endpoint>,
}

impl AnnouncePolicy {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let configured = match &config.topology {
            Topology::Single(server) => vec![server.clone()],
            Topology::Sentinel { sentinels: servers, .. } | Topology::Cluster { seeds: servers } => {
                servers.clone()
            }
        };
        Self { allowed: config.allowed_hosts.clone(), configured }
    }

    /// The server that `by` announces, to be reached with the same TLS as `by`; `None` if this is not a valid host
    /// and port.
    ///
    /// # Errors
    /// The failure, if the server is not allowed.
    pub(super) fn server(
        &self,
        by: &Endpoint,
        host: &[u8],
        port: &[u8],
    ) -> Result<Option<Endpoint>, Failure> {
        match read(by, host, port) {
            Some(named) if !self.allows(&named) => Err(Failure::NotAllowed { by: by.clone(), named }),
            named => Ok(named),
        }
    }

    fn allows(&self, named: &Endpoint) -> bool {
        let is_configured =
            |server: &Endpoint| server.port == named.port && server.host.eq_ignore_ascii_case(&named.host);
        self.allowed.is_empty()
            || self.configured.iter().any(is_configured)
            || self.allowed.iter().any(|pattern| pattern.is_match(named))
    }
}

fn read(by: &Endpoint, host: &[u8], port: &[u8]) -> Option<Endpoint> {
    let host = std::str::from_utf8(host).ok().filter(|host| is_host(host))?;
    let is_its_own = is_loopback_address(host) && !is_loopback(&by.host);
    let host = if is_its_own { &by.host } else { host };
    // Not `+6379`, which `parse` accepts.
    let is_number = port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    let port = std::str::from_utf8(port).ok().filter(|_| is_number)?.parse().ok()?;
    (port != 0).then(|| Endpoint { host: host.to_owned(), port, tls: by.tls })
}

/// A server without a configured address may announce this one. It means its own machine, not ours.
fn is_loopback_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether the server shares the loopback of this machine. The names are those of go-redis, and so of oauth2-proxy.
fn is_loopback(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    is_loopback_address(host) || name == "localhost" || name.ends_with(".docker.internal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::endpoint::Tls;

    fn endpoint(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.to_owned(), port, tls: Tls::Off }
    }

    fn policy(allowed: &[&str]) -> AnnouncePolicy {
        let allowed = allowed.iter().map(|pattern| pattern.parse().unwrap()).collect();
        AnnouncePolicy { allowed, configured: vec![endpoint("Seed", 7000), endpoint("fd00::5", 7000)] }
    }

    fn named(host: &str, port: &str) -> Option<Endpoint> {
        policy(&[]).server(&endpoint("seed", 7000), host.as_bytes(), port.as_bytes()).unwrap()
    }

    #[test]
    fn announced_host_and_port_become_an_endpoint() {
        for (host, port, shown) in [
            ("10.0.0.1", "6379", "10.0.0.1:6379"),
            ("redis-0.redis_headless.svc", "1", "redis-0.redis_headless.svc:1"),
            ("fd00::1", "65535", "[fd00::1]:65535"),
        ] {
            let endpoint = named(host, port).unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.to_string().as_str()), (host, shown));
        }
    }

    #[test]
    fn announced_server_has_tls_of_announcing_one() {
        let by = Endpoint { tls: Tls::Verified, ..endpoint("seed", 7000) };
        assert_eq!(policy(&[]).server(&by, b"a", b"1").unwrap().unwrap().tls, Tls::Verified);
    }

    /// As in go-redis (`replaceLoopbackHost`), and so in oauth2-proxy, but not only for the slots of a Cluster.
    #[test]
    fn announced_loopback_address_becomes_host_of_announcing_server() {
        let host = |by: &str, named: &str| {
            let by = endpoint(by, 7000);
            policy(&[]).server(&by, named.as_bytes(), b"7001").unwrap().unwrap().to_string()
        };
        for by in ["redis.example.com", "10.0.0.1"] {
            for named in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
                assert_eq!(host(by, named), format!("{by}:7001"), "{named}");
            }
            for named in ["localhost", "10.0.0.2", "128.0.0.1", "127.0.0.1.example.com"] {
                assert_eq!(host(by, named), format!("{named}:7001"), "no address of loopback");
            }
        }
        for by in ["127.0.0.1", "::1", "LocalHost", "host.docker.internal"] {
            assert_eq!(host(by, "127.0.0.2"), "127.0.0.2:7001", "{by} is this machine");
        }
    }

    #[test]
    fn loopback_address_is_allowed_if_its_real_host_is() {
        let named = |allowed| policy(&[allowed]).server(&endpoint("seed", 7000), b"127.0.0.1", b"7001");
        assert_eq!(
            named("127.0.0.0/8"),
            Err(Failure::NotAllowed { by: endpoint("seed", 7000), named: endpoint("seed", 7001) })
        );
        assert_eq!(named("seed:7001"), Ok(Some(endpoint("seed", 7001))));
    }

    #[test]
    fn invalid_host_or_port_is_no_endpoint() {
        let long = "a".repeat(254);
        for (host, port) in [
            ("", "1"),
            ("a b", "1"),
            ("a\r\nx: y", "1"),
            ("a:1", "1"),
            ("[::1]", "1"),
            ("fe80::1%eth0", "1"),
            ("a/b", "1"),
            ("ä", "1"),
            ("?", "1"),
            (long.as_str(), "1"),
            ("a", ""),
            ("a", "0"),
            ("a", "+1"),
            ("a", "-1"),
            ("a", "65536"),
            ("a", "000001"),
            ("a", "99999999999999999999"),
        ] {
            assert_eq!(named(host, port), None, "{host:?} {port:?}");
        }
        assert_eq!(policy(&[]).server(&endpoint("seed", 7000), b"\xff", b"1"), Ok(None));
    }

    #[test]
    fn list_allows_its_own_and_configured_servers_only() {
        let policy = policy(&["*.example.com:6379", "10.0.0.0/8"]);
        let by = endpoint("seed", 7000);
        for (host, port, is_allowed) in [
            ("a.example.com", "6379", true),
            ("a.example.com", "22", false),
            ("10.1.2.3", "22", true),
            ("11.0.0.1", "6379", false),
            ("evil.example", "6379", false),
            // A configured server is allowed only with its own port.
            ("seed", "7000", true),
            ("seed", "7001", false),
            ("fd00::5", "7000", true),
            ("fd00::6", "7000", false),
        ] {
            let named = endpoint(host, port.parse().unwrap());
            let expected =
                if is_allowed { Ok(Some(named)) } else { Err(Failure::NotAllowed { by: by.clone(), named }) };
            assert_eq!(policy.server(&by, host.as_bytes(), port.as_bytes()), expected, "{host} {port}");
        }
    }
}
