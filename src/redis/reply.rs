//! Replies of Redis.

use std::fmt;

/// How much of an error's text is kept, in bytes. `MOVED` with the longest host name fits.
const MAX_ERROR: usize = 512;

/// The longest code that is printed. Those of Redis have up to 11 letters.
const MAX_CODE: usize = 20;

/// The starts of errors that say more than their code, and nothing secret: no user name, argument or key.
const KNOWN: &[&str] = &[
    MAX_CLIENTS,
    "ERR unknown command",
    "ERR unknown subcommand",
    "ERR Unknown subcommand",
    "ERR wrong number of arguments",
    "ERR invalid expire time",
    "ERR syntax error",
    "ERR Error running script",
    "ERR The user executing the script can't run this command or subcommand",
    "ERR The user executing the script can't access at least one of the keys",
    "ERR unsupported command",
    "ERR command not supported",
    "ERR upstream failure",
    "ERR no upstream host",
    "ERR SELECT is not allowed in cluster mode",
    "CROSSSLOT Keys in pending don't hash to the same slot",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk",
    "NOREPLICAS Not enough good replicas to write",
    "OOM command not allowed when used memory > 'maxmemory'",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR DB index is out of range",
    "ERR This instance has cluster support disabled",
    "ERR invalid password",
    "ERR Client sent AUTH, but no password is set",
    "ERR AUTH <password> called without any password configured",
];

/// What an ACL denies, by words that follow the name of the user.
const DENIED: &[(&str, &str)] = &[
    ("permissions to run the 'asking' command", "NOPERM no permissions to run ASKING"),
    ("permissions to run the", "NOPERM no permissions to run the command"),
    ("access a key", "NOPERM no permissions to access the key"),
    ("access one of the keys", "NOPERM no permissions to access the key"),
];

/// The start of the greeting of a server that has too many clients.
const MAX_CLIENTS: &str = "ERR max number of clients";

const READ_ONLY: &[u8] = b" -READONLY ";

/// The reply to one command.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// No such key, or a condition that was not met.
    Nil,
    /// A simple string, such as `OK`.
    Status(Vec<u8>),
    /// A value.
    Bulk(Vec<u8>),
    /// A number.
    Integer(i64),
    /// Several replies. Each may be an error.
    Array(Vec<Reply>),
    /// The command failed.
    Error(ServerError),
    /// A value that is too large to be ours. It was dropped while it arrived.
    TooLarge,
    /// A value of a type that no command of ours has as its reply. It was dropped while it arrived.
    Foreign,
    /// No reply, but what the server tells by itself. It never gets to a caller.
    Push(Vec<Reply>),
}

/// An error reply of Redis: a code, then a message for people.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerError {
    text: Vec<u8>,
}

impl ServerError {
    /// The error with this text; a very long text is cut.
    pub(crate) fn new(text: &[u8]) -> Self {
        Self { text: text.get(..MAX_ERROR).unwrap_or(text).to_vec() }
    }

    /// The first word: `NOAUTH`, `LOADING`, `MOVED`; `ERR` if that is not a code.
    pub fn code(&self) -> &str {
        let word = self.text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let is_code = (1..=MAX_CODE).contains(&word.len()) && word.iter().all(u8::is_ascii_uppercase);
        std::str::from_utf8(word).ok().filter(|_| is_code).unwrap_or("ERR")
    }

    /// The whole text, code and message. Do not log it: Redis puts names and arguments into it.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether the server did not run the command because it cannot serve the data, at least for now: it is a
    /// replica, loads its data, runs a slow script, or has lost its cluster. So any command may be sent again.
    pub(super) fn is_unready(&self) -> bool {
        matches!(self.code(), "MASTERDOWN" | "LOADING" | "BUSY" | "CLUSTERDOWN" | "TRYAGAIN")
            || self.is_read_only()
    }

    /// Whether the server wants a password, or another one.
    pub(crate) fn is_about_password(&self) -> bool {
        matches!(self.code(), "NOAUTH" | "WRONGPASS")
    }

    /// Whether the server did not run the command because it is a replica.
    pub(super) fn is_read_only(&self) -> bool {
        // Redis before 7 puts the error of a script in the middle of another one.
        let is_script = |text: &[u8]| text.windows(READ_ONLY.len()).any(|part| part == READ_ONLY);
        self.code() == "READONLY"
            || (self.text.starts_with(b"ERR Error running script") && is_script(&self.text))
    }

    /// Whether the same command may succeed soon: the server starts, is busy, or has too many clients.
    pub(super) fn is_temporary(&self) -> bool {
        matches!(self.code(), "LOADING" | "MASTERDOWN" | "BUSY")
            || self.text.starts_with(MAX_CLIENTS.as_bytes())
    }
}

