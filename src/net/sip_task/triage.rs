//! Who is served first when more comes in than can be served.
//!
//! A flood fills the kernel's buffer, and what is lost there is lost blindly: a BYE as well as the thousandth INVITE.
//! So the buffer is emptied first. What belongs to calls is served at once, and new calls wait in a short line that is
//! served when nothing else is there, and a little in between. Who does not fit into the line is dropped without an
//! answer; UDP says it again.

use std::collections::VecDeque;

use baton_core::sip::endpoint::Flow;
use baton_core::sip::message::peek::{Peek, peek};
use bytes::Bytes;

/// New calls that wait. At a thousand a second that is a quarter of a second, half of what they wait for an answer
/// before they ask again.
const LINE: usize = 256;

/// The line.
#[derive(Debug, Default)]
pub(super) struct Triage {
    waiting: VecDeque<(Flow, Bytes)>,
    /// New calls that did not fit into it.
    dropped: u64,
}

impl Triage {
    /// Something came; it is given back when it is to be served at once.
    pub(super) fn sort(&mut self, flow: Flow, octets: &[u8]) -> Option<Bytes> {
        let waits = match peek(octets) {
            Peek::NewCall => true,
            // Its INVITE may be in the line; served before it, it would mean nothing.
            Peek::Cancel => self.waiting.iter().any(|(other, _)| *other == flow),
            Peek::Rest => false,
        };
        if !waits {
            return Some(Bytes::copy_from_slice(octets));
        }
        if self.waiting.len() < LINE {
            self.waiting
                .push_back((flow, Bytes::copy_from_slice(octets)));
        } else {
            self.dropped += 1;
        }
        None
    }

    /// Who is next.
    pub(super) fn next(&mut self) -> Option<(Flow, Bytes)> {
        self.waiting.pop_front()
    }

    /// New calls dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use baton_core::sip::endpoint::Transport;

    use super::*;

    fn flow(port: u16) -> Flow {
        Flow {
            transport: Transport::Udp,
            local: ([127, 0, 0, 1], 5060).into(),
            remote: ([127, 0, 0, 2], port).into(),
        }
    }

    const INVITE: &[u8] = b"INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n";

    #[test]
    fn new_calls_wait_and_everything_else_is_served_at_once() {
        let mut triage = Triage::default();
        assert_eq!(triage.sort(flow(1), INVITE), None);
        let bye = b"BYE sip:a@b SIP/2.0\r\n\r\n";
        assert_eq!(triage.sort(flow(1), bye).as_deref(), Some(&bye[..]));
        assert_eq!(triage.next(), Some((flow(1), Bytes::from_static(INVITE))));
        assert_eq!(triage.next(), None);
    }

    #[test]
    fn a_cancel_stays_behind_the_invite_it_may_mean_and_waits_for_nobody_elses() {
        let mut triage = Triage::default();
        let cancel = b"CANCEL sip:a@b SIP/2.0\r\n\r\n";
        assert!(triage.sort(flow(1), cancel).is_some());
        triage.sort(flow(1), INVITE);
        assert_eq!(triage.sort(flow(1), cancel), None);
        assert!(triage.sort(flow(2), cancel).is_some());
        assert_eq!(
            triage.next().map(|(_, octets)| octets.len()),
            Some(INVITE.len())
        );
        assert_eq!(
            triage.next().map(|(_, octets)| octets.len()),
            Some(cancel.len())
        );
    }

    #[test]
    fn the_line_has_an_end() {
        let mut triage = Triage::default();
        for _ in 0..LINE + 10 {
            assert_eq!(triage.sort(flow(1), INVITE), None);
        }
        assert_eq!(triage.dropped(), 10);
        assert_eq!(std::iter::from_fn(|| triage.next()).count(), LINE);
    }
}
