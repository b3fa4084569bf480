//! Bytes that no server should send.

use proptest::prelude::*;

use super::resp::decode;
use super::script::Script;
use crate::redis::Reply;
use crate::redis::failure::ProtocolError;
use crate::redis::resp::{Decoder, MAX_REPLY, VALUE};

#[test]
fn bytes_that_are_not_resp_are_an_error() {
    for (bytes, error) in [
        ("HTTP/1.1 400 Bad Request\r\n", ProtocolError::Type),
        ("\r\n", ProtocolError::Type),
        ("*1\r\n>1\r\n+a\r\n", ProtocolError::Type),
        ("_x\r\n", ProtocolError::Number),
        ("#\r\n", ProtocolError::Number),
        ("#true\r\n", ProtocolError::Number),
        (",\r\n", ProtocolError::Number),
        (",1,5\r\n", ProtocolError::Number),
        ("(0x1\r\n", ProtocolError::Number),
        (">-1\r\n", ProtocolError::Number),
        ("|-1\r\n", ProtocolError::Number),
        ("$?\r\n", ProtocolError::Number),
        ("%9223372036854775807\r\n", ProtocolError::TooLarge),
        (">1000000000\r\n", ProtocolError::TooLarge),
        ("|1000000000\r\n", ProtocolError::TooLarge),
        ("\0\r\n", ProtocolError::Type),
        ("+OK\n", ProtocolError::LineEnd),
        ("\n", ProtocolError::LineEnd),
        ("$2\r\nabc\r\n", ProtocolError::LineEnd),
        ("$2\r\nab\rc", ProtocolError::LineEnd),
        ("$0\r\n$", ProtocolError::LineEnd),
        (":\r\n", ProtocolError::Number),
        (":1 \r\n", ProtocolError::Number),
        (":0x1\r\n", ProtocolError::Number),
        (":9223372036854775808\r\n", ProtocolError::Number),
        (":99999999999999999999999999999999999999\r\n", ProtocolError::Number),
        ("$\r\n", ProtocolError::Number),
        ("$-2\r\n", ProtocolError::Number),
        ("$1.5\r\n", ProtocolError::Number),
        ("$٣\r\n", ProtocolError::Number),
        ("*-2\r\n", ProtocolError::Number),
        ("*-9223372036854775808\r\n", ProtocolError::Number),
        ("*1000000000\r\n", ProtocolError::TooLarge),
        ("*9223372036854775807\r\n", ProtocolError::TooLarge),
        ("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", ProtocolError::TooDeep),
    ] {
        assert_eq!(decode([bytes.as_bytes()]), Err(error), "{bytes:?}");
        assert_eq!(decode(bytes.as_bytes().chunks(1)), Err(error), "{bytes:?} in pieces");
    }
}

#[test]
fn endless_line_is_an_error() {
    for chunk in [1_usize, 1000, 1 << 20] {
        let chunk = vec![b'+'; chunk];
        let endless = std::iter::repeat_n(chunk.as_slice(), 70_000);
        assert_eq!(decode(endless), Err(ProtocolError::LineTooLong));
    }
}

#[test]
fn endless_value_is_not_kept() {
    let mut decoder = Decoder::default();
    let chunk = vec![b'x'; 1 << 16];
    assert_eq!(decoder.decode(&mut b"$9223372036854775807\r\n".as_slice()), Ok(None));
    for _ in 0..10_000 {
        assert_eq!(decoder.decode(&mut chunk.as_slice()), Ok(None));
    }
    assert_eq!(decoder.charged(), VALUE);
}

#[test]
fn endless_attributes_are_an_error() {
    for attributes in ["|0\r\n", "|1\r\n+a\r\n+b\r\n"] {
        let chunk = attributes.repeat(1000);
        assert_eq!(decode(std::iter::repeat_n(chunk.as_bytes(), 1000)), Err(ProtocolError::TooLarge));
    }
}

