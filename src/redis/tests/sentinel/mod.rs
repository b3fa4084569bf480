//! The master of Sentinels: which are asked, which replies are used, and what a failover does to commands.

mod asking;
mod failover;
mod possibly_stale;
mod tracking;
mod watch;

use crate::redis::tests::script::{config, credentials};
use crate::redis::tests::world::{World, bulk, endpoint};
use crate::redis::{ClientConfig, Topology};

const ASK: &str = "SENTINEL get-master-addr-by-name main";
pub(super) const S: [&str; 3] = ["s1:26379", "s2:26379", "s3:26379"];

fn topology(password: bool) -> Topology {
    Topology::Sentinel {
        master_name: "main".to_owned(),
        sentinels: ["s1", "s2", "s3"].map(|host| endpoint(host, 26379)).to_vec(),
        credentials: password.then(|| credentials(Some("watcher")).unwrap()),
    }
}

fn address(host: &str, port: &str) -> String {
    format!("*2\r\n{}{}", bulk(host), bulk(port))
}

/// Three Sentinels, the master `a` and its replica `b`.
pub(super) fn world() -> World {
    world_with(&ClientConfig { topology: topology(false), ..config() })
}

/// A world with passwords.
pub(super) fn world_with_passwords() -> World {
    world_with(&ClientConfig { topology: topology(true), credentials: credentials(None), ..config() })
}

/// A world with passwords, and a connection to the master.
pub(super) fn connected_with_passwords() -> World {
    let mut world = world_with_passwords();
    world.get("first");
    assert_eq!(world.outcomes(), ["#1 nil"]);
    world
}

fn world_with(config: &ClientConfig) -> World {
    let mut world = World::with(config);
    for sentinel in S {
        world.server(sentinel).tells = address("a", "6379");
    }
    world.server("a:6379");
    world.server("b:6379").role = "slave";
    world
}

/// A world with a connection to the master.
pub(super) fn connected() -> World {
    let mut world = world();
    world.get("first");
    assert_eq!(world.outcomes(), ["#1 nil"]);
    world
}

/// `b` takes over with the data, and these Sentinels know that.
pub(super) fn fail_over(world: &mut World, sentinels: &[&str]) {
    world.server("a:6379").role = "slave";
    let successor = world.server("b:6379");
    successor.role = "master";
    successor.answer = "$1\r\nv\r\n".to_owned();
    for sentinel in sentinels {
        world.server(sentinel).tells = address("b", "6379");
    }
}

pub(super) fn switch(name: &str, host: &str, port: &str) -> String {
    let text = format!("{name} a 6379 {host} {port}");
    format!("*3\r\n{}{}{}", bulk("message"), bulk("+switch-master"), bulk(&text))
}

/// The message of the Sentinel that leads the failover.
fn promoted(name: &str, host: &str, port: &str) -> String {
    let text = format!("slave {host}:{port} {host} {port} @ {name} a 6379");
    format!("*3\r\n{}{}{}", bulk("message"), bulk("+promoted-slave"), bulk(&text))
}

fn asked(log: &[String]) -> Vec<&str> {
    log.iter().filter_map(|line| line.strip_suffix(ASK)).map(str::trim_end).collect()
}
