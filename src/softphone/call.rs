#![expect(clippy::disallowed_methods, reason = "shell: owns one call's clock")]
//! One call of the phone: where it stands, and what each thing that happens does to it. The transfer is in
//! [`super::refer`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_core::media::g711;
use baton_core::sdp::{Negotiated, Offer, Session};
use baton_core::sip::endpoint::{Command, DialogEvent, DialogId};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::leg::{Agreed, Heard, LegCommand, LegEvent};
use super::phone::Inner;
use super::plan::CallPlan;
use super::refer::Identity;
use super::report::{CallReport, Outcome, PhoneEvent, ReferReport, WebhookReport, ms};
use super::run::Inputs;
use super::script::{Action, Timed};
use crate::net::sip_task::WireLine;

/// How long our BYE or CANCEL may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// Room that stays free for events that matter more than levels.
const ROOM_FOR_LEVELS: usize = 64;
/// Lines of the wire that a report keeps.
const MAX_LINES: usize = 10_000;

/// Where a call stands.
#[derive(Debug)]
pub(super) enum Phase {
    Ringing,
    Talking {
        since: Instant,
    },
    /// Our BYE or CANCEL is out.
    Ending {
        give_up: Instant,
        outcome: Outcome,
    },
    Over(Outcome),
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) phone: Arc<Inner>,
    pub(super) plan: CallPlan,
    pub(super) dialog: DialogId,
    pub(super) remote: SocketAddr,
    pub(super) session: Session,
    pub(super) leg: mpsc::Sender<LegCommand>,
    pub(super) watch: mpsc::Sender<PhoneEvent>,
    pub(super) identity: Identity,
    pub(super) invited: Instant,
    pub(super) phase: Phase,
    pub(super) script: VecDeque<Timed>,
    /// The question to the refer URL; one at most. Given up with the call.
    pub(super) webhook: JoinSet<WebhookReport>,
    /// After a transfer that went well: by when the far end must have hung up.
    pub(super) bye_due: Option<Instant>,
    pub(super) report: CallReport,
    /// Taken by the loop that drives the call.
    pub(super) inputs: Option<Inputs>,
}