#[test]
fn nested_arrays_have_a_limit() {
    // Each array is a little smaller than allowed, so that only the sum is too much.
    let bytes = [b"*20000\r\n".as_slice(), &b"*3\r\n+a\r\n+b\r\n+c\r\n".repeat(20_000)].concat();
    assert_eq!(decode([bytes.as_slice()]), Err(ProtocolError::TooLarge));
    let wide = [b"*10000\r\n".as_slice(), &b"*0\r\n".repeat(10_000)].concat();
    assert!(
        matches!(decode([wide.as_slice()]).unwrap().as_slice(), [Reply::Array(items)] if items.len() == 10_000)
    );
}

/// The largest array that is accepted occupies no more memory than a reply may.
#[test]
fn memory_of_array_is_at_most_what_it_is_charged() {
    let nils = |count: usize| [format!("*{count}\r\n").as_bytes(), &b"$-1\r\n".repeat(count)].concat();
    // The array itself is a value, and a nil has two bytes.
    let most = (MAX_REPLY - VALUE) / (VALUE + 2);
    let replies = decode([nils(most).as_slice()]).unwrap();
    let [Reply::Array(items)] = replies.as_slice() else { panic!() };
    assert_eq!(items.len(), most);
    assert!(items.capacity() * size_of::<Reply>() <= MAX_REPLY);
    assert_eq!(decode([nils(most + 1).as_slice()]), Err(ProtocolError::TooLarge));
}

/// What a server may do to a client: any bytes at any time.
#[derive(Clone, Debug)]
enum Step {
    Send,
    Lock,
    Cancel(u64),
    Open(u64),
    Close(u64),
    Receive(u64, String),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let answers = prop::sample::select(vec![
        "+OK\r\n",
        "$-1\r\n",
        "$1\r\nv\r\n",
        ":1\r\n",
        ">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n",
        "%1\r\n+proto\r\n:3\r\n",
        "-LOADING x\r\n",
        "-ERR x\r\n",
        "!",
        "$5\r\nab",
        "*1\r\n",
        "",
    ]);
    let stream = 1_u64..6;
    prop_oneof![
        3 => Just(Step::Send),
        1 => Just(Step::Lock),
        1 => (1_u64..20).prop_map(Step::Cancel),
        3 => stream.clone().prop_map(Step::Open),
        1 => stream.clone().prop_map(Step::Close),
        4 => (stream, answers).prop_map(|(stream, bytes)| Step::Receive(stream, bytes.to_owned())),
        2 => (0_u64..1500).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens, each command is done once, by its deadline, and no command is written three times.
    #[test]
    fn every_command_is_done_once(steps in prop::collection::vec(any_step(), 0..60)) {
        let mut redis = Script::new();
        let mut sent = 0_u64;
        let mut cancelled = std::collections::HashSet::new();
        let mut outputs = Vec::new();
        for step in steps {
            match step {
                Step::Send => sent = redis.get(&format!("key{}.", sent + 1)).0,
                Step::Lock => sent = redis.lock().0,
                Step::Cancel(id) if id <= sent => {
                    redis.client.cancel(crate::redis::CommandId(id));
                    cancelled.insert(id);
                }
                Step::Cancel(_) => {}
                Step::Open(stream) => redis.opened(stream),
                Step::Close(stream) => redis.closed(stream),
                Step::Receive(stream, bytes) => redis.receives(stream, &bytes),
                Step::Pass(millis) => redis.pass(millis),
            }
            outputs.extend(redis.outputs());
        }
        redis.pass(2000);
        outputs.extend(redis.outputs());
        for id in 1..=sent {
            let done = outputs.iter().filter(|output| output.starts_with(&format!("#{id} "))).count();
            prop_assert!(done == 1 || (done == 0 && cancelled.contains(&id)), "#{} is done {} times", id, done);
            let key = format!("GET key{id}.");
            let written = outputs.iter().filter(|output| output.contains(&key)).count();
            prop_assert!(written <= 2, "#{} is written {} times", id, written);
        }
        // After that, commands wait only for the attempt that is under way.
        redis.pass(1000);
        prop_assert_eq!(redis.next_wake(), None);
    }
}
