//! REFER and its NOTIFYs (RFC 3515), as transferor and as transferee.

use std::time::Instant;

use super::{CommandError, Session, Usage};
use crate::sip::dialog::refer::Transferee;
use crate::sip::dialog::{Unanswered, sipfrag};
use crate::sip::endpoint::author::EVENTS;
use crate::sip::endpoint::core::{Core, Incoming};
use crate::sip::endpoint::event::{DialogEvent, NotifyState};
use crate::sip::endpoint::layer::Purpose;
use crate::sip::message::{Method, Name, reason_phrase};

/// How long we promise NOTIFYs for; a transfer is decided long before.
const EXPIRES: u32 = 120;

/// As transferor.
impl Session {
    pub(super) fn refer(
        &mut self,
        now: Instant,
        core: &mut Core,
        refer_to: &str,
        headers: &[(String, String)],
    ) -> Result<(), CommandError> {
        let is_contact = |(name, _): &(String, String)| name.eq_ignore_ascii_case("Contact");
        let (ours, headers): (Vec<_>, Vec<_>) = headers.iter().cloned().partition(is_contact);
        let contact = self.dialog.contact().to_owned();
        if let Some((_, uri_headers)) = ours.first() {
            let bare = contact.trim_end_matches('>');
            self.dialog.set_contact(format!("{bare}?{uri_headers}>"));
        }
        let refer = (Method::Refer, Purpose::Refer);
        let sent = core.request(now, Some(self.id), &mut self.dialog, refer, |refer| {
            refer.header(Name::ReferTo, refer_to).headers(&headers)
        });
        self.dialog.set_contact(contact);
        let (_, cseq) = sent?;
        self.transferor.handle_sent(cseq);
        Ok(())
    }

    /// A failure ends the subscription, not the call (RFC 5057 §5.1): the caller is still there to be talked to.
    pub(super) fn handle_refer_answer(
        &mut self,
        now: Instant,
        core: &mut Core,
        cseq: u32,
        status: u16,
        reason: &str,
    ) {
        self.transferor.handle_answer(cseq, status);
        let reason = reason.to_owned();
        core.event(self.id, DialogEvent::ReferAnswered { status, reason });
        self.end_if_over(now, core);
    }

    pub(super) fn handle_notify(&mut self, now: Instant, core: &mut Core, incoming: &Incoming) {
        let headers = incoming.request.headers();
        if let Err(fault) = self.transferor.check_notify(headers.get(Name::Event)) {
            let status = fault.status();
            core.answer(now, self.id, incoming, status, |response| match status {
                489 => response.header(Name::AllowEvents, EVENTS),
                400 => response.reason("Missing Event"),
                _ => response,
            });
            return;
        }
        core.answer(now, self.id, incoming, 200, |response| response);
        let sipfrag = sipfrag::parse(incoming.request.body());
        let state = state_of(headers.get(Name::SubscriptionState), sipfrag.as_ref());
        core.event(self.id, DialogEvent::Notified { sipfrag, state });
    }

    /// In a dialog whose call is over, the last usage may have ended.
    fn end_if_over(&mut self, now: Instant, core: &mut Core) {
        if matches!(self.usage, Usage::Over { .. })
            && !self.transferor.is_subscribed()
            && !self.transferee.is_open()
        {
            self.end(now, core);
        }
    }
}

/// Subscription-State; where it is missing, a final sipfrag is the last.
fn state_of(header: Option<&str>, sipfrag: Option<&(u16, String)>) -> NotifyState {
    let terminated = match header {
        Some(value) => value
            .split(';')
            .next()
            .is_some_and(|state| state.trim().eq_ignore_ascii_case("terminated")),
        None => sipfrag.is_some_and(|(status, _)| *status >= 200),
    };
    if terminated {
        NotifyState::Terminated
    } else {
        NotifyState::Active
    }
}

