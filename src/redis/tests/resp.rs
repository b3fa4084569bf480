//! Encoded replies decode to themselves, however they are split.

use proptest::prelude::*;

use crate::redis::Reply;
use crate::redis::failure::ProtocolError;
use crate::redis::reply::ServerError;
use crate::redis::resp::Decoder;

/// All replies of the chunks.
pub(super) fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Reply>, ProtocolError> {
    let mut decoder = Decoder::default();
    let mut replies = Vec::new();
    for mut chunk in chunks {
        while let Some(reply) = decoder.decode(&mut chunk)? {
            replies.push(reply);
        }
        assert!(chunk.is_empty(), "without a reply, the decoder read all bytes");
    }
    Ok(replies)
}

fn encode(reply: &Reply, bytes: &mut Vec<u8>) {
    let mut line = |kind: &str, text: &[u8]| {
        bytes.extend_from_slice(kind.as_bytes());
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(b"\r\n");
    };
    match reply {
        Reply::Nil => line("$", b"-1"),
        Reply::Status(text) => line("+", text),
        Reply::Error(error) => line("-", error.text()),
        Reply::Integer(number) => line(":", number.to_string().as_bytes()),
        Reply::Bulk(value) => {
            line("$", value.len().to_string().as_bytes());
            line("", value);
        }
        Reply::TooLarge => {
            line("$", b"2000000");
            line("", &[b'x'; 2_000_000]);
        }
        Reply::Foreign => line(",", b"3.25"),
        Reply::Push(items) => {
            line(">", items.len().to_string().as_bytes());
            items.iter().for_each(|item| encode(item, bytes));
        }
        Reply::Array(items) => {
            line("*", items.len().to_string().as_bytes());
            items.iter().for_each(|item| encode(item, bytes));
        }
    }
}

fn encoded(replies: &[Reply]) -> Vec<u8> {
    let mut bytes = Vec::new();
    replies.iter().for_each(|reply| encode(reply, &mut bytes));
    bytes
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let text = || "[ -~\r]{0,40}".prop_map(String::into_bytes);
    let leaf = prop_oneof![
        Just(Reply::Nil),
        text().prop_map(Reply::Status),
        text().prop_map(|text| Reply::Error(ServerError::new(&text))),
        any::<i64>().prop_map(Reply::Integer),
        any::<Vec<u8>>().prop_map(Reply::Bulk),
        Just(Reply::Foreign),
    ];
    let array =
        leaf.prop_recursive(7, 64, 8, |item| prop::collection::vec(item, 0..8).prop_map(Reply::Array));
    // A push is never a part of a reply.
    prop_oneof![
        6 => array.clone(),
        1 => prop::collection::vec(array, 0..4).prop_map(Reply::Push),
    ]
}

proptest! {
    #[test]
    fn encoded_reply_decodes_to_itself(
        replies in prop::collection::vec(any_reply(), 1..4),
        size in 1_usize..40,
    ) {
        let bytes = encoded(&replies);
        prop_assert_eq!(decode([bytes.as_slice()]), Ok(replies.clone()));
        prop_assert_eq!(decode(bytes.chunks(size)), Ok(replies));
    }

    #[test]
    fn split_changes_nothing(reply in any_reply(), at: prop::sample::Index) {
        let bytes = encoded(std::slice::from_ref(&reply));
        let (start, end) = bytes.split_at(at.index(bytes.len()));
        prop_assert_eq!(decode([start]), Ok(vec![]));
        prop_assert_eq!(decode([start, end]), Ok(vec![reply]));
    }

    #[test]
    fn flipped_bit_does_not_panic(
        replies in prop::collection::vec(any_reply(), 1..4),
        at: prop::sample::Index,
        bit in 0_u8..8,
        size in 1_usize..40,
    ) {
        let mut bytes = encoded(&replies);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(decode([bytes.as_slice()]), decode(bytes.chunks(size)));
    }

    #[test]
    fn garbage_does_not_panic(bytes: Vec<u8>, text in "[-+$*:_#,(!=~%>|0-9atf\r\n]{0,60}", size in 1_usize..9) {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            prop_assert_eq!(decode([bytes]), decode(bytes.chunks(size)));
        }
    }
}