/// The code alone, or a text that is known to contain nothing secret.
impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |part: &str| self.text.windows(part.len()).any(|text| text == part.as_bytes());
        let denied = DENIED.iter().filter(|_| self.code() == "NOPERM").find(|(part, _)| has(part));
        let known = KNOWN.iter().find(|known| self.text.starts_with(known.as_bytes()));
        f.write_str(denied.map(|(_, words)| words).or(known).copied().unwrap_or_else(|| self.code()))
    }
}

/// As [`Display`](fmt::Display): nothing secret.
impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerError({self})")
    }
}

/// Values are sessions, so only their lengths are printed.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("Nil"),
            Self::Status(text) => write!(f, "Status({} bytes)", text.len()),
            Self::Bulk(value) => write!(f, "Bulk({} bytes)", value.len()),
            Self::Integer(number) => write!(f, "Integer({number})"),
            Self::Array(items) => f.debug_tuple("Array").field(items).finish(),
            Self::Error(error) => write!(f, "Error({error})"),
            Self::TooLarge => f.write_str("TooLarge"),
            Self::Foreign => f.write_str("Foreign"),
            Self::Push(items) => f.debug_tuple("Push").field(items).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_has_a_code() {
        for (text, code) in [
            ("WRONGPASS invalid username-password pair", "WRONGPASS"),
            ("MOVED 3999 127.0.0.1:6381", "MOVED"),
            ("LOADING", "LOADING"),
            ("Redis is on fire", "ERR"),
            ("", "ERR"),
            (" ", "ERR"),
            ("SECRET_7 x", "ERR"),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZ x", "ERR"),
            ("ÄÖ x", "ERR"),
        ] {
            assert_eq!(ServerError::new(text.as_bytes()).code(), code, "{text}");
        }
    }

    #[test]
    fn error_is_printed_without_its_message() {
        for (text, printed) in [
            ("NOPERM User alice has no permissions", "NOPERM"),
            ("ERR unknown command 'hunter2'", "ERR unknown command"),
            (
                "NOPERM User hunter2 has no permissions to run the 'setex' command",
                "NOPERM no permissions to run the command",
            ),
            (
                "NOPERM this user has no permissions to access one of the keys used as arguments",
                "NOPERM no permissions to access the key",
            ),
            ("NOPERM No permissions to access a key", "NOPERM no permissions to access the key"),
            (
                "OOM command not allowed when used memory > 'maxmemory'. hunter2",
                "OOM command not allowed when used memory > 'maxmemory'",
            ),
            (
                "ERR The user executing the script can't run this command or subcommand script: 26bf, on @user_script:1.",
                "ERR The user executing the script can't run this command or subcommand",
            ),
            (
                "NOPERM User hunter2 has no permissions to run the 'asking' command",
                "NOPERM no permissions to run ASKING",
            ),
            ("ERR hunter2", "ERR"),
            ("ERR max number of clients reached", "ERR max number of clients"),
            ("ERR DB index is out of range", "ERR DB index is out of range"),
        ] {
            let error = ServerError::new(text.as_bytes());
            assert_eq!(error.to_string(), printed);
            assert_eq!(format!("{error:?}"), format!("ServerError({printed})"));
        }
    }

    #[test]
    fn unready_errors_are_recognised() {
        for (text, is_unready) in [
            ("READONLY You can't write against a read only replica.", true),
            ("READONLY You can't write against a read only replica. script: 4e6d, on @user_script:1.", true),
            (
                "ERR Error running script (call to f_4e6d): @user_script:1: @user_script: 1: -READONLY You",
                true,
            ),
            ("MASTERDOWN Link with MASTER is down", true),
            ("LOADING Redis is loading the dataset in memory", true),
            ("CLUSTERDOWN Hash slot not served", true),
            ("ERR Error running script (call to f_4e6d): wrong number of arguments", false),
            ("ERR unknown command ' -READONLY '", false),
            ("WRONGTYPE x", false),
            ("MOVED 1 a:1", false),
        ] {
            assert_eq!(ServerError::new(text.as_bytes()).is_unready(), is_unready, "{text}");
        }
    }

    #[test]
    fn long_error_is_cut() {
        let error = ServerError::new(&[b'X'; 60_000]);
        assert_eq!((error.text().len(), error.code()), (MAX_ERROR, "ERR"));
    }

    #[test]
    fn value_is_not_printed() {
        let reply = Reply::Array(vec![Reply::Bulk(b"hunter2".to_vec()), Reply::Status(b"hunter2".to_vec())]);
        assert_eq!(format!("{reply:?}"), "Array([Bulk(7 bytes), Status(7 bytes)])");
    }
}
