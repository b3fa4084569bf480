//! Which of the three ways to Redis is configured, and the options that belong to it.
//!
//! ```text
//!                      redis_connection_url              ──► one server
//! redis_use_sentinel,  redis_sentinel_connection_urls, … ──► the master that Sentinels name
//! redis_use_cluster,   redis_cluster_connection_urls     ──► a Cluster
//! ```
//!
//! If there are several URLs, the last one also has the user, the password and the database of the servers
//! with the data, as in oauth2-proxy.

use super::url::RedisUrl;
use crate::config::errors::ConfigErrors;
use crate::config::options::Options;
use crate::config::secrets::SecretsFrom;
use crate::redis::{Credentials, Endpoint, HostPattern, ServerName, Tls, Topology, is_host};

const DEFAULT_PORT: u16 = 6379;

/// The default port of a Sentinel. go-redis takes 6379 here too, but no Sentinel listens there.
const SENTINEL_PORT: u16 = 26_379;

/// The option needs a certificate, and without TLS there is none.
const UNCHECKED: &str = "needs a certificate that is verified; write rediss:// in the URL, and leave \
                         redis_insecure_skip_tls_verify out";

/// The servers, and the other parts of their URL.
pub(super) struct Servers {
    pub(super) topology: Topology,
    pub(super) url: RedisUrl,
}

/// The configured servers; `None` if there is a mistake.
pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Option<Servers> {
    let is_single = !options.redis_use_sentinel && !options.redis_use_cluster;
    if options.redis_use_sentinel && options.redis_use_cluster {
        let mistake = "cannot be together with redis_use_sentinel; leave one of them out";
        errors.add("redis_use_cluster", mistake);
        return None;
    }
    check_unused(options, errors);
    if is_single {
        return single(options, errors);
    }
    let mistake = "is for a single server; leave it out with redis_use_sentinel or redis_use_cluster";
    errors.check(options.redis_connection_url.is_empty(), "redis_connection_url", mistake);
    if options.redis_use_sentinel { sentinel(options, errors) } else { cluster(options, errors) }
}

/// Refuses options of Sentinels or of a Cluster that is not switched on, because they would do nothing.
pub(super) fn check_unused(options: &Options, errors: &mut ConfigErrors) {
    const SENTINEL: &str = "is for Sentinels; set redis_use_sentinel, or leave this out";
    const CLUSTER: &str = "is for a Cluster; set redis_use_cluster, or leave this out";
    const NAMED: &str = "is for Sentinels and for a Cluster, which name servers; leave it out";
    let (sentinel, cluster) = (options.redis_use_sentinel, options.redis_use_cluster);
    for (name, is_empty, is_used, mistake) in [
        ("redis_sentinel_master_name", options.redis_sentinel_master_name.is_empty(), sentinel, SENTINEL),
        (
            "redis_sentinel_connection_urls",
            options.redis_sentinel_connection_urls.is_empty(),
            sentinel,
            SENTINEL,
        ),
        ("redis_sentinel_username", options.redis_sentinel_username.is_empty(), sentinel, SENTINEL),
        ("redis_sentinel_password", options.redis_sentinel_password.is_empty(), sentinel, SENTINEL),
        ("redis_cluster_connection_urls", options.redis_cluster_connection_urls.is_empty(), cluster, CLUSTER),
        ("redis_allowed_hosts", options.redis_allowed_hosts.is_empty(), sentinel || cluster, NAMED),
    ] {
        errors.check(is_empty || is_used, name, mistake);
    }
}

fn single(options: &Options, errors: &mut ConfigErrors) -> Option<Servers> {
    if errors.has("redis_connection_url") {
        return None;
    }
    let url = match RedisUrl::parse(options.redis_connection_url.expose(), DEFAULT_PORT) {
        Ok(url) => url,
        Err(mistake) => {
            errors.add("redis_connection_url", mistake);
            return None;
        }
    };
    let tls = tls(options, url.is_tls);
    let topology = Topology::Single(Endpoint { host: url.host.clone(), port: url.port, tls });
    Some(Servers { topology, url })
}

