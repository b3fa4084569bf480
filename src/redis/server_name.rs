//! The name that the certificate of a server must have.
//!
//! ```text
//! redis_tls_server_name        the option, for every server
//! a server with a name         its name
//! a server with an address     the host of the last URL, if that is a name; otherwise the address
//! ```
//!
//! Azure and Redis Enterprise announce their nodes by address, and the certificates of all nodes have the name in the
//! URL. oauth2-proxy checks the host of the last URL for every server.

use std::net::IpAddr;

use super::endpoint::Endpoint;

/// The name that the certificate of a server must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerName {
    always: Option<String>,
    of_addresses: Option<String>,
}

impl ServerName {
    /// From the option, which may be empty, and the host of the last URL.
    pub fn new(option: &str, url: &str) -> Self {
        Self {
            always: (!option.is_empty()).then(|| option.to_owned()),
            of_addresses: (!is_address(url)).then(|| url.to_owned()),
        }
    }

    /// A name, or an address without brackets.
    pub fn of<'a>(&'a self, server: &'a Endpoint) -> &'a str {
        let of_addresses = self.of_addresses.as_ref().filter(|_| is_address(&server.host));
        self.always.as_ref().or(of_addresses).unwrap_or(&server.host)
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::endpoint::Tls;

    /// The names for these hosts.
    fn names(names: &ServerName, hosts: &[&str]) -> Vec<String> {
        let server = |host: &&str| Endpoint { host: (*host).to_owned(), port: 6380, tls: Tls::Verified };
        hosts.iter().map(|host| names.of(&server(host)).to_owned()).collect()
    }

    #[test]
    fn server_with_address_has_name_of_url() {
        let name = ServerName::new("", "redis.example.com");
        let hosts = ["redis.example.com", "10.0.0.7", "fd00::7", "redis-0.example.com"];
        let expected = ["redis.example.com", "redis.example.com", "redis.example.com", "redis-0.example.com"];
        assert_eq!(names(&name, &hosts), expected);
    }

    /// Otherwise each would have to have a certificate for the address of another one.
    #[test]
    fn url_with_address_leaves_each_server_its_own() {
        let name = ServerName::new("", "10.0.0.1");
        let hosts = ["10.0.0.1", "10.0.0.7", "fd00::7", "redis-0.example.com"];
        assert_eq!(names(&name, &hosts), hosts);
    }

    #[test]
    fn option_sets_name_of_every_server() {
        let name = ServerName::new("redis.internal", "redis.example.com");
        assert_eq!(names(&name, &["10.0.0.7", "redis-0.example.com"]), ["redis.internal"; 2]);
    }
}
