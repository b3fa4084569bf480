//! Signatures of the RFCs' examples and of another implementation; and what must not pass for one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::vectors::{check, check_with, claims, jwks_document, parse, token, vectors};
use crate::oidc::IdTokenError;
use crate::oidc::jws::Jws;

/// RFC 7515 appendix A.2.
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9\
    uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB\
    _eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq\
    Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const RS256_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4q\
    PCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kp\
    aSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7a\
    GhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

/// RFC 7515 appendix A.3.
const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/// RFC 7515 appendix A.4.
const ES512: &str = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.\
    AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgo\
    XD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";

/// RFC 8037 appendix A.4.
const EDDSA: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
    hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

/// RFC 7520 section 4.2.
const PS384: &str = "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.\
    SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUg\
    cm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0\
    IGJlIHN3ZXB0IG9mZiB0by4.\
    cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItl\
    lVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0\
    TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0\
    uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw";
const PS384_MODULUS: &str = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWT\
    DvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqF\
    EHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vni\
    UFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";

/// The examples of the RFCs, each with its key.
fn examples() -> [(&'static str, Value); 5] {
    [
        (RS256, json!({ "kty": "RSA", "n": RS256_MODULUS, "e": "AQAB" })),
        (
            ES256,
            json!({
                "kty": "EC", "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
        ),
        (
            ES512,
            json!({
                "kty": "EC", "crv": "P-521",
                "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
                "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
            }),
        ),
        (
            EDDSA,
            json!({
                "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }),
        ),
        (
            PS384,
            json!({
                "kty": "RSA", "kid": "bilbo.baggins@hobbiton.example", "use": "sig",
                "n": PS384_MODULUS, "e": "AQAB",
            }),
        ),
    ]
}

fn payload(token: &str, key: &Value) -> Result<Vec<u8>, IdTokenError> {
    let token = Jws::parse(token, &["jwt"])?;
    token.verify(&parse(&json!({ "keys": [key] })))?;
    token.payload()
}

#[test]
fn signatures_of_the_rfcs_are_valid() {
    let joe = b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    let bilbo = "It\u{2019}s a dangerous business, Frodo, going out your door. You step onto the road, \
                 and if you don't keep your feet, there\u{2019}s no knowing where you might be swept off \
                 to.";
    let expected = [joe.as_slice(), joe, b"Payload", b"Example of Ed25519 signing", bilbo.as_bytes()];
    for ((token, key), expected) in examples().into_iter().zip(expected) {
        assert_eq!(payload(token, &key).as_deref(), Ok(expected), "{token}");
    }
}

#[test]
fn signature_is_invalid_for_another_payload_or_key() {
    for (token, key) in examples() {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, text) = message.split_once('.').unwrap();
        let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
        flipped[7] ^= 1;
        for forged in [
            format!("{header}.{}.{signature}", text.replacen(['I', 'G'], "J", 1)),
            format!("{header}.{text}.{}", URL_SAFE_NO_PAD.encode(&flipped)),
            format!("{header}.{text}.{}", URL_SAFE_NO_PAD.encode(&flipped[..flipped.len() - 1])),
            format!("{header}.{text}.{signature}AAAA"),
            format!("{header}.{text}."),
            format!("{header}.{text}.{}", URL_SAFE_NO_PAD.encode(vec![0; flipped.len()])),
        ] {
            assert_eq!(payload(&forged, &key), Err(IdTokenError::BadSignature), "{forged}");
        }
        let mut other = jwks_document();
        other["keys"].as_array_mut().unwrap().iter_mut().for_each(|key| key["kid"] = Value::Null);
        if !token.starts_with("eyJhbGciOiJQUzM4NCIs") {
            let verified = Jws::parse(token, &["jwt"]).unwrap().verify(&parse(&other));
            assert_eq!(verified, Err(IdTokenError::BadSignature), "{token}");
        }
    }
}

#[test]
fn tokens_signed_by_openssl_are_valid() {
    for algorithm in
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
    {
        assert_eq!(check(&token(algorithm)), Ok(()), "{algorithm}");
    }
}

#[test]
fn claims_are_those_of_the_token() {
    let audience = super::vectors::audience_claims();
    let found =
        crate::oidc::verify(&token("RS256"), &super::vectors::jwks(), &super::vectors::expected(&audience));
    assert_eq!(Value::from(found.unwrap()), claims());
}

#[test]
fn ecdsa_signature_in_der_is_refused() {
    let token = token("ES256");
    let (message, signature) = token.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let integer = |bytes: &[u8]| {
        let mut der = vec![2, 33, 0];
        der.extend_from_slice(bytes);
        der
    };
    let mut der = vec![0x30, 70];
    der.extend(integer(&raw[..32]));
    der.extend(integer(&raw[32..]));
    let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(der));
    assert_eq!(check(&forged), Err(IdTokenError::BadSignature));
}

#[test]
fn small_rsa_key_is_refused() {
    let small = &vectors()["small_rsa"];
    let token = small["token"].as_str().unwrap();
    let mut document = jwks_document();
    document["keys"].as_array_mut().unwrap().push(small["key"].clone());
    assert_eq!(check_with(token, &parse(&document)), Err(IdTokenError::UnknownKey));
}
