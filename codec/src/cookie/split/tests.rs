use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::vectors;

thread_local! {
    /// How often a set was looked at.
    pub(super) static LOOKS: Cell<usize> = const { Cell::new(0) };
}

const NAME: &[u8] = b"_oauth2_proxy";
const WEEK: MaxAge = MaxAge::Seconds(604_800);

fn attributes() -> Attributes {
    Attributes { path: "/".to_owned(), domains: Vec::new(), http_only: true, secure: true, same_site: None }
}

fn split_value(name: &[u8], value: &[u8]) -> Vec<SetCookie> {
    split(name, value, &attributes(), WEEK, b"example.com")
}

/// The `cookie` headers that a browser would send back.
fn sent_back(cookies: &[SetCookie]) -> Vec<Vec<u8>> {
    let pair = |cookie: &SetCookie| cookie.header.split(|byte| *byte == b';').next().map(<[u8]>::to_vec);
    cookies.iter().filter_map(pair).collect()
}

fn joined(name: &[u8], headers: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let jar = Jar::new(headers.iter().map(Vec::as_slice));
    SessionCookies::find(&jar, name).into_values().into_iter().map(Cow::into_owned).collect()
}

#[test]
fn value_is_split_as_by_oauth2_proxy() {
    let expected = vectors::load()["split"]["cookies"].clone();
    let expected = expected.as_array().unwrap();
    let number = |case: &serde_json::Value, key: &str| usize::try_from(case[key].as_u64().unwrap()).unwrap();
    let length = expected.iter().map(|case| number(case, "value_len")).sum();
    let cookies = split_value(NAME, &vec![b'x'; length]);
    assert_eq!(cookies.len(), expected.len());
    for (cookie, case) in cookies.iter().zip(expected) {
        assert_eq!(cookie.name, case["name"].as_str().unwrap().as_bytes());
        assert_eq!(cookie.header.len(), number(case, "set_cookie_len"));
    }
}

#[test]
fn header_of_4000_bytes_is_not_split() {
    let overhead = split_value(NAME, b"").first().unwrap().header.len();
    assert_eq!(split_value(NAME, &vec![b'x'; 4000 - overhead]).len(), 1);
    assert_eq!(split_value(NAME, &vec![b'x'; 4001 - overhead]).len(), 2);
}

#[test]
fn missing_chunk_ends_the_set() {
    let headers = [b"n_0=a; n_2=c; n_1=b; n_4=e; n_1=x".to_vec()];
    assert_eq!(joined(b"n", &headers), [b"abc"]);
    assert!(joined(b"n", &[b"n_1=b; n_2=c".to_vec()]).is_empty());
}

/// Go's `net/http` drops such a pair, so for oauth2-proxy it is not there.
#[test]
fn malformed_chunk_hides_no_other() {
    assert_eq!(joined(b"n", &[b"n_0=a; n_1=\xff; n_1=b; n_2=\x01".to_vec()]), [b"ab"]);
}

#[test]
fn whole_cookie_comes_before_chunks() {
    let headers = [b"n_0=a; n_1=b; n=whole; n=other".to_vec()];
    assert_eq!(joined(b"n", &headers), [b"whole".as_slice(), b"other", b"ab"]);
}

/// A value as it is signed, `length` bytes long.
fn signed_value(byte: &str, length: usize, secs: i64) -> Vec<u8> {
    let rest = format!("|{secs}|{}=", byte.repeat(43));
    [byte.repeat(length - rest.len()), rest].concat().into_bytes()
}

#[test]
fn leftover_chunks_are_not_joined_to_a_smaller_session() {
    let larger = split_value(NAME, &signed_value("a", 20_000, 1_700_000_000));
    for length in 4_000..4_100 {
        let value = signed_value("b", length, 1_700_000_001);
        let smaller = split_value(NAME, &value);
        assert_eq!((smaller.len(), larger.len()), (2, 6));
        let headers = sent_back(&smaller).into_iter().chain(sent_back(&larger[smaller.len()..]));
        assert_eq!(joined(NAME, &headers.collect::<Vec<_>>()), [value]);
    }
}

/// The `cookie` headers of these values, those of each name in this order as RFC 6265 section 5.4 says.
fn sent_together(values: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut cookies: Vec<_> = values
        .iter()
        .flat_map(|value| split_value(NAME, value).into_iter().enumerate())
        .map(|(number, cookie)| (number, sent_back(&[cookie]).concat()))
        .collect();
    cookies.sort_by_key(|(number, _)| *number);
    cookies.into_iter().map(|(_, cookie)| cookie).collect()
}

