//! The UAC's work after a 2xx (RFC 3261 §13.2.2.4): acknowledge it, again each time it comes again, and get rid of
//! the second phone that answered a forked INVITE.

use crate::sip::endpoint::Transmit;

/// Phones one INVITE may be answered by and still be served; more are ignored.
const FORKS: usize = 8;

/// The ACKs sent for the 2xx responses to one INVITE, by the To tag of each.
#[derive(Debug, Default)]
pub struct Acks(Vec<(String, Transmit)>);

/// What a 2xx is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The first: the call is answered.
    First,
    /// A repeat: send its ACK again.
    Repeat(Transmit),
    /// Another phone answered too: ACK and BYE (§13.2.2.4).
    Fork,
    /// One phone too many to care for.
    TooMany,
}

impl Acks {
    /// What a 2xx with this To tag is.
    pub fn classify(&self, tag: &str) -> Answer {
        match self.0.iter().find(|(known, _)| known == tag) {
            Some((_, ack)) => Answer::Repeat(ack.clone()),
            None if self.0.is_empty() => Answer::First,
            None if self.0.len() < FORKS => Answer::Fork,
            None => Answer::TooMany,
        }
    }

    /// Remembers the ACK for a tag.
    pub fn handle_sent(&mut self, tag: &str, ack: Transmit) {
        self.0.push((tag.to_owned(), ack));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::endpoint::{Flow, Transport};

    fn ack(text: &'static str) -> Transmit {
        Transmit {
            flow: Flow {
                transport: Transport::Udp,
                local: ([192, 0, 2, 1], 5060).into(),
                remote: ([192, 0, 2, 2], 5060).into(),
            },
            payload: Bytes::from_static(text.as_bytes()),
        }
    }

    #[test]
    fn the_first_2xx_answers_and_its_repeats_get_its_ack_again() {
        let mut acks = Acks::default();
        assert_eq!(acks.classify("a"), Answer::First);
        acks.handle_sent("a", ack("1"));
        assert_eq!(acks.classify("a"), Answer::Repeat(ack("1")));
    }

    #[test]
    fn other_tags_are_forks_and_there_is_an_end_to_them() {
        let mut acks = Acks::default();
        acks.handle_sent("a", ack("1"));
        for tag in ["b", "c", "d", "e", "f", "g", "h"] {
            assert_eq!(acks.classify(tag), Answer::Fork, "{tag}");
            acks.handle_sent(tag, ack("2"));
        }
        assert_eq!(acks.classify("i"), Answer::TooMany);
        assert_eq!(acks.classify("b"), Answer::Repeat(ack("2")));
    }
}
