//! The end of a call (RFC 3261 §15).

use std::time::Instant;

use bytes::Bytes;

use super::{CommandError, Fields, Session, Usage};
use crate::sip::endpoint::core::{Core, Incoming};
use crate::sip::endpoint::event::{Command, DialogEvent};
use crate::sip::endpoint::layer::Purpose;
use crate::sip::message::{Method, Name};

impl Session {
    /// Ends the call. A UAS may not do so between its 2xx and the ACK: the BYE waits.
    pub(super) fn bye(
        &mut self,
        now: Instant,
        core: &mut Core,
        fields: Fields,
    ) -> Result<(), CommandError> {
        let is_answer_held = self.is_answer_held();
        match &mut self.usage {
            Usage::Accepted { bye, .. } => {
                bye.get_or_insert(fields);
                self.held.clear();
                Ok(())
            }
            Usage::AnswerDue { .. } => {
                self.acknowledge_with(now, core, Bytes::new());
                self.try_hang_up(now, core, &fields)
            }
            Usage::Confirmed => self.try_hang_up(now, core, &fields),
            // The call thinks that it has answered, but its 200 waits for a PRACK.
            Usage::Offered(_) if is_answer_held => {
                self.held.clear();
                self.reject(now, core, 480, &[])?;
                core.event(self.id, DialogEvent::ByeAnswered { status: 200 });
                Ok(())
            }
            Usage::Offered(_)
            | Usage::Calling { .. }
            | Usage::HangingUp
            | Usage::Over { .. }
            | Usage::Gone => Err(CommandError::WrongState),
        }
    }

    fn try_hang_up(
        &mut self,
        now: Instant,
        core: &mut Core,
        fields: &[(String, String)],
    ) -> Result<(), CommandError> {
        let bye = (Method::Bye, Purpose::Bye);
        core.request(now, Some(self.id), &mut self.dialog, bye, |bye| {
            bye.headers(fields)
        })?;
        self.held.clear();
        self.drop_negotiation(now, core);
        self.usage = Usage::HangingUp;
        Ok(())
    }

    /// The BYE that must go out; when its header fields cannot be said, it goes without them.
    pub(super) fn hang_up(&mut self, now: Instant, core: &mut Core, fields: &[(String, String)]) {
        let sent = self
            .try_hang_up(now, core, fields)
            .or_else(|_| self.try_hang_up(now, core, &[]));
        if sent.is_err() {
            let why = "its address cannot be written".to_owned();
            core.event(self.id, DialogEvent::Lost { why });
            self.end(now, core);
        }
    }

    fn is_answer_held(&self) -> bool {
        let is_answer = |command: &Command| matches!(command, Command::Answer { .. });
        self.held.iter().any(is_answer)
    }

    /// The session is over without anybody having said so: BYE, for whoever is still there.
    pub(super) fn lose(
        &mut self,
        now: Instant,
        core: &mut Core,
        why: &str,
        fields: &[(String, String)],
    ) {
        self.send_orphan_bye(now, core, fields);
        let why = why.to_owned();
        core.event(self.id, DialogEvent::Lost { why });
        self.end(now, core);
    }

    /// A BYE whose answer nobody waits for.
    pub(super) fn send_orphan_bye(
        &mut self,
        now: Instant,
        core: &mut Core,
        fields: &[(String, String)],
    ) {
        let bye = (Method::Bye, Purpose::Bye);
        let sent = core.request(now, None, &mut self.dialog, bye, |bye| bye.headers(fields));
        if sent.is_err() {
            core.layer.counters.malformed += 1;
        }
    }

    /// Our BYE ended. Whatever the answer, the call is over.
    pub(super) fn handle_bye_answer(&mut self, now: Instant, core: &mut Core, status: u16) {
        if matches!(self.usage, Usage::HangingUp) {
            core.event(self.id, DialogEvent::ByeAnswered { status });
            self.end(now, core);
        }
    }

    /// The peer hangs up.
    pub(super) fn handle_bye(&mut self, now: Instant, core: &mut Core, incoming: &Incoming) {
        core.answer(now, self.id, incoming, 200, |response| response);
        let reason = incoming
            .request
            .headers()
            .get(Name::Reason)
            .map(str::to_owned);
        match &self.usage {
            // Both ends hang up at once: ours has its own answer to wait for.
            Usage::HangingUp => return,
            // Legal on an early dialog (§15): the INVITE gets its 487.
            Usage::Offered(_) => {
                if self.terminate_offer(now, core).is_err() {
                    core.layer.counters.malformed += 1;
                }
            }
            Usage::Accepted { .. }
            | Usage::Calling { .. }
            | Usage::AnswerDue { .. }
            | Usage::Confirmed
            | Usage::Over { .. }
            | Usage::Gone => {}
        }
        core.event(self.id, DialogEvent::Bye { reason });
        self.end(now, core);
    }
}
