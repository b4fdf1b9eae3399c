//! Digits as telephone events (RFC 4733), in and out; in-band tones out for peers without them.

mod receive;
mod send;

pub use receive::{Press, Receiver};
pub(crate) use send::write_tones;
pub use send::{Sender, Step};

/// The digit of an event code; `None` for flash, fax tones and the like (RFC 4733 §3.2).
pub fn digit_of(event: u8) -> Option<char> {
    b"0123456789*#ABCD"
        .get(usize::from(event))
        .map(|digit| char::from(*digit))
}

/// The event code of a digit, letters in any case.
pub fn event_of(digit: char) -> Option<u8> {
    (0..16).find(|event| digit_of(*event) == Some(digit.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_events_name_each_other() {
        for (event, digit) in (0_u8..).zip("0123456789*#ABCD".chars()) {
            assert_eq!(digit_of(event), Some(digit));
            assert_eq!(event_of(digit), Some(event));
        }
        assert_eq!(event_of('d'), Some(15));
        assert_eq!((digit_of(16), digit_of(255)), (None, None));
        assert_eq!((event_of('x'), event_of(' ')), (None, None));
    }
}