/// As transferee.
impl Session {
    pub(super) fn handle_refer(&mut self, now: Instant, core: &mut Core, incoming: Incoming) {
        if matches!(self.usage, Usage::HangingUp | Usage::Calling { .. }) {
            // It crossed our BYE: there is nobody to refer any more.
            return core.answer(now, self.id, &incoming, 481, |response| response);
        }
        let headers = incoming.request.headers();
        let mut targets = headers.values(Name::ReferTo);
        let (Some(refer_to), None) = (targets.next(), targets.next()) else {
            drop(targets);
            core.answer(now, self.id, &incoming, 400, |response| {
                response.reason("Exactly One Refer-To Is Needed")
            });
            return;
        };
        if matches!(self.transferee, Transferee::Asked { .. })
            || matches!(self.usage, Usage::Offered(_))
        {
            drop(targets);
            let soon = core.author.retry_soon();
            core.answer(now, self.id, &incoming, 500, |response| {
                response.header(Name::RetryAfter, soon)
            });
            return;
        }
        let event = DialogEvent::Referred {
            refer_to: refer_to.to_owned(),
            referred_by: headers.get(Name::ReferredBy).map(str::to_owned),
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        drop(targets);
        let Ok(server) = core.open(now, self.id, &incoming) else {
            core.layer.counters.malformed += 1;
            return;
        };
        self.transferee = Transferee::Asked {
            cseq: incoming.cseq(),
            refer: Box::new(Unanswered {
                server,
                source: incoming.source(),
                request: incoming.request,
                until: now + core.layer.timing().patience(),
            }),
        };
        core.event(self.id, event);
    }

    pub(super) fn answer_refer(
        &mut self,
        now: Instant,
        core: &mut Core,
        status: u16,
    ) -> Result<(), CommandError> {
        let Transferee::Asked { refer, cseq } = &self.transferee else {
            return Err(CommandError::WrongState);
        };
        if !(200..700).contains(&status) {
            return Err(CommandError::Status(status));
        }
        let response = core
            .author
            .response(&refer.request, refer.source, status)
            .header(Name::Contact, self.dialog.contact())
            .build()?;
        core.respond(now, refer.server, status, &response.to_bytes());
        self.transferee = if status < 300 {
            Transferee::Subscribed { cseq: *cseq }
        } else {
            Transferee::Idle
        };
        self.end_if_over(now, core);
        Ok(())
    }

    /// The call has not answered a REFER, whose sender is about to give it up; the next one shall find room.
    pub(super) fn handle_refer_overdue(&mut self, now: Instant, core: &mut Core) {
        let is_overdue = self.transferee.deadline().is_some_and(|until| until <= now);
        if is_overdue && self.answer_refer(now, core, 500).is_err() {
            core.layer.counters.malformed += 1;
            self.transferee = Transferee::Idle;
        }
    }

    pub(super) fn notify(
        &mut self,
        now: Instant,
        core: &mut Core,
        status: u16,
        state: NotifyState,
    ) -> Result<(), CommandError> {
        let Transferee::Subscribed { cseq } = self.transferee else {
            return Err(CommandError::WrongState);
        };
        if !(100..700).contains(&status) {
            return Err(CommandError::Status(status));
        }
        let (content_type, body) = Transferee::body(status, reason_phrase(status));
        let subscription = match state {
            NotifyState::Active => format!("active;expires={EXPIRES}"),
            NotifyState::Terminated => "terminated;reason=noresource".to_owned(),
        };
        let notify = (Method::Notify, Purpose::Notify);
        core.request(now, Some(self.id), &mut self.dialog, notify, |notify| {
            notify
                .header(Name::Event, Transferee::event(cseq))
                .header(Name::SubscriptionState, subscription)
                .body(content_type, body.into())
        })?;
        if state == NotifyState::Terminated {
            self.transferee = Transferee::Idle;
        }
        Ok(())
    }

    /// A NOTIFY of ours ended; 481 says that nobody wants more of them (RFC 6665 §4.2.2).
    pub(super) fn handle_notify_answer(&mut self, now: Instant, core: &mut Core, status: u16) {
        core.event(self.id, DialogEvent::NotifyAnswered { status });
        if status == 481 {
            self.transferee = Transferee::Idle;
        }
        self.end_if_over(now, core);
    }
}
