//! The bridge: gRPC frames in chunks of any size.

use oauth2_session_filter::bridge::{Unframe, frame, is_stream};

/// The first byte is the size of the chunks.
pub(super) fn run(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let chunks = |size: usize| {
        let mut unframe = Unframe::default();
        bytes
            .chunks(size)
            .map(|chunk| unframe.feed(chunk))
            .collect::<Result<Vec<_>, _>>()
            .map(|all| all.concat())
    };
    let plain = chunks(usize::from(*size).max(1));
    assert_eq!(plain, chunks(bytes.len().max(1)), "it matters how the bytes are split");
    if let Ok(plain) = plain {
        assert!(plain.len() <= bytes.len());
    }
    let framed = [frame(bytes.len()).unwrap().as_slice(), bytes].concat();
    assert_eq!(Unframe::default().feed(&framed).as_deref(), Ok(bytes));
    assert_eq!(is_stream(bytes), bytes.starts_with(b"/oauth2_session.Redis"));
}