#[test]
fn several_sets_are_joined_separately() {
    let secs = [1_700_000_003, 1_700_000_002, 1_700_000_001];
    // Of sizes in any order, two chunks and more, also beside a whole one: each is found.
    for lengths in
        [[9_000, 9_000, 9_000], [5_000, 9_000, 13_000], [13_000, 9_000, 5_000], [5_000, 13_000, 500]]
    {
        let values: Vec<_> = lengths
            .iter()
            .zip(secs)
            .zip(["a", "b", "c"])
            .map(|((length, secs), byte)| signed_value(byte, *length, secs))
            .collect();
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        assert_eq!(joined(NAME, &sent_together(&values)), values, "{lengths:?}");
        // The cookies of one name keep their order, with other cookies between them.
        let mut headers = sent_together(&values);
        headers.reverse();
        let mut all = joined(NAME, &headers);
        all.sort();
        assert_eq!(all, values, "{lengths:?}");
    }
}

#[test]
fn chunks_left_by_oauth2_proxy_join_no_other_set() {
    let larger = split_value(NAME, &signed_value("a", 9_000, 1_700_000_000));
    let smaller = signed_value("b", 5_000, 1_700_000_002);
    let other = signed_value("c", 9_500, 1_700_000_001);
    let (smaller_cookies, others) = (split_value(NAME, &smaller), split_value(NAME, &other));
    assert_eq!((smaller_cookies.len(), larger.len(), others.len()), (2, 3, 3));
    let first = sent_back(&smaller_cookies).into_iter().chain(sent_back(&larger[2..]));
    let headers: Vec<_> = first.chain(sent_back(&others)).collect();
    assert_eq!(joined(NAME, &headers), [smaller, other]);
}

#[test]
fn stray_chunk_hides_no_set() {
    let value = signed_value("a", 9_000, 1_700_000_000);
    let [first, second, third] = sent_back(&split_value(NAME, &value)).try_into().unwrap();
    for other in ["x", NEIGHBOUR] {
        for number in [1, 2] {
            let other = format!("_oauth2_proxy_{number}={other}").into_bytes();
            let before = [other.clone(), first.clone(), second.clone(), third.clone()];
            let after = [first.clone(), second.clone(), third.clone(), other];
            assert!(joined(NAME, &before).contains(&value) && joined(NAME, &after).contains(&value));
        }
    }
}

#[test]
fn newest_session_comes_first_whole_or_split() {
    let (old, new) = (signed_value("a", 500, 1_700_000_000), signed_value("b", 5_000, 1_700_000_001));
    let headers = |values: [&[u8]; 2]| -> Vec<_> {
        values.into_iter().flat_map(|value| sent_back(&split_value(NAME, value))).collect()
    };
    assert_eq!(joined(NAME, &headers([&old, &new])), [new.clone(), old.clone()]);
    let (old, new) = (signed_value("a", 5_000, 1_700_000_000), signed_value("b", 500, 1_700_000_001));
    assert_eq!(joined(NAME, &headers([&old, &new])), [new.clone(), old]);
    let as_new = signed_value("c", 500, 1_700_000_001);
    assert_eq!(joined(NAME, &headers([&new, &as_new])), [new, as_new]);
}

#[test]
fn many_sessions_are_ordered_newest_first() {
    let value = |secs: i64, byte| signed_value(byte, 100, 1_700_000_000 + secs);
    let values = [value(1, "a"), b"junk".to_vec(), value(3, "b"), value(2, "c"), value(3, "d")];
    let headers = values.each_ref().map(|value| [b"n=".as_slice(), value].concat());
    let [a, junk, b, c, d] = values;
    assert_eq!(joined(b"n", &headers), [b, d, c, a, junk]);
}

#[test]
fn cookie_too_long_for_a_browser_is_ignored() {
    let headers = [b"n=".to_vec(), vec![b'x'; 4001]].concat();
    assert!(joined(b"n", &[headers]).is_empty());
}

/// Each of a stranger's cookies may begin a set, and the first set need not end.
#[test]
fn endless_sets_cost_linear_time() {
    let end = str::from_utf8(&signed_value("a", 100, 1_700_000_000)).unwrap().to_owned();
    for (begin, others) in [
        (vec![""; 500], 1),
        // Two of each other number, and more of the last: sets are counted from both ends.
        (vec![""; 500], 2),
        // Sets that end at once, and one behind them.
        ([vec![end.trim_end_matches('='); 250], vec!["", "x"]].concat(), 1),
    ] {
        let first = begin.iter().map(|value| format!("n_0={value}"));
        let others = (1..500).flat_map(|number| vec![format!("n_{number}="); others]);
        let last = vec!["n_500=".to_owned(); 501];
        let headers: Vec<_> = first.chain(others).chain(last).map(String::into_bytes).collect();
        LOOKS.set(0);
        joined(b"n", &headers);
        let looks = LOOKS.get();
        assert!(looks > 0 && looks <= 4 * headers.len(), "{looks} for {} cookies", headers.len());
    }
}

fn is_part_of(name: &[u8], candidate: &[u8]) -> bool {
    candidate == name || chunk_number(name, candidate).is_some()
}

