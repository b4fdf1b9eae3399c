//! The subscription that a REFER makes (RFC 3515 §2.4, RFC 6665), seen from both ends.
//!
//! ```text
//! transferor                 transferee
//!     │── REFER ────────────────►│
//!     │◄──────────── NOTIFY 100 ─│   may overtake the 202
//!     │◄──────────────── 202 ────│
//!     │◄─────── NOTIFY 200, end ─│   may come after either side's BYE
//! ```

use std::time::Instant;

use super::{Unanswered, sipfrag};

/// REFERs remembered per dialog; the oldest is forgotten first.
const REMEMBERED: usize = 4;

/// The transferor's end: the REFERs we sent in one dialog.
#[derive(Debug, Default)]
pub struct Transferor {
    /// Newest last.
    sent: Vec<Sent>,
}

#[derive(Debug)]
struct Sent {
    cseq: u32,
    state: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Awaited,
    Accepted,
    Refused,
}

/// Why a NOTIFY is not one for a REFER of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotifyFault {
    /// 400: RFC 6665 §8.2.1 wants exactly one Event.
    #[error("a NOTIFY without Event")]
    NoEvent,
    /// 489 with Allow-Events.
    #[error("a NOTIFY for an event package that is not ours")]
    BadEvent,
    /// 481: no REFER of ours opened this subscription.
    #[error("a NOTIFY for a subscription that does not exist")]
    NoSubscription,
}

impl NotifyFault {
    /// The status to answer with.
    pub const fn status(self) -> u16 {
        match self {
            Self::NoEvent => 400,
            Self::BadEvent => 489,
            Self::NoSubscription => 481,
        }
    }
}

impl Transferor {
    /// A REFER numbered `cseq` has been sent.
    pub fn handle_sent(&mut self, cseq: u32) {
        if self.sent.len() == REMEMBERED {
            self.sent.remove(0);
        }
        self.sent.push(Sent {
            cseq,
            state: Answer::Awaited,
        });
    }

    /// The REFER was said again with credentials, under another number.
    pub fn handle_renumbered(&mut self, from: u32, to: u32) {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.cseq == from) {
            sent.cseq = to;
        }
    }

    /// Its final response came, or 408 for silence.
    pub fn handle_answer(&mut self, cseq: u32, status: u16) {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.cseq == cseq) {
            sent.state = if status < 300 {
                Answer::Accepted
            } else {
                Answer::Refused
            };
        }
    }

    /// A REFER waits for its answer: no second one may be sent.
    pub fn is_waiting(&self) -> bool {
        self.sent.iter().any(|sent| sent.state == Answer::Awaited)
    }

    /// NOTIFYs may still come, so the dialog must outlive its call.
    pub fn is_subscribed(&self) -> bool {
        self.sent.iter().any(|sent| sent.state != Answer::Refused)
    }

    /// Whether a NOTIFY with this Event header is for one of our REFERs.
    ///
    /// It may come before the 202 (RFC 3515 §2.4.4) and after its subscription's end. Without `id` it is for the
    /// newest REFER (§2.4.6).
    ///
    /// # Errors
    /// The fault to answer with.
    pub fn check_notify(&self, event: Option<&str>) -> Result<(), NotifyFault> {
        let event = event.ok_or(NotifyFault::NoEvent)?;
        let mut parts = event.split(';').map(str::trim);
        if !parts
            .next()
            .is_some_and(|package| package.eq_ignore_ascii_case("refer"))
        {
            return Err(NotifyFault::BadEvent);
        }
        let id = parts
            .filter_map(|param| param.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("id"))
            .map(|(_, id)| id.trim());
        let sent = match id {
            // An id that is no number matches no CSeq.
            Some(id) => id
                .parse::<u32>()
                .ok()
                .and_then(|id| self.sent.iter().find(|sent| sent.cseq == id)),
            None => self.sent.last(),
        };
        match sent {
            Some(sent) if sent.state != Answer::Refused => Ok(()),
            _ => Err(NotifyFault::NoSubscription),
        }
    }
}

/// The transferee's end: the REFER we were sent.
#[derive(Debug, Default)]
pub enum Transferee {
    /// None, or the last one is over.
    #[default]
    Idle,
    /// It waits for the call's answer.
    Asked {
        /// The REFER itself.
        refer: Box<Unanswered>,
        /// `CSeq` of the REFER: the subscription's id.
        cseq: u32,
    },
    /// It was accepted: NOTIFYs may be sent.
    Subscribed {
        /// `CSeq` of the REFER.
        cseq: u32,
    },
}

impl Transferee {
    /// A REFER is open or its NOTIFYs may still be sent, so the dialog must outlive its call.
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Idle)
    }

    /// When a REFER that nobody has answered must be.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Asked { refer, .. } => Some(refer.until),
            Self::Idle | Self::Subscribed { .. } => None,
        }
    }

    /// Value of Event, which always names its REFER: mandatory from the second on, harmless before (§2.4.6).
    pub fn event(cseq: u32) -> String {
        format!("refer;id={cseq}")
    }

    /// Content-Type and body of a NOTIFY.
    pub fn body(status: u16, phrase: &str) -> (&'static str, String) {
        (sipfrag::CONTENT_TYPE, sipfrag::print(status, phrase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notify_may_come_before_the_202_and_is_refused_after_a_refusal() {
        let mut transferor = Transferor::default();
        assert_eq!(
            transferor.check_notify(Some("refer")),
            Err(NotifyFault::NoSubscription)
        );
        transferor.handle_sent(3);
        assert!(transferor.is_waiting());
        assert_eq!(transferor.check_notify(Some("refer")), Ok(()));
        assert_eq!(transferor.check_notify(Some("Refer ; id=3")), Ok(()));
        transferor.handle_answer(3, 405);
        assert!(!transferor.is_waiting());
        assert!(!transferor.is_subscribed());
        assert_eq!(
            transferor.check_notify(Some("refer;id=3")),
            Err(NotifyFault::NoSubscription)
        );
    }

    #[test]
    fn the_id_names_the_refer_and_without_one_the_newest_is_meant() {
        let mut transferor = Transferor::default();
        transferor.handle_sent(3);
        transferor.handle_answer(3, 202);
        transferor.handle_sent(4);
        transferor.handle_answer(4, 603);
        assert!(transferor.is_subscribed());
        assert_eq!(transferor.check_notify(Some("refer;id=3")), Ok(()));
        for event in [
            "refer",
            "refer;id=4",
            "refer;id=5",
            "refer;id=x",
            "refer;id=",
        ] {
            assert_eq!(
                transferor.check_notify(Some(event)),
                Err(NotifyFault::NoSubscription),
                "{event}"
            );
        }
    }

    #[test]
    fn other_events_are_told_apart() {
        let transferor = Transferor::default();
        assert_eq!(transferor.check_notify(None), Err(NotifyFault::NoEvent));
        for event in ["", "presence", "referrer", ";id=1"] {
            assert_eq!(
                transferor.check_notify(Some(event)),
                Err(NotifyFault::BadEvent),
                "{event}"
            );
        }
        assert_eq!(NotifyFault::BadEvent.status(), 489);
    }

    #[test]
    fn the_list_of_refers_does_not_grow() {
        let mut transferor = Transferor::default();
        for cseq in 0..100 {
            transferor.handle_sent(cseq);
        }
        assert_eq!(transferor.sent.len(), REMEMBERED);
        assert_eq!(transferor.check_notify(Some("refer;id=99")), Ok(()));
    }
}
