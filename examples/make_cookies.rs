//! Prints session cookies as a browser would send them, for the benchmark: one value a line, each of another user,
//! signed now. The secret comes from the same variable as the filter's.
//!
//! ```sh
//! export OAUTH2_PROXY_COOKIE_SECRET=…
//! cargo run --example make_cookies -- 20000                   # sessions in cookies, about 1.4 kB each
//! cargo run --example make_cookies -- 20000 sessions.resp     # tickets; the file has the commands for Redis
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, io};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth2_session_filter::cookie::{self, CookieSecret};
use oauth2_session_filter::session::ticket::{Ticket, TicketForm};
use oauth2_session_filter::session::{self, Session, SessionInfo};
use oauth2_session_filter::time::Timestamp;

/// The default of `cookie_name`, which is a part of the signed text.
const NAME: &[u8] = b"_oauth2_proxy";
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

#[expect(clippy::disallowed_methods, reason = "a program of its own reads the clock")]
fn main() -> Result<(), Box<dyn Error>> {
    let count: u32 = env::args().nth(1).ok_or("usage: make_cookies <count>")?.parse()?;
    let secret = env::var("OAUTH2_PROXY_COOKIE_SECRET")?;
    let secret = CookieSecret::new(secret.as_bytes()).map_err(|_| "the secret gives no AES key")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now = Timestamp::from_secs(0).after(now);
    let mut redis = env::args().nth(2).map(File::create).transpose()?.map(BufWriter::new);
    let mut out = BufWriter::new(io::stdout().lock());
    for number in 0..count {
        let session = session_of(number, now)?;
        let value = match &mut redis {
            None => session::seal_cookie(&session, secret.aes_key(), random()?, false),
            Some(redis) => {
                let ticket = Ticket::new(NAME, random()?, random()?);
                set(redis, ticket.redis_key(), &ticket.seal(&session, random()?))?;
                ticket.encode(TicketForm::Documented)
            }
        };
        out.write_all(&cookie::sign(&secret, NAME, &value, now.secs()))?;
        out.write_all(b"\n")?;
    }
    redis.as_mut().map(Write::flush).transpose()?;
    Ok(out.flush()?)
}

/// A `SET`, as it goes over the wire.
fn set(redis: &mut impl Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    redis.write_all(b"*3\r\n")?;
    for word in [b"SET", key, value] {
        write!(redis, "${}\r\n", word.len())?;
        redis.write_all(word)?;
        redis.write_all(b"\r\n")?;
    }
    Ok(())
}

/// A session with tokens of random letters, which LZ4 cannot make smaller, as with real ones.
fn session_of(number: u32, now: Timestamp) -> Result<Session, Box<dyn Error>> {
    Ok(Session {
        info: SessionInfo {
            created_at: Some(now),
            expires_on: Some(now.after(LIFETIME)),
            email: format!("person-{number}@example.com").into_bytes(),
            user: format!("person-{number}").into_bytes(),
            groups: vec![b"admins".to_vec(), b"staff".to_vec()],
            preferred_username: format!("Person {number}").into_bytes(),
            ..Default::default()
        },
        access_token: token::<180>()?,
        id_token: token::<405>()?,
        refresh_token: token::<60>()?,
        ..Session::default()
    })
}

/// That many random bytes in base64url, a third longer.
fn token<const BYTES: usize>() -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(URL_SAFE_NO_PAD.encode(random::<BYTES>()?).into_bytes())
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], Box<dyn Error>> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
