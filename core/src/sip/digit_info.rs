//! Keys that come as INFO instead of RFC 4733 events: `application/dtmf-relay` and `application/dtmf`, which no RFC
//! describes and many gateways send.
//!
//! ```text
//! application/dtmf-relay     Signal=5        application/dtmf     5
//!                            Duration=160
//! ```

use std::time::Duration;

/// The media types, as Accept lists them.
pub const TYPES: &str = "application/dtmf-relay, application/dtmf";
/// How long a key was held when nobody says.
const USUAL: Duration = Duration::from_millis(160);
/// Nobody holds a key longer.
const LONGEST: Duration = Duration::from_secs(8);

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    /// `0`-`9`, `*`, `#`, `A`-`D`.
    pub key: char,
    /// How long it was held.
    pub duration: Duration,
}

/// Why a body names no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoDigit {
    /// Not one of [`TYPES`].
    #[error("not a type that holds keys")]
    MediaType,
    /// One of them, but nothing that could be a signal.
    #[error("no signal")]
    Malformed,
}

/// Reads the key out of an INFO's body.
///
/// * `content_type`: lower case, without parameters.
/// * returns `None` for a signal that is no key, such as a hook flash.
///
/// # Errors
/// Another type, or nothing readable.
pub fn read(content_type: &str, body: &[u8]) -> Result<Option<Digit>, NoDigit> {
    let is_relay = match content_type {
        "application/dtmf-relay" => true,
        "application/dtmf" => false,
        _ => return Err(NoDigit::MediaType),
    };
    let text = std::str::from_utf8(body).map_err(|_| NoDigit::Malformed)?;
    let signal = value(text, "Signal")
        .or_else(|| (!is_relay).then(|| text.trim()))
        .ok_or(NoDigit::Malformed)?;
    let key = match signal.to_ascii_uppercase().as_str() {
        // RFC 4733 numbers, as some gateways write them.
        "10" => '*',
        "11" => '#',
        "12" => 'A',
        "13" => 'B',
        "14" => 'C',
        "15" => 'D',
        "16" | "!" | "FLASH" | "HF" => return Ok(None),
        other => one_key(other).ok_or(NoDigit::Malformed)?,
    };
    let duration = value(text, "Duration")
        .and_then(|ms| ms.parse().ok())
        .map_or(USUAL, Duration::from_millis);
    Ok(Some(Digit {
        key,
        duration: duration.min(LONGEST),
    }))
}

fn one_key(signal: &str) -> Option<char> {
    let mut chars = signal.chars();
    let key = chars.next()?;
    let is_key = matches!(key, '0'..='9' | '*' | '#' | 'A'..='D');
    (is_key && chars.next().is_none()).then_some(key)
}

fn value<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?;
    Some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digit(key: char, ms: u64) -> Digit {
        let duration = Duration::from_millis(ms);
        Digit { key, duration }
    }

    #[test]
    fn keys_are_read_in_both_types() {
        let relay = |body: &str| read("application/dtmf-relay", body.as_bytes());
        assert_eq!(
            relay("Signal=5\r\nDuration=200\r\n"),
            Ok(Some(digit('5', 200)))
        );
        assert_eq!(
            relay("signal = *\nduration= x\n"),
            Ok(Some(digit('*', 160)))
        );
        assert_eq!(relay("Signal=11\r\n"), Ok(Some(digit('#', 160))));
        assert_eq!(
            relay("Signal=d\r\nDuration=99999999"),
            Ok(Some(digit('D', 8000)))
        );
        let plain = |body: &str| read("application/dtmf", body.as_bytes());
        assert_eq!(plain("5"), Ok(Some(digit('5', 160))));
        assert_eq!(plain("#\r\n"), Ok(Some(digit('#', 160))));
        assert_eq!(plain("Signal=7\r\nDuration=80"), Ok(Some(digit('7', 80))));
    }

    #[test]
    fn a_hook_flash_is_understood_and_no_key() {
        for flash in ["16", "!", "hf", "Flash"] {
            let body = format!("Signal={flash}\r\nDuration=250");
            assert_eq!(
                read("application/dtmf-relay", body.as_bytes()),
                Ok(None),
                "{flash}"
            );
        }
    }

    #[test]
    fn what_names_no_key_is_told_apart() {
        for body in [
            "",
            "5",
            "Signal=",
            "Signal=55",
            "Signal=x",
            "Duration=100",
            "Signal",
        ] {
            let read = read("application/dtmf-relay", body.as_bytes());
            assert_eq!(read, Err(NoDigit::Malformed), "{body}");
        }
        assert_eq!(read("application/dtmf", b"\xff"), Err(NoDigit::Malformed));
        assert_eq!(read("application/dtmf", b""), Err(NoDigit::Malformed));
        for other in ["text/plain", "", "application/DTMF"] {
            assert_eq!(read(other, b"5"), Err(NoDigit::MediaType), "{other}");
        }
    }
}