fn sentinel(options: &Options, errors: &mut ConfigErrors) -> Option<Servers> {
    let master_name = &options.redis_sentinel_master_name;
    let mistake = "is missing; write the name that the master has in the Sentinels' configuration";
    errors.check(!master_name.is_empty(), "redis_sentinel_master_name", mistake);
    let (username, password) = (&options.redis_sentinel_username, options.redis_sentinel_password.expose());
    let is_alone =
        password.is_empty() && needs_password(username) && options.secrets_from == SecretsFrom::Environment;
    errors.check(!is_alone, "redis_sentinel_password", "is missing; the user of the Sentinels needs one");
    let urls = options.redis_sentinel_connection_urls.as_slice();
    let (sentinels, url) = many(options, "redis_sentinel_connection_urls", urls, SENTINEL_PORT, errors)?;
    let credentials = credentials(username, password);
    let topology = Topology::Sentinel { master_name: master_name.clone(), sentinels, credentials };
    Some(Servers { topology, url })
}

fn cluster(options: &Options, errors: &mut ConfigErrors) -> Option<Servers> {
    let urls = options.redis_cluster_connection_urls.as_slice();
    let (seeds, url) = many(options, "redis_cluster_connection_urls", urls, DEFAULT_PORT, errors)?;
    let mistake = "must not have a database other than 0; a Cluster has no others";
    errors.check(url.database == 0, "redis_cluster_connection_urls", mistake);
    Some(Servers { topology: Topology::Cluster { seeds }, url })
}

/// The servers of several URLs, and the last URL.
fn many(
    options: &Options,
    name: &str,
    urls: &[String],
    default_port: u16,
    errors: &mut ConfigErrors,
) -> Option<(Vec<Endpoint>, RedisUrl)> {
    let mut parsed = Vec::new();
    for (index, url) in urls.iter().enumerate() {
        match RedisUrl::parse(url, default_port) {
            Ok(url) => parsed.push(url),
            Err(mistake) => errors.add(name, format!("entry {}: {mistake}", index.saturating_add(1))),
        }
    }
    errors.check(!urls.is_empty(), name, "is missing; write a list of redis://host:port");
    // The filter reaches a named server in the same way as the server that named it, so all entries have to
    // agree.
    let is_tls = parsed.last().is_some_and(|url| url.is_tls);
    let is_mixed = parsed.iter().any(|url| url.is_tls != is_tls);
    errors.check(!is_mixed, name, "must have redis:// in all entries, or rediss:// in all");
    let tls = tls(options, is_tls);
    let endpoint = |url: &RedisUrl| Endpoint { host: url.host.clone(), port: url.port, tls };
    Some((parsed.iter().map(endpoint).collect(), parsed.pop()?))
}

/// The hosts that servers may name.
pub(super) fn allowed_hosts(options: &Options, errors: &mut ConfigErrors) -> Vec<HostPattern> {
    let mut patterns = Vec::new();
    for (index, pattern) in options.redis_allowed_hosts.iter().enumerate() {
        match pattern.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(mistake) => {
                errors.add("redis_allowed_hosts", format!("entry {}: {mistake}", index.saturating_add(1)));
            }
        }
    }
    patterns
}

/// The name that the certificates of the servers have to be for.
pub(super) fn server_name(
    options: &Options,
    url_host: &str,
    is_tls: bool,
    errors: &mut ConfigErrors,
) -> ServerName {
    let name = &options.redis_tls_server_name;
    if !name.is_empty() {
        let is_checked = is_tls && !options.redis_insecure_skip_tls_verify;
        errors.check(is_host(name), "redis_tls_server_name", "must be a host name or an IP address");
        errors.check(is_checked, "redis_tls_server_name", UNCHECKED);
    }
    ServerName::new(name, url_host)
}

/// Whether a user needs a password. A connection without one is the user `default`, which some URLs name
/// explicitly.
pub(in crate::config) fn needs_password(username: &str) -> bool {
    !matches!(username, "" | "default")
}

pub(super) fn credentials(username: &str, password: &str) -> Option<Credentials> {
    let username = (!username.is_empty()).then(|| username.to_owned());
    (!password.is_empty()).then(|| Credentials { username, password: password.to_owned() })
}

const fn tls(options: &Options, is_tls: bool) -> Tls {
    match (options.redis_insecure_skip_tls_verify, is_tls) {
        // As in oauth2-proxy, where this option alone turns TLS on.
        (true, _) => Tls::Insecure,
        (false, true) => Tls::Verified,
        (false, false) => Tls::Off,
    }
}
