//! A Redis server or a Sentinel as the network sees it: one thread, which accepts connections and runs commands in the order
//! in which they come.
//!
//! ```text
//! SYN ──► backlog ────────► accept ──┐
//! bytes of a connection ─────────────┴──► one thread ──► replies
//! ```

use std::collections::VecDeque;
use std::time::Duration;

/// How long a server needs to accept a connection and to set it up.
const ACCEPT: Duration = Duration::from_micros(30);

/// How long it needs for a command.
const COMMAND: Duration = Duration::from_micros(10);

/// The session that each key has, as long as a usual one.
const VALUE_BYTES: usize = 1200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    /// The process is gone: the kernel of its host refuses connections.
    Refusing,
    /// The host is gone: nothing answers.
    Silent,
}

pub(crate) struct Server {
    pub(crate) state: State,
    pub(crate) is_master: bool,
    /// When the thread has done all its work, as time since the start.
    busy_until: Duration,
    /// When each connection of the backlog is accepted.
    backlog: VecDeque<Duration>,
    /// How many connections may wait there; the kernel drops a SYN beyond them (`tcp-backlog` in redis.conf).
    max_backlog: usize,
}

impl Server {
    pub(crate) fn new(is_master: bool, max_backlog: usize) -> Self {
        Self {
            state: State::Up,
            is_master,
            busy_until: Duration::ZERO,
            backlog: VecDeque::new(),
            max_backlog,
        }
    }

    /// A connection comes. False if the kernel drops it.
    pub(crate) fn connect(&mut self, now: Duration) -> bool {
        while self.backlog.front().is_some_and(|accepted| *accepted <= now) {
            self.backlog.pop_front();
        }
        if self.backlog.len() >= self.max_backlog {
            return false;
        }
        let accepted = self.work(ACCEPT, now);
        self.backlog.push_back(accepted);
        true
    }

    /// Runs commands, as they come over the wire. Returns the replies and the time of the last one.
    pub(crate) fn run(&mut self, bytes: &[u8], master: &str, now: Duration) -> (Vec<u8>, Duration) {
        let mut replies = Vec::new();
        for words in commands(bytes) {
            replies.extend(self.reply(&words, master));
            self.work(COMMAND, now);
        }
        (replies, self.busy_until)
    }

    /// How long the work takes that has come so far.
    pub(crate) fn queue(&self, now: Duration) -> Duration {
        self.busy_until.saturating_sub(now)
    }

    fn work(&mut self, time: Duration, now: Duration) -> Duration {
        self.busy_until = self.busy_until.max(now).saturating_add(time);
        self.busy_until
    }

    fn reply(&self, words: &[Vec<u8>], master: &str) -> Vec<u8> {
        let verb = words.first().map(|word| String::from_utf8_lossy(word).to_ascii_uppercase());
        match verb.as_deref() {
            Some("AUTH" | "CLIENT" | "SELECT") => b"+OK\r\n".to_vec(),
            Some("PING") => b"+PONG\r\n".to_vec(),
            Some("ROLE") => {
                let role = if self.is_master { "master" } else { "slave" };
                format!("*3\r\n{}:0\r\n*0\r\n", bulk(role)).into_bytes()
            }
            Some("SENTINEL") => format!("*2\r\n{}{}", bulk(master), bulk("6379")).into_bytes(),
            Some("SUBSCRIBE") => {
                let channel = words.get(1).map(|word| String::from_utf8_lossy(word)).unwrap_or_default();
                format!("*3\r\n{}{}:1\r\n", bulk("subscribe"), bulk(&channel)).into_bytes()
            }
            Some("GET") => bulk(&"x".repeat(VALUE_BYTES)).into_bytes(),
            _ => b"-ERR unknown command\r\n".to_vec(),
        }
    }
}

/// What a Sentinel publishes if another server is the master now.
pub(crate) fn switch_master(name: &str, old: &str, new: &str) -> Vec<u8> {
    let text = format!("{name} {old} 6379 {new} 6379");
    format!("*3\r\n{}{}{}", bulk("message"), bulk("+switch-master"), bulk(&text)).into_bytes()
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// The words of each command: `*count`, and for each word `$size word`. Only our own client writes them.
fn commands(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while let Some((b'*', count)) = head(&mut bytes) {
        let words = (0..count).map_while(|_| match head(&mut bytes) {
            Some((b'$', size)) => {
                let (word, rest) = bytes.split_at_checked(size)?;
                bytes = rest.get(2..)?;
                Some(word.to_vec())
            }
            _ => None,
        });
        found.push(words.collect());
    }
    found
}

/// The kind and the number of a line, cut off from the front.
fn head(bytes: &mut &[u8]) -> Option<(u8, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = bytes.split_at_checked(end)?;
    *bytes = rest.get(2..)?;
    let (kind, digits) = line.split_first()?;
    Some((*kind, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_one_write_are_answered_in_order() {
        let mut server = Server::new(true, 511);
        let asked = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nROLE\r\n";
        let (replies, until) = server.run(asked, "a", Duration::ZERO);
        let text = String::from_utf8(replies).unwrap();
        assert!(
            text.starts_with("+PONG\r\n$1200\r\nx") && text.ends_with("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")
        );
        assert_eq!(until, 3 * COMMAND);
    }

    #[test]
    fn connections_beyond_the_backlog_are_dropped_until_others_are_accepted() {
        let mut server = Server::new(true, 511);
        let accepted = (0..600).filter(|_| server.connect(Duration::ZERO)).count();
        assert_eq!(accepted, 511);
        assert!(server.connect(ACCEPT));
    }
}
