//! `redis_service`: the service of a gateway whose host calls Redis itself. Only the module for such a gateway has it.

use super::servers::{Servers, check_unused, needs_password};
use super::url::{RedisUrl, host_and_port};
use crate::config::errors::ConfigErrors;
use crate::config::options::Options;
use crate::config::secrets::SecretsFrom;
use crate::redis::{Endpoint, Tls, Topology};

/// Whether this module is the one for such a gateway.
pub(super) const IS_USED: bool = cfg!(feature = "higress");

const DEFAULT_PORT: u16 = 6379;

/// What Sentinels and a Cluster need.
const ONE_SERVICE: &str = "is not in the module for Higress, whose gateway cannot aim at a node; let redis_service be \
                           one name that follows the master, or a proxy in front of Redis";

/// The service, and the login in the URL; `None` if there is a mistake.
pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Option<Servers> {
    for (name, is_unused) in [
        ("redis_use_sentinel", !options.redis_use_sentinel),
        ("redis_use_cluster", !options.redis_use_cluster),
    ] {
        errors.check(is_unused, name, ONE_SERVICE);
    }
    check_unused(options, errors);
    let tls = "is not in the module for Higress; let the gateway's service use TLS, and leave this out";
    errors.check(!options.redis_insecure_skip_tls_verify, "redis_insecure_skip_tls_verify", tls);
    errors.check(options.redis_tls_server_name.is_empty(), "redis_tls_server_name", tls);
    let service = options.redis_service.as_str();
    let port = if service.ends_with(".static") { 80 } else { DEFAULT_PORT };
    let (host, port) = match service {
        "" => {
            let mistake = "is missing; write the service of the gateway that is Redis, such as redis.dns";
            errors.add("redis_service", mistake);
            return None;
        }
        _ => {
            host_and_port(service, port).ok().filter(|_| !service.starts_with(['[', ':'])).or_else(|| {
                errors.add(
                    "redis_service",
                    "must be a service, such as redis.dns or redis.default.svc.cluster.local:6379",
                );
                None
            })?
        }
    };
    let url = match options.redis_connection_url.expose() {
        "" => RedisUrl::default(),
        url => match RedisUrl::parse(url, port) {
            Ok(url) => url,
            Err(mistake) => {
                errors.add("redis_connection_url", mistake);
                return None;
            }
        },
    };
    let mistake = "must not be rediss://; let the gateway's service use TLS";
    errors.check(!url.is_tls, "redis_connection_url", mistake);
    // Over the bridge, only a user with a name has one for sure.
    let comes_over_bridge = options.secrets_from == SecretsFrom::Bridge
        && needs_password(if options.redis_username.is_empty() {
            &url.username
        } else {
            &options.redis_username
        });
    let has_password = !url.password.is_empty() || !options.redis_password.is_empty() || comes_over_bridge;
    // The gateway forgets both with every change of the cluster. Only a missing password is noticed.
    let mistake = "must not have a database without a password: the gateway forgets the database if its service \
                   changes, and only Redis' demand for the password shows that; set a password, or use database 0";
    errors.check(url.database == 0 || has_password, "redis_connection_url", mistake);
    let topology = Topology::Single(Endpoint { host, port, tls: Tls::Off });
    Some(Servers { topology, url })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::raw_options::RawOptions;

    /// The servers, and the mistakes.
    fn build(options: Value) -> (Option<Servers>, Vec<String>) {
        let mut errors = ConfigErrors::default();
        let raw = RawOptions::new(options.to_string().as_bytes(), &[], &mut errors).unwrap();
        let options = Options::read(&raw, &mut ConfigErrors::default());
        let servers = super::build(&options, &mut errors);
        (servers, errors.to_string().lines().map(str::to_owned).collect())
    }

    #[test]
    fn service_has_the_port_that_higress_gives_it() {
        for (service, host, port) in [
            ("redis.dns", "redis.dns", 6379),
            ("redis.static", "redis.static", 80),
            ("redis.static:6380", "redis.static", 6380),
            ("redis.default.svc.cluster.local:6390", "redis.default.svc.cluster.local", 6390),
        ] {
            let (servers, mistakes) = build(json!({ "redis_service": service }));
            let endpoint = Endpoint { host: host.to_owned(), port, tls: Tls::Off };
            assert_eq!(
                servers.map(|servers| servers.topology),
                Some(Topology::Single(endpoint)),
                "{mistakes:?}"
            );
        }
    }

    #[test]
    fn url_gives_only_the_login() {
        let url = "redis://alice:sesame@elsewhere:1/7";
        let (servers, mistakes) = build(json!({ "redis_service": "redis.dns", "redis_connection_url": url }));
        let url = servers.unwrap().url;
        assert_eq!((url.username.as_str(), url.password.as_str(), url.database), ("alice", "sesame", 7));
        assert_eq!(mistakes, Vec::<String>::new());
    }

    #[test]
    fn wrong_combination_is_one_mistake_of_its_option() {
        for (option, more) in [
            ("redis_service", json!({ "redis_service": "" })),
            ("redis_service", json!({ "redis_service": "outbound|6379||redis.dns" })),
            ("redis_service", json!({ "redis_service": "redis.dns?db=1" })),
            ("redis_service", json!({ "redis_service": "redis.dns:0" })),
            ("redis_service", json!({ "redis_service": ":6379" })),
            ("redis_use_sentinel", json!({ "redis_use_sentinel": true })),
            ("redis_use_cluster", json!({ "redis_use_cluster": true })),
            ("redis_allowed_hosts", json!({ "redis_allowed_hosts": ["a"] })),
            ("redis_tls_server_name", json!({ "redis_tls_server_name": "redis.example.com" })),
            ("redis_insecure_skip_tls_verify", json!({ "redis_insecure_skip_tls_verify": true })),
            ("redis_connection_url", json!({ "redis_connection_url": "rediss://redis" })),
            ("redis_connection_url", json!({ "redis_connection_url": "redis://redis/1" })),
            (
                "redis_connection_url",
                json!({ "redis_connection_url": "redis://redis/1", "secrets_from": "bridge" }),
            ),
        ] {
            let mut options = json!({ "redis_service": "redis.dns" });
            options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let (_, mistakes) = build(options);
            assert_eq!(mistakes.len(), 1, "{more}: {mistakes:?}");
            assert!(mistakes[0].starts_with(&format!("{option}: ")), "{more}: {mistakes:?}");
        }
    }

    #[test]
    fn database_needs_a_password_that_the_server_can_miss() {
        for more in [
            json!({ "redis_connection_url": "redis://:sesame@redis/1" }),
            json!({ "redis_connection_url": "redis://redis/1", "redis_password": "sesame" }),
            json!({ "redis_connection_url": "redis://alice@redis/1", "secrets_from": "bridge" }),
        ] {
            let mut options = json!({ "redis_service": "redis.dns" });
            options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(build(options).1, Vec::<String>::new(), "{more}");
        }
    }
}
