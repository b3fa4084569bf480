//! `redis_service`: the service of a gateway whose host calls Redis itself. Only the module for such a gateway has it.

use super::servers::Servers;
use super::url::{RedisUrl, host_and_port};
use crate::config::errors::ConfigErrors;
use crate::config::options::Options;
use crate::config::secrets::SecretsFrom;
use crate::redis::{Endpoint, Tls, Topology};

/// Whether this module is the one for such a gateway.
pub(super) const IS_USED: bool = cfg!(feature = "higress");

const DEFAULT_PORT: u16 = 6379;

/// Where the filter aims at a node, the gateway cannot.
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
    let has_password = !url.password.is_empty()
        || !options.redis_password.is_empty()
        || options.secrets_from == SecretsFrom::Bridge;
    // The gateway forgets both with every change of the cluster. Only a missing password is noticed.
    let mistake = "must not have a database without a password: the gateway forgets the database if its service \
                   changes, and only Redis' demand for the password shows that; set a password, or use database 0";
    errors.check(url.database == 0 || has_password, "redis_connection_url", mistake);
    let topology = Topology::Single(Endpoint { host, port, tls: Tls::Off });
    Some(Servers { topology, url })
}