impl Call {
    pub(super) fn call_id(&self) -> &str {
        &self.report.call_id
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Ringing => Some(self.invited + self.plan.ring_timeout),
            Phase::Talking { since } => {
                let next = self.script.front().map(|timed| *since + timed.at);
                let end = self.plan.duration.map(|after| *since + after);
                [next, end, self.bye_due].into_iter().flatten().min()
            }
            Phase::Ending { give_up, .. } => Some(*give_up),
            Phase::Over(_) => None,
        }
    }

    pub(super) async fn handle_timeout(&mut self, now: Instant) {
        match &self.phase {
            Phase::Ringing => {
                if now >= self.invited + self.plan.ring_timeout {
                    self.cancel(Outcome::NoAnswer).await;
                }
            }
            Phase::Talking { since } => {
                let since = *since;
                if self.bye_due.is_some_and(|due| due <= now) {
                    let why = "the far end did not hang up after a transfer that went well";
                    self.hang_up(Outcome::TransferFailed { why: why.into() })
                        .await;
                } else if self.plan.duration.is_some_and(|d| since + d <= now) {
                    self.act(Action::HangUp).await;
                } else if self.script.front().is_some_and(|t| since + t.at <= now)
                    && let Some(Timed { action, .. }) = self.script.pop_front()
                {
                    self.act(action).await;
                }
            }
            Phase::Ending { outcome, .. } => {
                let outcome = outcome.clone();
                self.over(outcome);
            }
            Phase::Over(_) => {}
        }
    }

    pub(super) async fn act(&mut self, action: Action) {
        match (action, &self.phase) {
            (Action::Press(digits), Phase::Talking { .. }) => {
                self.tell(PhoneEvent::Pressed(digits.clone()));
                self.leg(LegCommand::Press(digits)).await;
            }
            (Action::HangUp, Phase::Talking { .. }) => {
                let outcome = self.completed(true, None);
                self.hang_up(outcome).await;
            }
            (Action::HangUp, Phase::Ringing) => self.cancel(Outcome::NoAnswer).await,
            // Nothing to press a key in; ending already.
            (Action::Press(_) | Action::HangUp, _) => {}
        }
    }

    pub(super) async fn handle_leg(&mut self, event: LegEvent) {
        match event {
            LegEvent::FirstPacket(after) => self.tell(PhoneEvent::FirstPacket(after)),
            LegEvent::FirstVoice(after) => self.tell(PhoneEvent::FirstVoice(after)),
            LegEvent::PlayedOut => self.tell(PhoneEvent::PlayedOut),
            LegEvent::Digit(digit) => self.tell(PhoneEvent::Digit(digit)),
            LegEvent::Level { heard, said } => {
                if self.watch.capacity() > ROOM_FOR_LEVELS {
                    self.tell(PhoneEvent::Level { heard, said });
                }
            }
            LegEvent::MediaLost => {
                if let Phase::Talking { .. } = self.phase {
                    self.hang_up(Outcome::MediaLost).await;
                }
            }
            LegEvent::Finished(heard) => self.keep(*heard),
        }
    }

    pub(super) fn handle_line(&mut self, line: WireLine) {
        if line.call_id == self.report.call_id && self.report.wire.len() < MAX_LINES {
            self.tell(PhoneEvent::Wire(line.clone()));
            self.report.wire.push(line);
        }
    }

    pub(super) async fn handle_dialog(&mut self, now: Instant, event: DialogEvent) {
        match event {
            DialogEvent::Progress { status, .. } => {
                let after = ms(now.saturating_duration_since(self.invited));
                self.report.ringing_ms.get_or_insert(after);
                self.tell(PhoneEvent::Ringing(status));
            }
            DialogEvent::Answered { body, headers } => self.answered(now, &body, headers).await,
            DialogEvent::Refused { status, reason, .. } => self.refused(status, reason),
            DialogEvent::Reinvited { offer } => self.reinvited(&offer).await,
            DialogEvent::Acknowledged { body } if !body.is_empty() => {
                if let Some(agreed) = self.read_answer(&body) {
                    self.renegotiate(&agreed).await;
                }
            }
            DialogEvent::Referred {
                refer_to,
                referred_by,
                headers,
            } => {
                let report = ReferReport {
                    refer_to,
                    referred_by,
                    headers,
                    ..ReferReport::default()
                };
                self.referred(report).await;
            }
            DialogEvent::NotifyAnswered { status } => {
                if let Some(refer) = &mut self.report.refer {
                    refer.notify_replies.push(status);
                }
            }
            DialogEvent::Bye { reason } => self.bye(reason),
            DialogEvent::ByeAnswered { .. } => {
                if let Phase::Ending { outcome, .. } = &self.phase {
                    let outcome = outcome.clone();
                    self.over(outcome);
                }
            }
            DialogEvent::Lost { why } => self.over(Outcome::Failed { why }),
            // Answered by the endpoint already, or about things this phone never does.
            DialogEvent::Acknowledged { .. }
            | DialogEvent::Info { .. }
            | DialogEvent::ReinviteEnded { .. }
            | DialogEvent::ReferAnswered { .. }
            | DialogEvent::Notified { .. }
            | DialogEvent::Cancelled { .. }
            | DialogEvent::NeverAcknowledged => {}
        }
    }

    async fn answered(&mut self, now: Instant, body: &[u8], headers: Vec<(String, String)>) {
        if let Phase::Ending { .. } = self.phase {
            // The 200 crossed our CANCEL: it stands, so it must be ended (RFC 3261 §15).
            self.say(bye()).await;
            return;
        }
        let setup = now.saturating_duration_since(self.invited);
        self.report.setup_ms = Some(ms(setup));
        self.report.answer_headers = headers;
        self.phase = Phase::Talking { since: now };
        let Some(agreed) = self.read_answer(body) else {
            let why = "the answer's SDP is no answer to our offer".to_owned();
            self.hang_up(Outcome::Failed { why }).await;
            return;
        };
        let codec = g711::Codec::from_name(agreed.codec.name());
        let start = Agreed {
            remote: agreed.remote,
            signalling: self.remote.ip(),
            codec: codec.unwrap_or(g711::Codec::Pcmu),
            payload_type: agreed.payload_type,
            telephone_event: agreed.telephone_event,
        };
        self.leg(LegCommand::Start(start)).await;
        if agreed.hold {
            self.renegotiate(&agreed).await;
        }
        self.tell(PhoneEvent::Answered(setup));
    }

    fn read_answer(&mut self, body: &[u8]) -> Option<Negotiated> {
        let answer = Offer::parse(body)
            .inspect_err(|error| tracing::debug!(%error, "SDP answer"))
            .ok()?;
        self.session
            .handle_answer(&answer)
            .inspect_err(|error| tracing::debug!(%error, "SDP answer"))
            .ok()
    }

    fn refused(&mut self, status: u16, reason: String) {
        let outcome = match &self.phase {
            Phase::Ending { outcome, .. } => outcome.clone(),
            Phase::Ringing | Phase::Talking { .. } | Phase::Over(_) if status == 408 => {
                Outcome::NoAnswer
            }
            Phase::Ringing | Phase::Talking { .. } | Phase::Over(_) => {
                Outcome::Refused { status, reason }
            }
        };
        self.over(outcome);
    }

    async fn reinvited(&mut self, offer: &[u8]) {
        let (status, body) = if offer.is_empty() {
            // They want our offer; their answer comes with the ACK.
            (200, self.session.offer())
        } else {
            let answered = Offer::parse(offer)
                .ok()
                .and_then(|offer| self.session.answer(&offer).ok());
            match answered {
                Some(agreed) => {
                    self.renegotiate(&agreed).await;
                    (200, agreed.body)
                }
                None => (488, String::new()),
            }
        };
        self.say(Command::AnswerReinvite {
            status,
            body: Bytes::from(body),
            headers: Vec::new(),
        })
        .await;
    }

    async fn renegotiate(&mut self, agreed: &Negotiated) {
        self.tell(PhoneEvent::Held(agreed.hold));
        self.leg(LegCommand::Renegotiated {
            remote: agreed.remote,
            send: agreed.send,
            receive: agreed.receive,
        })
        .await;
    }

    fn bye(&mut self, reason: Option<String>) {
        if self.bye_due.is_some()
            && let Some(refer) = &mut self.report.refer
        {
            refer.bye_received = true;
        }
        // Two BYEs crossed: what we wanted stands.
        let outcome = match &self.phase {
            Phase::Ending { outcome, .. } => outcome.clone(),
            Phase::Ringing | Phase::Talking { .. } | Phase::Over(_) => {
                self.completed(false, reason)
            }
        };
        self.over(outcome);
    }

    /// A normal end; unless a transfer that we took on had failed before it.
    fn completed(&self, by_us: bool, reason: Option<String>) -> Outcome {
        let failed = self
            .report
            .refer
            .as_ref()
            .and_then(|refer| refer.notified.last())
            .filter(|status| **status >= 300);
        match failed {
            Some(status) => Outcome::TransferFailed {
                why: format!("the refer URL did not answer as it should; NOTIFY {status} was sent"),
            },
            None => Outcome::Completed { by_us, reason },
        }
    }

    async fn hang_up(&mut self, outcome: Outcome) {
        self.end(bye(), outcome).await;
    }

    async fn cancel(&mut self, outcome: Outcome) {
        self.end(Command::Cancel, outcome).await;
    }

    async fn end(&mut self, command: Command, outcome: Outcome) {
        self.note_end();
        if self.say(command).await {
            let give_up = Instant::now() + FAREWELL;
            self.phase = Phase::Ending { give_up, outcome };
        } else {
            self.over(outcome);
        }
    }

    pub(super) fn over(&mut self, outcome: Outcome) {
        self.note_end();
        self.phase = Phase::Over(outcome);
    }

    fn note_end(&mut self) {
        if let Phase::Talking { since } = self.phase {
            self.report.talk_ms = Some(ms(since.elapsed()));
        }
    }

    /// Says something in the dialog; `false` when its state forbids it.
    pub(super) async fn say(&self, command: Command) -> bool {
        self.phone
            .sip
            .command(self.dialog, command)
            .await
            .inspect_err(|error| tracing::debug!(%error, "the phone's command"))
            .is_ok()
    }

    pub(super) async fn leg(&self, command: LegCommand) {
        // A leg that has ended takes no commands; its end is told by its events.
        let _ = self.leg.send(command).await;
    }

    pub(super) fn tell(&self, event: PhoneEvent) {
        // Who does not look in time misses it.
        let _ = self.watch.try_send(event);
    }

    pub(super) fn keep(&mut self, heard: Heard) {
        self.report.rtp = heard.rtp;
        self.report.rtp.worst_gap = self.phone.watch.judge(&heard.gaps);
        self.report.recording = heard.recording;
    }
}

fn bye() -> Command {
    Command::Bye {
        headers: Vec::new(),
    }
}