#[test]
fn all_types_are_read() {
    let bytes = b"+OK\r\n-NOAUTH no\r\n:-7\r\n:+7\r\n$2\r\n\r\n\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n:1\r\n*1\r\n$-1\r\n";
    let expected = vec![
        Reply::Status(b"OK".to_vec()),
        Reply::Error(ServerError::new(b"NOAUTH no")),
        Reply::Integer(-7),
        Reply::Integer(7),
        Reply::Bulk(b"\r\n".to_vec()),
        Reply::Bulk(Vec::new()),
        Reply::Nil,
        Reply::Nil,
        Reply::Array(Vec::new()),
        Reply::Array(vec![Reply::Integer(1), Reply::Array(vec![Reply::Nil])]),
    ];
    assert_eq!(decode([bytes.as_slice()]), Ok(expected));
}

/// The examples of the RESP3 specification, where it has one.
#[test]
fn all_types_of_resp3_are_read() {
    let text = |text: &str| Reply::Status(text.as_bytes().to_vec());
    for (bytes, reply) in [
        ("_\r\n", Reply::Nil),
        ("#t\r\n", Reply::Foreign),
        ("#f\r\n", Reply::Foreign),
        (",1.23\r\n", Reply::Foreign),
        (",10\r\n", Reply::Foreign),
        (",-1.5e-9\r\n", Reply::Foreign),
        (",inf\r\n", Reply::Foreign),
        (",-inf\r\n", Reply::Foreign),
        (",nan\r\n", Reply::Foreign),
        ("(3492890328409238509324850943850943825024385\r\n", Reply::Foreign),
        ("!21\r\nSYNTAX invalid syntax\r\n", Reply::Error(ServerError::new(b"SYNTAX invalid syntax"))),
        ("!0\r\n\r\n", Reply::Error(ServerError::new(b""))),
        ("=15\r\ntxt:Some string\r\n", Reply::Foreign),
        ("=0\r\n\r\n", Reply::Foreign),
        (
            "%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n",
            Reply::Array(vec![text("first"), Reply::Integer(1), text("second"), Reply::Integer(2)]),
        ),
        ("%0\r\n", Reply::Array(Vec::new())),
        ("~2\r\n+a\r\n#t\r\n", Reply::Array(vec![text("a"), Reply::Foreign])),
        (">1\r\n+pubsub\r\n", Reply::Push(vec![text("pubsub")])),
        (">0\r\n", Reply::Push(Vec::new())),
        (
            "|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.1923\r\n$1\r\nb\r\n,0.0012\r\n*2\r\n:1\r\n:2\r\n",
            Reply::Array(vec![Reply::Integer(1), Reply::Integer(2)]),
        ),
        (
            "*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n",
            Reply::Array(vec![Reply::Integer(1), Reply::Integer(2), Reply::Integer(3)]),
        ),
        ("|0\r\n+OK\r\n", text("OK")),
    ] {
        assert_eq!(decode([bytes.as_bytes()]), Ok(vec![reply.clone()]), "{bytes:?}");
        assert_eq!(decode(bytes.as_bytes().chunks(1)), Ok(vec![reply]), "{bytes:?} in pieces");
    }
}

#[test]
fn largest_session_is_read() {
    let value = Reply::Bulk(vec![b'x'; (1 << 20) + 1024]);
    let bytes = encoded(std::slice::from_ref(&value));
    assert_eq!(decode(bytes.chunks(1000)), Ok(vec![value]));
}

#[test]
fn too_large_value_is_skipped() {
    let replies =
        vec![Reply::TooLarge, Reply::Nil, Reply::Array(vec![Reply::Nil, Reply::TooLarge, Reply::Integer(1)])];
    let bytes = encoded(&replies);
    for size in [1, 1000, 1 << 20, 1 << 30] {
        assert_eq!(decode(bytes.chunks(size)), Ok(replies.clone()));
    }
}

/// Two values that are small enough alone are too large together.
#[test]
fn values_of_one_reply_share_one_limit() {
    let value = Reply::Bulk(vec![b'x'; 1 << 20]);
    let bytes = encoded(&[Reply::Array(vec![value.clone(), value.clone(), Reply::Nil]), value.clone()]);
    let expected = vec![Reply::Array(vec![value.clone(), Reply::TooLarge, Reply::Nil]), value];
    assert_eq!(decode([bytes.as_slice()]), Ok(expected));
}
