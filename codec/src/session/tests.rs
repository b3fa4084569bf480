//! Sessions, tickets and logins against what oauth2-proxy's own code wrote and read.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::csrf::Csrf;
use super::ticket::{Ticket, TicketForm};
use super::*;
use crate::cookie::{self, Allowance, CookieSecret, csrf_cookie_name};
use crate::time::Timestamp;
use crate::vectors::{self, bytes, counted};

const BASE64_SECRET: &[u8] = b"A3Xbr6fu6Al0HkgrP1ztjb-mYiwmxgNPP-XbNsz1WBk=";
const NAME: &[u8] = b"_oauth2_proxy";
const NOW: i64 = 1_700_000_000;

/// The value of a `Set-Cookie` header.
fn value(header: &Value) -> Vec<u8> {
    let header = header.as_str().unwrap();
    let pair = header.split(';').next().unwrap();
    pair.split_once('=').unwrap().1.as_bytes().to_vec()
}

fn verify(secret: &CookieSecret, name: &[u8], raw: &[u8]) -> Verified {
    let mut allowance = Allowance::new(1, raw.len());
    cookie::verify(
        &secret.clone().into(),
        name,
        raw,
        Timestamp::from_secs(NOW),
        Duration::ZERO,
        &mut allowance,
    )
    .unwrap()
}

/// The session of the vector `full`, by its fields.
fn full() -> Session {
    let packed = vectors::load()["msgpack"]
        .as_array()
        .unwrap()
        .iter()
        .find(|case| case["name"] == "full")
        .map(|case| bytes(&case["hex"]))
        .unwrap();
    Session::unpack(&packed).unwrap()
}

#[test]
fn sessions_are_packed_as_by_oauth2_proxy() {
    for case in vectors::load()["msgpack"].as_array().unwrap() {
        let packed = bytes(&case["hex"]);
        let session = Session::unpack(&packed).unwrap();
        assert_eq!(session.pack(), packed, "{}", case["name"]);
    }
}

#[test]
fn session_fields_are_read() {
    let case = |name: &str| {
        let vectors = vectors::load();
        let cases = vectors["msgpack"].as_array().unwrap();
        let hex = &cases.iter().find(|case| case["name"] == name).unwrap()["hex"];
        Session::unpack(&bytes(hex)).unwrap()
    };
    assert_eq!(case("user_only").user, b"foobar");
    assert_eq!(case("user_nonutf8").user, b"\xff\xfe");
    assert_eq!(case("groups16").groups, vec![b"g".to_vec(); 16]);
    assert_eq!(case("group_empty_string").groups, [b""]);
    assert_eq!(case("before_epoch").created_at, Some(Timestamp::new(-1, 5)));
    assert_eq!(case("epoch").created_at, Some(Timestamp::from_secs(0)));
    assert_eq!(case("claim_jsonnumber").additional_claims.to_json()["c"], json!("42"));
    let full = full();
    assert_eq!(full.created_at, Some(Timestamp::new(NOW, 123_456_789)));
    assert_eq!(full.expires_on, Some(Timestamp::from_secs(NOW + 3600)));
    assert!(full.access_token.starts_with(b"AccessToken."));
    assert!(full.id_token.starts_with(b"IDToken."));
    assert!(full.refresh_token.starts_with(b"RefreshToken."));
    assert!(!full.nonce.is_empty() && !full.email.is_empty() && !full.preferred_username.is_empty());
}

