//! The session timer at work (RFC 4028): refreshes go out, what comes back is judged, and a session that nobody refreshed
//! is ended. Nothing of it reaches the call unless the session is over.

use std::time::Instant;

use super::reinvite::Asker;
use super::{Session, Usage};
use crate::sip::dialog::session_timer::Due;
use crate::sip::endpoint::author::EXTENSIONS;
use crate::sip::endpoint::core::Core;
use crate::sip::endpoint::layer::Purpose;
use crate::sip::message::{Headers, Method, Name};

/// What a BYE for a session that was not refreshed says (RFC 3326, RFC 4028 §10).
const EXPIRED: (&str, &str) = ("Reason", "SIP;cause=408;text=\"Session expired\"");
/// How long a refresh waits that found an offer open; the offer's 2xx refreshes too, as a rule.
const OPEN_OFFER: std::time::Duration = std::time::Duration::from_secs(2);

impl Session {
    /// The session lives between the ACK and the BYE.
    pub(super) fn timer_deadline(&self) -> Option<Instant> {
        matches!(self.usage, Usage::Confirmed)
            .then(|| self.timer.deadline())
            .flatten()
    }

    pub(super) fn handle_session_timer(&mut self, now: Instant, core: &mut Core) {
        if !matches!(self.usage, Usage::Confirmed) {
            return;
        }
        match self.timer.handle_timeout(now) {
            Due::Nothing => {}
            Due::Refresh => self.refresh(now, core),
            Due::Expired => {
                let (name, value) = EXPIRED;
                let reason = [(name.to_owned(), value.to_owned())];
                self.lose(now, core, "the session was not refreshed", &reason);
            }
        }
    }

    /// UPDATE where the peer takes it: it disturbs no offer. Else a re-INVITE that offers what is in force (§7.4).
    fn refresh(&mut self, now: Instant, core: &mut Core) {
        if self.peer_updates {
            return self.refresh_by_update(now, core);
        }
        if !self.negotiation.is_idle() {
            return self.timer.postpone(now + OPEN_OFFER);
        }
        let ours = self.described.ours();
        let sent = !ours.is_empty() && self.offer(now, core, ours, 1, Asker::Timer).is_ok();
        if !sent {
            self.timer.handle_failed(now);
        }
    }

    fn refresh_by_update(&mut self, now: Instant, core: &mut Core) {
        let update = (Method::Update, Purpose::Refresh);
        let fields = self.timer.ask();
        let sent = core.request(now, Some(self.id), &mut self.dialog, update, |update| {
            update
                .header(Name::Supported, EXTENSIONS.join(", "))
                .headers(&fields)
        });
        if sent.is_err() {
            core.layer.counters.malformed += 1;
            self.timer.handle_failed(now);
        }
    }

    /// Our UPDATE, or our re-INVITE for the timer alone, ended.
    ///
    /// * `headers`: the response's; `None` for silence.
    pub(super) fn handle_refreshed(
        &mut self,
        now: Instant,
        core: &mut Core,
        status: u16,
        headers: Option<&Headers>,
    ) {
        if !matches!(self.usage, Usage::Confirmed) {
            return; // the call has ended meanwhile
        }
        match (status, headers) {
            (200..300, Some(headers)) => {
                self.dialog.refresh_target(headers);
                self.note_allow(headers);
                self.timer.handle_answer(now, headers);
            }
            (422, Some(headers)) if self.timer.handle_too_small(headers) => {
                self.refresh(now, core);
            }
            (408 | 481, _) => {
                let why = format!("{status} to a session refresh");
                self.lose(now, core, &why, &[]);
            }
            (491, _) => {
                let wait = core.author.glare_wait(self.dialog.is_uac());
                self.timer.postpone(now + wait);
            }
            // It says UPDATE and does not mean it.
            (400..=499 | 501, Some(_)) if std::mem::take(&mut self.peer_updates) => {
                self.refresh(now, core);
            }
            _ => self.timer.handle_failed(now),
        }
    }

    /// What the peer takes, as it says itself; saying nothing changes nothing.
    pub(super) fn note_allow(&mut self, headers: &Headers) {
        if headers.get(Name::Allow).is_some() {
            self.peer_updates = headers.lists(Name::Allow, "UPDATE");
        }
    }
}
