//! The lines of the log, each of which is read for secrets.

use std::sync::Once;

use log::{LevelFilter, Log, Metadata, Record};

use super::has_secret;

struct Reader;

static READER: Reader = Reader;

/// From now on.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&READER).unwrap();
        log::set_max_level(LevelFilter::Debug);
    });
}

impl Log for Reader {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        assert!(!has_secret(line.as_bytes()), "a secret is in the log: {line}");
        // A signature, or a token: each has a run of letters and digits that no sentence has.
        let is_long = |word: &str| word.len() > 60;
        let is_text = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        assert!(!line.split(|c| !is_text(c)).any(is_long), "a token is in the log: {line}");
        assert!(!line.chars().any(char::is_control), "a line of the log ends too early: {line:?}");
    }

    fn flush(&self) {}
}
