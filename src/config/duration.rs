//! Durations as Go writes them (`time.ParseDuration`): `168h`, `1m30s`, `1.5h`, `0`.

use std::time::Duration;

/// Go counts nanoseconds in 64 bits with a sign, which is about 292 years.
const MAX_NANOS: u128 = 0x7fff_ffff_ffff_ffff;

/// Digits after the point that can still matter: an hour has less than 10^13 nanoseconds.
const FRACTION_DIGITS: usize = 18;

/// The syntax as a regular expression (ECMA-262) for the JSON Schema. It also matches durations that are too
/// long for Go.
pub(super) const PATTERN: &str = "^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|\u{b5}s|\u{3bc}s|ms|s|m|h))+)$";

/// The duration, if the text is one and is neither negative nor too long for Go.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0_u128;
    loop {
        let (part, after) = leading_part(rest)?;
        nanos = nanos.checked_add(part).filter(|nanos| *nanos <= MAX_NANOS)?;
        if after.is_empty() {
            return u64::try_from(nanos).ok().map(Duration::from_nanos);
        }
        rest = after;
    }
}

/// A number and its unit at the beginning, in nanoseconds, and what follows them.
fn leading_part(text: &str) -> Option<(u128, &str)> {
    let (whole, rest) = leading(text, |c| c.is_ascii_digit());
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => leading(rest, |c| c.is_ascii_digit()),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, rest) = leading(rest, |c| c != '.' && !c.is_ascii_digit());
    let unit = nanos_of(unit)?;
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()? };
    let mut numerator = 0_u128;
    let mut denominator = 1_u128;
    for digit in fraction.chars().take(FRACTION_DIGITS).filter_map(|c| c.to_digit(10)) {
        numerator = numerator.checked_mul(10)?.checked_add(u128::from(digit))?;
        denominator = denominator.checked_mul(10)?;
    }
    let fraction = numerator.checked_mul(unit)?.checked_div(denominator)?;
    let nanos = whole.checked_mul(unit)?.checked_add(fraction)?;
    Some((nanos, rest))
}

/// The characters at the beginning for which `is_of_kind` is true, and the rest.
fn leading(text: &str, is_of_kind: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !is_of_kind(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn nanos_of(unit: &str) -> Option<u128> {
    match unit {
        "ns" => Some(1),
        // U+00B5, the micro sign, and U+03BC, the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60 * 1_000_000_000),
        "h" => Some(3_600 * 1_000_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("0s", 0),
            ("168h", 604_800_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1h0m0s", 3_600_000_000_000),
            ("0h5s", 5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("13ms", 13_000_000),
            ("0.100000000000000000000h", 360_000_000_000),
            ("0.830103483285477580700h", 2_988_372_539_827),
            ("9223372036854775807ns", i64::MAX.unsigned_abs()),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses_and_negative_durations() {
        for text in [
            "",
            "3",
            "-",
            "s",
            ".",
            "+",
            ".s",
            "-.",
            "+.s",
            "1d",
            "1 h",
            " 1h",
            "1h ",
            "1H",
            "1h2",
            "1hm",
            "1..5s",
            "1.5.5s",
            "1e3s",
            "0x1s",
            "-5s",
            "-1h",
            "٣s",
            "9223372036854775808ns",
            "3000000h",
            "99999999999999999999999999999999999999999999999s",
            "2562047h47m16.854775808s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn written_duration_is_read_again(nanos in 0..=i64::MAX.unsigned_abs()) {
            let duration = Duration::from_nanos(nanos);
            let (hours, rest) = (duration.as_secs() / 3600, duration.as_secs() % 3600);
            let (minutes, seconds) = (rest / 60, rest % 60);
            let text = format!("{hours}h{minutes}m{seconds}.{:09}s", duration.subsec_nanos());
            prop_assert_eq!(parse(&text), Some(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.nuµmsh]{0,40}") {
            if let Some(duration) = parse(&text) {
                prop_assert!(duration.as_nanos() <= MAX_NANOS);
            }
        }
    }
}