#[test]
fn chunks_are_recognised_by_name() {
    for part in ["n", "n_0", "n_7", "n_12"] {
        assert!(is_part_of(b"n", part.as_bytes()), "{part}");
    }
    for other in ["", "m", "n_", "n_x", "n_csrf", "n_01", "n_0_0", "n0", "xn_0", "n_99999999999"] {
        assert!(!is_part_of(b"n", other.as_bytes()), "{other}");
    }
}

fn names(headers: &[Vec<u8>], holds: impl FnMut(&[u8]) -> bool) -> Vec<String> {
    let jar = Jar::new(headers.iter().map(Vec::as_slice));
    let names = SessionCookies::find(&jar, NAME).names(holds).into_iter();
    names.map(|name| String::from_utf8(name).unwrap().replace("_oauth2_proxy", "n")).collect()
}

#[test]
fn names_come_once_with_final_chunks_first() {
    let header = b"_oauth2_proxy_1=a; _oauth2_proxy_2=b; other=c; _oauth2_proxy_2=d; _oauth2_proxy_0=e; \
        _oauth2_proxy_x=f; _oauth2_proxy=g; _oauth2_proxy_02=h";
    assert_eq!(names(&[header.to_vec()], |_| true), ["n", "n_2", "n_1", "n_0"]);
    let short = signed_value("a", 5_000, 1_700_000_000);
    let long = signed_value("b", 17_000, 1_700_000_001);
    assert_eq!(names(&sent_together(&[&short, &long]), |_| true), ["n_4", "n_1", "n_3", "n_2", "n_0"]);
}

/// A value of another application, signed with its secret.
const NEIGHBOUR: &str = "eHh4|1700000005|YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=";

#[test]
fn whole_cookie_with_a_chunk_name_is_no_chunk() {
    let whole = [NAME, b"=", &signed_value("a", 500, 1_700_000_000)].concat();
    let neighbour = |number: u32| format!("_oauth2_proxy_{number}={NEIGHBOUR}").into_bytes();
    for numbers in [&[0][..], &[1], &[2], &[0, 1, 2]] {
        let mut headers: Vec<_> = numbers.iter().copied().map(neighbour).collect();
        assert!(names(&headers, |_| false).is_empty() && joined(NAME, &headers).is_empty(), "{numbers:?}");
        headers.push(whole.clone());
        assert_eq!(names(&headers, |_| false), ["n"], "{numbers:?}");
    }
    // Behind the chunks of a session, and of one that is left in part.
    let session = signed_value("a", 9_000, 1_700_000_000);
    let mut headers = sent_back(&split_value(NAME, &session));
    headers.push(neighbour(3));
    assert_eq!(names(&headers, |value| value == session), ["n_2", "n_1", "n_0"]);
    headers[1] = neighbour(1);
    assert_eq!(names(&headers, |_| false), ["n_0"]);
}

#[test]
fn final_chunk_may_look_like_a_whole_value() {
    let mut whole = 0;
    for value in (4_001..4_009).map(|length| signed_value("a", length, 1_700_000_000)) {
        let headers = sent_back(&split_value(NAME, &value));
        assert_eq!(names(&headers, |other| other == value), ["n_1", "n_0"]);
        let end = headers[1].strip_prefix(b"_oauth2_proxy_1=".as_slice()).unwrap();
        whole += usize::from(signed::is_whole(end));
    }
    assert_eq!(whole, 2);
}

#[test]
fn chunks_behind_a_gap_are_not_counted() {
    assert!(names(&[b"_oauth2_proxy_1=a; _oauth2_proxy_2=b".to_vec()], |_| true).is_empty());
    assert_eq!(names(&[b"_oauth2_proxy_0=a; _oauth2_proxy_2=b".to_vec()], |_| true), ["n_0"]);
}

#[test]
fn longest_name_is_cut_for_the_chunk_number() {
    let name = vec![b'n'; MAX_NAME];
    let cookies = split_value(&name, &vec![b'x'; 50_000]);
    assert!(cookies.len() > 10);
    assert!(cookies.iter().all(|cookie| cookie.name.len() == MAX_NAME && cookie.header.len() <= 4000));
    assert_eq!(joined(&name, &sent_back(&cookies)), [vec![b'x'; 50_000]]);
}

#[test]
fn sent_bytes_are_those_of_the_cookie_header() {
    for length in [0, 100, 3_900, 4_100, 8_000, 50_000] {
        let value = vec![b'x'; length];
        let header = sent_back(&split_value(NAME, &value)).join(b"; ".as_slice());
        assert_eq!(sent_bytes(NAME, &value, &attributes(), WEEK), header.len());
    }
}

proptest! {
    #[test]
    fn split_value_is_joined_again(value in prop::collection::vec(b'!'..b'"', 0..20_000), name in "[a-z_0-9]{1,20}") {
        let cookies = split_value(name.as_bytes(), &value);
        prop_assert!(cookies.iter().all(|cookie| is_part_of(name.as_bytes(), &cookie.name)));
        prop_assert_eq!(joined(name.as_bytes(), &sent_back(&cookies)), [value]);
    }
}