/// The cases are the original's, rebuilt from their names; the vectors hold what it read in each.
#[test]
fn sessions_are_read_as_leniently_as_by_oauth2_proxy() {
    let time = |ext: &str| format!("81a26361{ext}");
    let claim = |value: &str| format!("81a2616381a174{value}");
    let cases = [
        ("ac_bin", claim("c40161")),
        ("ac_empty", "81a2616380".to_owned()),
        ("ac_ext_ts", claim("d6ff00000001")),
        ("ac_ext_unknown", claim("d40500")),
        ("ac_f32", claim("ca3f800000")),
        ("ac_map_nonstr_nested", claim("81a16101")),
        ("ac_nil", "81a26163c0".to_owned()),
        ("ac_nonstring_key", "81a261638101c0".to_owned()),
        ("ca_arr2", time("920100")),
        ("ca_ext12", time("c70cff000000000000000000000001")),
        ("ca_ext13", time("d60d00000001")),
        ("ca_ext4", time("d6ff00000001")),
        ("ca_ext8_via_ext8code", time("c708ff0000000000000001")),
        ("ca_int", time("01")),
        ("ca_nil", time("c0")),
        ("ca_nsec_over", time("d7ffffffffffffffffff")),
        ("ca_str", time(&format!("b4{}", "30".repeat(20)))),
        ("ca_zero_time", time("c70cff00000000fffffff1886e0900")),
        ("dup_field", "82a175a161a175a162".to_owned()),
        ("empty_input", String::new()),
        ("groups_array16", "81a167dc0001a161".to_owned()),
        ("groups_empty", "81a16790".to_owned()),
        ("groups_nil", "81a167c0".to_owned()),
        ("groups_with_nil", "81a16791c0".to_owned()),
        ("key_bin", "81c40175a161".to_owned()),
        ("map16", "de0001a175a161".to_owned()),
        ("map_ext_prefix", "c70400a175a161".to_owned()),
        ("nonce_as_str", "81a16ea161".to_owned()),
        ("nonce_empty", "81a16ec400".to_owned()),
        ("nonce_nil", "81a16ec0".to_owned()),
        ("top_array_wrong", "91a161".to_owned()),
        ("top_empty_array", "90".to_owned()),
        ("top_empty_map", "80".to_owned()),
        ("top_nil", "c0".to_owned()),
        ("trailing_bytes", "81a175a161ffff".to_owned()),
        ("truncated", "81a175".to_owned()),
        ("unknown_field", "82a27a7a93c0c203a175a161".to_owned()),
        ("user_as_bin", "81a175c40161".to_owned()),
        ("user_int", "81a17501".to_owned()),
        ("user_nil", "81a175c0".to_owned()),
        ("user_str8", "81a175d90161".to_owned()),
    ];
    let vectors = vectors::load();
    for (name, hex) in cases {
        let expected = vectors["decode_edge"][name].as_str().unwrap();
        let session = Session::unpack(&bytes(&json!(hex)));
        if expected.starts_with("ERR") {
            assert_eq!(session, Err(DecodeError::MessagePack), "{name}");
            continue;
        }
        let session = session.unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(String::from_utf8_lossy(&session.user), expected["u"].as_str().unwrap(), "{name}");
        // Go's zero time means that there is no time.
        let created = expected["ca"].as_str().filter(|time| !time.starts_with("0001-01-01"));
        assert_eq!(session.created_at.map(|time| time.to_string()).as_deref(), created, "{name}");
        let groups: Vec<&str> =
            expected["g"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(session.groups, groups.iter().map(|group| group.as_bytes()).collect::<Vec<_>>(), "{name}");
        assert_eq!(session.nonce.is_empty(), matches!(expected["n"].as_str(), None | Some("")), "{name}");
        let has_claims = expected["ac"].as_str().unwrap().contains("\"t\"");
        assert_eq!(!session.additional_claims.is_empty(), has_claims, "{name}");
    }
}

#[test]
fn additional_claims_are_kept_unchanged() {
    // Written from text: a number keeps its digits.
    let text =
        r#"{"number":42,"float":1.50,"list":["a",1,{"b":[]}],"map":{"k":"v"},"nothing":null,"yes":true}"#;
    let read = serde_json::from_str(text).unwrap();
    let session = Session {
        info: SessionInfo { additional_claims: Claims::from_json(&read), ..Default::default() },
        ..Session::default()
    };
    let again = Session::unpack(&session.pack()).unwrap();
    assert_eq!(again, session);
    let json = again.additional_claims.to_json();
    assert_eq!(json["number"], "42");
    assert_eq!(json["float"], "1.50");
    assert_eq!(json["list"], json!(["a", "1", { "b": [] }]));
    assert_eq!(json["map"], json!({ "k": "v" }));
    assert_eq!(json["nothing"], Value::Null);
    assert_eq!(json["yes"], true);
}

#[test]
fn time_of_sign_in_is_an_entry_of_the_additional_claims() {
    let claims = serde_json::from_str(r#"{"a":"b"}"#).unwrap();
    let additional_claims = Claims::from_json(&claims);
    let signed_in_at = Some(Timestamp::from_secs(NOW));
    let session = Session {
        info: SessionInfo { additional_claims, signed_in_at, ..Default::default() },
        ..Session::default()
    };
    assert_eq!(Session::unpack(&session.pack()).unwrap(), session);
    // What oauth2-proxy sees, and keeps through its refreshes.
    let entry = json!({ "a": "b", "oauth2_session_filter_signed_in_at": NOW.to_string() });
    let claims = Claims::from_json(entry.as_object().unwrap());
    let of_oauth2_proxy = Session {
        info: SessionInfo { additional_claims: claims, ..Default::default() },
        ..Session::default()
    };
    assert_eq!(of_oauth2_proxy.pack(), session.pack());
    // Another value is dropped.
    for value in [json!("soon"), json!(["1"]), json!(null), json!("")] {
        let entry = json!({ "oauth2_session_filter_signed_in_at": value });
        let claims = Claims::from_json(entry.as_object().unwrap());
        let session = Session {
            info: SessionInfo { additional_claims: claims, ..Default::default() },
            ..Session::default()
        };
        assert_eq!(Session::unpack(&session.pack()), Ok(Session::default()));
    }
}

#[test]
fn too_deep_value_is_an_error() {
    for skipped in ["ac", "zz"] {
        let deep = [b"\x81\xa2", skipped.as_bytes(), b"\x81\xa1t", &[0x91; 100_000], b"\xc0"].concat();
        assert_eq!(Session::unpack(&deep), Err(DecodeError::MessagePack));
    }
}

#[test]
fn deepest_json_claims_come_back() {
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    for claim in [json!({ "a": [{ "b": [] }] }), serde_json::from_str(&deep).unwrap()] {
        let claims = Map::from_iter([("claim".to_owned(), claim.clone())]);
        let session = Session {
            info: SessionInfo { additional_claims: Claims::from_json(&claims), ..Default::default() },
            ..Session::default()
        };
        let again = Session::unpack(&session.pack()).unwrap();
        assert_eq!(again.additional_claims.to_json()["claim"], claim);
    }
}

#[test]
fn session_cookie_is_that_of_oauth2_proxy() {
    let vectors = vectors::load();
    let secret = CookieSecret::new(BASE64_SECRET).unwrap();
    let full_cookie = value(&vectors["cookie_store_full"]["set_cookie"][0]);
    let session = open_cookie(&verify(&secret, NAME, &full_cookie)).unwrap();
    assert_eq!(session, full());
    let sealed = seal_cookie(&session, secret.aes_key(), counted(0), false);
    assert_eq!(cookie::sign(&secret, NAME, &sealed, NOW), full_cookie);

    let minimal_cookie = value(&vectors["cookie_store_minimal"][0]);
    let sealed = seal_cookie(&session, secret.aes_key(), counted(0), true);
    assert_eq!(cookie::sign(&secret, NAME, &sealed, NOW), minimal_cookie);
    let minimal = open_cookie(&verify(&secret, NAME, &minimal_cookie)).unwrap();
    assert_eq!(minimal, full().without_tokens());
}

#[test]
fn secret_of_32_letters_is_an_aes_192_key() {
    let vectors = vectors::load();
    let case = &vectors["cookie_store_user_only_secret32alnum"];
    let secret = CookieSecret::new(case["secret"].as_str().unwrap().as_bytes()).unwrap();
    let session = open_cookie(&verify(&secret, NAME, &value(&case["set_cookie"][0]))).unwrap();
    assert_eq!(session.user, case["user"].as_str().unwrap().as_bytes());
    assert_eq!(session.created_at, case["created_unix"].as_i64().map(Timestamp::from_secs));
}

#[test]
fn ticket_is_that_of_oauth2_proxy() {
    let vectors = vectors::load();
    let store = &vectors["ticket_store"];
    let secret = CookieSecret::new(BASE64_SECRET).unwrap();
    let made = Ticket::new(NAME, counted(0), counted(16));
    assert_eq!(made.encode(TicketForm::V2), vectors["ticket_plain"].as_str().unwrap().as_bytes());
    assert_eq!(made.redis_key(), store["redis_key"].as_str().unwrap().as_bytes());

    let v2 = value(&store["set_cookie"][0]);
    let documented = vectors["ticket_legacy_signed_at_1700000000"].as_str().unwrap().as_bytes();
    assert_eq!(cookie::sign(&secret, NAME, &made.encode(TicketForm::V2), NOW), v2);
    assert_eq!(cookie::sign(&secret, NAME, &made.encode(TicketForm::Documented), NOW), documented);
    for raw in [v2.as_slice(), documented] {
        assert_eq!(Ticket::decode(&verify(&secret, NAME, raw)).unwrap(), made);
    }

    let sealed = bytes(&store["redis_value_hex"]);
    let session = made.open(&sealed).unwrap();
    assert_eq!(session, full());
    assert_eq!(made.seal(&session, counted(32)), sealed);
}

#[test]
fn ticket_of_oauth2_proxys_own_test_is_read() {
    let vectors = vectors::load();
    let case = &vectors["_own_test_vectors"]["ticket"];
    let ticket = decode_ticket(case["encoded"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(ticket.redis_key(), case["id"].as_str().unwrap().as_bytes());
    assert_eq!(ticket.encode(TicketForm::V2), case["encoded"].as_str().unwrap().as_bytes());
}

fn decode_ticket(ticket: &[u8]) -> Result<Ticket, DecodeError> {
    let secret = CookieSecret::new(BASE64_SECRET).unwrap();
    Ticket::decode(&verify(&secret, NAME, &cookie::sign(&secret, NAME, ticket, NOW)))
}

#[test]
fn malformed_ticket_is_an_error() {
    for ticket in [
        "",
        "v2",
        "a",
        "a.b.c.d",
        "v3.YQ.MDEyMzQ1Njc4OWFiY2RlZg",
        "id.short",
        "id.!!!",
        ".MDEyMzQ1Njc4OWFiY2RlZg",
        "v2..MDEyMzQ1Njc4OWFiY2RlZg",
        "v2.YQ.YQ",
    ] {
        assert_eq!(decode_ticket(ticket.as_bytes()), Err(DecodeError::Ticket), "{ticket}");
    }
}

#[test]
fn cookie_name_with_a_dot_needs_the_second_form() {
    assert_eq!(TicketForm::for_cookie(b"_oauth2_proxy"), TicketForm::Documented);
    assert_eq!(TicketForm::for_cookie(b"my.session"), TicketForm::V2);
    let ticket = Ticket::new(b"my.session", [1; 16], [2; 16]);
    assert_eq!(decode_ticket(&ticket.encode(TicketForm::V2)), Ok(ticket.clone()));
    assert!(decode_ticket(&ticket.encode(TicketForm::Documented)).is_err());
    assert_eq!(ticket.id().lock_key(), [ticket.redis_key(), b".lock"].concat());
}

#[test]
fn csrf_cookie_is_that_of_oauth2_proxy() {
    let vectors = vectors::load();
    let csrf =
        Csrf { state: (0..32).collect(), nonce: (32..64).collect(), code_verifier: "verifier".to_owned() };
    assert_eq!(csrf.state_hash(), vectors["csrf_hash_state"]);
    assert_eq!(csrf.nonce_hash(), vectors["csrf_hash_nonce"]);
    assert!(csrf.matches_state(csrf.state_hash().as_bytes()));
    assert!(!csrf.matches_state(b"") && !csrf.matches_state(csrf.nonce_hash().as_bytes()));

    let secret = CookieSecret::new(BASE64_SECRET).unwrap();
    let sealed = bytes(&vectors["csrf_enc_hex"]);
    let iv: [u8; 16] = sealed[..16].try_into().unwrap();
    let name = csrf_cookie_name("_oauth2_proxy", None);
    let signed = vectors["csrf_signed_at_1700000000"].as_str().unwrap().as_bytes();
    let raw = if csrf.seal(secret.aes_key(), iv) == sealed { sealed } else { panic!("sealed otherwise") };
    assert_eq!(cookie::sign(&secret, name.as_bytes(), &raw, NOW), signed);
    assert_eq!(Csrf::open(&verify(&secret, name.as_bytes(), signed)), Ok(csrf.clone()));
}

#[test]
fn csrf_cookie_without_pkce_is_that_of_oauth2_proxy() {
    let vectors = vectors::load();
    let secret = CookieSecret::new(BASE64_SECRET).unwrap();
    let csrf = Csrf { state: (0..32).collect(), nonce: (32..64).collect(), code_verifier: String::new() };
    let sealed = csrf.seal(secret.aes_key(), counted(0));
    let packed = bytes(&vectors["csrf_noverifier_msgpack_hex"]);
    assert_eq!(super::cipher::decrypt_cfb(secret.aes_key(), &sealed), Ok(packed));
}

#[test]
fn session_and_ticket_are_not_printed() {
    let printed = format!("{:?} {:?}", full(), Ticket::new(NAME, [0x61; 16], [0x61; 16]));
    assert_eq!(printed, "Session(…) Ticket(…)");
}

prop_compose! {
    fn session()(
        times: [Option<(i64, u32)>; 2],
        signed_in_at: Option<i64>,
        texts in prop::array::uniform6(prop::collection::vec(any::<u8>(), 0..70)),
        nonce: Vec<u8>,
        groups in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        claims in prop::collection::btree_map("[a-z]{0,5}", "\\PC{0,40}", 0..20),
    ) -> Session {
        let [created_at, expires_on] =
            times.map(|time| time.map(|(secs, nanos)| Timestamp::new(secs, nanos)));
        let [access_token, id_token, refresh_token, email, user, preferred_username] = texts;
        let claims = claims.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        Session { info: SessionInfo { created_at, signed_in_at: signed_in_at.map(Timestamp::from_secs), expires_on, email, user, groups, preferred_username, additional_claims: Claims::from_json(&claims) }, access_token, id_token, refresh_token, nonce }
    }
}

proptest! {
    #[test]
    fn packed_session_comes_back(session in session(), key: [u8; 16]) {
        prop_assert_eq!(Session::unpack(&session.pack()), Ok(session.clone()));
        let ticket = Ticket::new(NAME, key, key);
        prop_assert_eq!(ticket.open(&ticket.seal(&session, [3; 12])), Ok(session.clone()));
        let secret = CookieSecret::new(&key).unwrap();
        let sealed = seal_cookie(&session, secret.aes_key(), key, false);
        let signed = cookie::sign(&secret, NAME, &sealed, NOW);
        prop_assert_eq!(open_cookie(&verify(&secret, NAME, &signed)), Ok(session));
    }

    #[test]
    fn truncated_session_is_an_error(session in session(), at: prop::sample::Index) {
        let packed = session.pack();
        prop_assert!(Session::unpack(&packed[..at.index(packed.len())]).is_err());
    }

    #[test]
    fn changed_session_does_not_panic(session in session(), at: prop::sample::Index, byte: u8) {
        let mut packed = session.pack();
        let at = at.index(packed.len());
        packed[at] = byte;
        if let Ok(session) = Session::unpack(&packed) {
            let _ = session.additional_claims.to_json();
        }
    }

    #[test]
    fn garbage_is_no_session_or_ticket(garbage: Vec<u8>, key: [u8; 16]) {
        let _ = Session::unpack(&garbage);
        let _ = decode_ticket(&garbage);
        prop_assert!(Ticket::new(NAME, key, key).open(&garbage).is_err());
        let secret = CookieSecret::new(&key).unwrap();
        let signed = cookie::sign(&secret, NAME, &garbage, NOW);
        prop_assert!(open_cookie(&verify(&secret, NAME, &signed)).is_err());
        let _ = Csrf::open(&verify(&secret, NAME, &signed));
    }
}
