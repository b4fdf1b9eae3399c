//! Timed actions: `0@3s` presses 0 three seconds after the answer.

use std::str::FromStr;
use std::time::Duration;

use baton_core::media::dtmf::event_of;

/// The most digits one action may press.
const MAX_DIGITS: usize = 32;

/// What the phone's user does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Press these keys, 160 ms each.
    Press(String),
    /// Hang up.
    HangUp,
}

/// An action and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// From the answer.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// Not a timed key press.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no timed key press; write DIGITS@TIME, as in 0@3s or 1234#@500ms")]
pub struct NotTimed(String);

impl FromStr for Timed {
    type Err = NotTimed;

    fn from_str(text: &str) -> Result<Self, NotTimed> {
        let not_timed = || NotTimed(text.to_owned());
        let (digits, at) = text.split_once('@').ok_or_else(not_timed)?;
        let pressable = (1..=MAX_DIGITS).contains(&digits.len())
            && digits.chars().all(|digit| event_of(digit).is_some());
        let at = duration(at).filter(|_| pressable).ok_or_else(not_timed)?;
        Ok(Self {
            at,
            action: Action::Press(digits.to_ascii_uppercase()),
        })
    }
}

/// Reads `20ms`, `3s`, `1.5s`, `2m`, `1h`.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_press_has_a_time() {
        assert_eq!(
            "0@3s".parse(),
            Ok(Timed {
                at: Duration::from_secs(3),
                action: Action::Press("0".into())
            })
        );
        assert_eq!(
            "12a#@1500ms".parse(),
            Ok(Timed {
                at: Duration::from_millis(1500),
                action: Action::Press("12A#".into())
            })
        );
    }

    #[test]
    fn what_is_no_timed_key_press_is_refused_with_an_example() {
        let long = format!("{}@1s", "1".repeat(33));
        for text in [
            "",
            "0",
            "@3s",
            "x@3s",
            "0@",
            "0@3",
            "0@-3s",
            "0@1e400s",
            "0@3 parsecs",
            &long,
        ] {
            let error = text.parse::<Timed>().unwrap_err();
            assert!(error.to_string().contains("0@3s"), "{text}");
        }
    }

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(duration("20ms"), Some(Duration::from_millis(20)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Some(Duration::from_mins(2)));
        assert_eq!(duration("1h"), Some(Duration::from_hours(1)));
        for text in ["", "s", "5", "1.2.3s", "99999999999999999999h", "NaNs"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
