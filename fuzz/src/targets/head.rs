//! The header block that the host hands over, and what a flow asks of it.

use oauth2_session_filter::flow::{HeaderBlock, RequestHead};

/// The bytes are the serialized block.
pub(super) fn run(bytes: &[u8]) {
    let head = RequestHead::from(HeaderBlock::parse(bytes.to_vec()));
    let size: usize = head.headers().map(|(name, value)| name.len() + value.len()).sum();
    assert!(size <= bytes.len(), "bytes are in two headers");
    assert!(head.headers().count() <= bytes.len() / 8, "a header has its two lengths");
    for (name, value) in head.headers() {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        assert!(head.all(name).any(|other| other == value));
    }
    assert!(head.path().len() <= head.target().len() && !head.path().contains(&b'?'));
    assert!(matches!(head.scheme(), "http" | "https"));
    assert_eq!(head.query("rd"), head.queries("rd").next());
    let _ = (head.method(), head.host(), head.jar().pairs().count());
}
