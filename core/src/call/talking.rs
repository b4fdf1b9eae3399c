//! While the call is up: what the leg reports, what the agent, the caller and an operator want.

use std::time::{Duration, Instant};

use super::turns::ms;
use super::{
    Action, Agent, BargeIn, Call, Ended, FALSE_ALARM, Leg, Meanwhile, Milestone, OnAgentFailure,
    OnClose, Operator, Phase, State, Timer,
};
use crate::agent::prompts::Prompt;
use crate::agent::{Event as AgentEvent, HandoffRequest, Role};
use crate::handoff::{self, RequestError, check_header};
use crate::history::{EndBy, Kind};
use crate::sip::digit_info::{self, Digit};
use crate::sip::endpoint::Command;
use crate::{agent, leg};

/// Digits sent in one go.
const DIGITS_MAX: usize = 64;
/// What agents get who do not say how long.
const DIGIT: Duration = Duration::from_millis(160);
const GAP: Duration = Duration::from_millis(80);
/// Bounds on what they say: an RFC 4733 event of 8 s still fits its duration field at 8 kHz.
const DIGIT_RANGE: (Duration, Duration) = (Duration::from_millis(40), Duration::from_secs(8));
/// Octets of one context update; a human reads it.
const CONTEXT_MAX: usize = 64 * 1024;

impl Call {
    pub(super) fn handle_leg(&mut self, now: Instant, event: leg::Event) {
        if matches!(self.phase_of(), Phase::Ending | Phase::Ended) {
            if let leg::Event::Closed(summary) = event {
                self.leg = Leg::Closed(summary);
                self.finish(now);
            }
            return;
        }
        match event {
            leg::Event::AgentOpen => self.agent_open(now),
            leg::Event::Agent(event) => self.agent_said(now, event),
            leg::Event::AgentClosed { clean, why } => self.agent_gone(now, clean, &why),
            leg::Event::AgentHeard { .. } => self.reach_first(now, Milestone::FirstAgentAudio),
            leg::Event::SpeechStarted { at } => self.caller_speaks(now, at),
            leg::Event::SpeechStopped { at } => {
                self.transcript.caller_paused(at);
                if self.config.barge_in == BargeIn::Pause {
                    self.timers.set(Timer::FalseAlarm, now + FALSE_ALARM);
                }
            }
            leg::Event::Digit { digit, at, .. } => self.digit(now, digit, at),
            leg::Event::Marked { name, .. } => {
                self.feed_handoff(now, handoff::Input::Marked { name });
            }
            leg::Event::Cleared { heard } => {
                let media_time = self.media_time(now);
                let turn = self.transcript.cut(media_time, heard);
                self.record_turn(now, turn);
            }
            leg::Event::AgentTurn { from, to } => {
                let turn = self.transcript.agent_played(from, to);
                self.record_turn(now, turn);
            }
            leg::Event::PromptEnded(Prompt::Goodbye) => self.prompt_ended(now),
            leg::Event::PromptEnded(prompt) => {
                let name = prompt_mark(prompt);
                self.feed_handoff(now, handoff::Input::Marked { name });
            }
            leg::Event::PlayoutFull => {
                let message =
                    "too much audio is queued ahead of the caller; the newest was dropped".into();
                self.tell_agent(agent::Command::Error { message });
            }
            // For whoever shows figures; nothing follows from it.
            leg::Event::Report(_) => {}
            leg::Event::MediaLost => self.media_lost(now),
            leg::Event::Closed(summary) => self.leg_died(now, summary),
        }
    }

    fn caller_speaks(&mut self, now: Instant, at: Duration) {
        self.transcript.caller_began(at);
        self.reach_first(now, Milestone::FirstCallerSpeech);
        self.timers.cancel(Timer::FalseAlarm);
        match self.config.barge_in {
            BargeIn::Off | BargeIn::Notify => {}
            BargeIn::Pause => self.tell_leg(leg::Command::PausePlayout),
            BargeIn::Clear => self.tell_leg(leg::Command::Clear),
        }
    }

    fn agent_said(&mut self, now: Instant, event: AgentEvent) {
        if self.agent == Agent::Gone {
            return; // what it sent before it was taken off the call has lost its meaning
        }
        match event {
            AgentEvent::Ready | AgentEvent::Accept => self.agent_open(now),
            // Served inside the leg, in order with the audio.
            AgentEvent::Mark { .. } | AgentEvent::Clear => {}
            AgentEvent::Transcript {
                role,
                text,
                is_final,
            } => {
                if is_final && !text.trim().is_empty() {
                    self.transcribed(now, role, text);
                }
            }
            AgentEvent::Context {
                set,
                current_task,
                transfer,
            } => {
                self.context(
                    now,
                    Kind::Context {
                        set,
                        current_task,
                        transfer,
                    },
                );
            }
            AgentEvent::Handoff(request) => self.agent_wants_handoff(now, request),
            AgentEvent::Hangup { headers, reason } => {
                self.agent_wants_hangup(now, headers, reason.as_deref());
            }
            AgentEvent::Sensitive(on) => self.transcript.mask(on),
            AgentEvent::Recording(on) => {
                self.tell_leg(leg::Command::Recording(on));
                self.record(now, Kind::Recording { on, file: None });
            }
            AgentEvent::ResumePlayout => self.tell_leg(leg::Command::ResumePlayout),
            AgentEvent::SendDtmf {
                digits,
                duration,
                gap,
            } => self.send_digits(&digits, duration, gap),
            AgentEvent::Reject { status } => self.agent_rejects(now, status),
            AgentEvent::Redirect { target } => self.agent_redirects(now, target),
            AgentEvent::Fault { what, close } => {
                tracing::debug!(what, close, "agent fault");
                if close.is_some() {
                    self.agent_gone(now, false, &what);
                }
            }
        }
    }

    fn transcribed(&mut self, now: Instant, role: Role, text: String) {
        let turn = match role {
            Role::Agent => self.transcript.agent_said(text),
            Role::Caller => Some(self.transcript.caller_said(text)),
        };
        self.record_turn(now, turn);
    }

    fn context(&mut self, now: Instant, context: Kind) {
        let octets = serde_json::to_vec(&context).map_or(usize::MAX, |json| json.len());
        if octets <= CONTEXT_MAX {
            self.record(now, context);
        } else {
            let message =
                format!("context of {octets} octets not kept; at most {CONTEXT_MAX} at once");
            self.tell_agent(agent::Command::Error { message });
        }
    }

    fn agent_wants_handoff(&mut self, now: Instant, request: HandoffRequest) {
        if self.phase_of() == Phase::Ringing {
            self.answer(now); // a caller can be handed over only when there is a dialog
        }
        let request = from_agent(request);
        if let Err(error) = self.begin_handoff(now, &request) {
            self.refuse_handoff(now, &request, &error);
        }
    }

    fn agent_wants_hangup(
        &mut self,
        now: Instant,
        headers: Vec<(String, String)>,
        reason: Option<&str>,
    ) {
        let ended = Ended::agent_hung_up(reason);
        match self.phase_of() {
            Phase::Offered | Phase::Ringing => self.reject(
                now,
                480,
                Vec::new(),
                Ended {
                    kind: crate::history::EndKind::Rejected,
                    ..ended
                },
            ),
            Phase::Answering | Phase::Talking | Phase::Leaving => {
                let (sound, unfit): (Vec<_>, Vec<_>) = headers
                    .into_iter()
                    .partition(|(name, value)| check_header(name, value).is_ok());
                for (name, _) in unfit {
                    tracing::debug!(name, "header of the agent's hangup left out");
                }
                self.hang_up_with(now, ended, sound);
            }
            // Bots often ask for the handoff and hang up in one breath. The caller stays with the handoff.
            Phase::HandingOff => self.detach_agent("the agent hung up"),
            Phase::Ending | Phase::Ended => {}
        }
    }

    fn agent_rejects(&mut self, now: Instant, status: u16) {
        if self.is_answered() {
            self.agent_wants_hangup(
                now,
                Vec::new(),
                Some("rejected by the agent after the answer"),
            );
        } else if self.phase_of() == Phase::Ringing {
            let status = if matches!(status, 486 | 603) {
                status
            } else {
                480
            };
            self.reject(
                now,
                status,
                Vec::new(),
                Ended::rejected(EndBy::Agent, "rejected by the agent"),
            );
        }
    }

    fn agent_redirects(&mut self, now: Instant, target: String) {
        let request = handoff::Request {
            target: Some(target),
            reason: Some("redirected by the agent".into()),
            ..handoff::Request::default()
        };
        let begun = if self.phase_of() == Phase::Ringing {
            self.begin_redirect(now, &request)
        } else {
            self.begin_handoff(now, &request).map(drop)
        };
        if let Err(error) = begun {
            self.refuse_handoff(now, &request, &error);
        }
    }

    /// The agent cannot be reached, broke, or closed. Told twice it counts once.
    pub(super) fn agent_gone(&mut self, now: Instant, clean: bool, why: &str) {
        if matches!(self.agent, Agent::Gone | Agent::Absent) {
            return;
        }
        let closed_cleanly = clean && self.agent == Agent::Open;
        self.timers.cancel(Timer::Connect);
        self.reach(now, Milestone::AgentLost);
        self.detach_agent(why);
        match self.phase_of() {
            Phase::Offered | Phase::Ringing => self.agent_failed_unanswered(now, why),
            Phase::Answering | Phase::Talking if closed_cleanly => self.agent_closed(now, why),
            Phase::Answering | Phase::Talking => self.agent_failed(now, why),
            // The handoff goes on; there is just nobody to give the caller back to.
            Phase::HandingOff | Phase::Leaving | Phase::Ending | Phase::Ended => {}
        }
    }

    pub(super) fn detach_agent(&mut self, reason: &str) {
        self.agent = Agent::Gone;
        self.tell_leg(leg::Command::DetachAgent {
            reason: reason.into(),
        });
    }

    fn agent_closed(&mut self, now: Instant, why: &str) {
        match self.config.on_close {
            OnClose::Handoff => self.hand_off_after(now, Prompt::Connecting, "agent closed", why),
            OnClose::Hangup => self.hang_up(now, Ended::agent_hung_up(Some(why))),
        }
    }

    /// It failed and the call is answered.
    pub(super) fn agent_failed(&mut self, now: Instant, why: &str) {
        match self.config.on_failure {
            OnAgentFailure::Handoff => {
                self.hand_off_after(now, Prompt::AgentFailed, "agent failed", why);
            }
            OnAgentFailure::Play => self.leave(now, Ended::failed(EndBy::Agent, why)),
            OnAgentFailure::Hangup => self.hang_up(now, Ended::failed(EndBy::Agent, why)),
        }
    }

    /// Tells the caller, then hands over; where there is nobody to hand over to, says goodbye.
    fn hand_off_after(&mut self, now: Instant, prompt: Prompt, reason: &str, why: &str) {
        let request = handoff::Request {
            reason: Some(reason.into()),
            summary: Some(why.into()),
            say_first: Some(prompt_mark(prompt)),
            ..handoff::Request::default()
        };
        self.tell_leg(leg::Command::Prompt(prompt));
        if let Err(error) = self.begin_handoff(now, &request) {
            tracing::warn!(%error, "the agent is gone and the caller cannot be handed over");
            self.leave(now, Ended::failed(EndBy::Agent, why));
        }
    }

    fn digit(&mut self, now: Instant, digit: char, at: Duration) {
        let shown = (!self.transcript.is_masked()).then_some(digit);
        self.record(
            now,
            Kind::Dtmf {
                digit: shown,
                at_ms: ms(at),
            },
        );
        let escapes = self.handoff_config.escape_digit == Some(digit)
            || (digit == '0' && self.agent == Agent::Gone);
        let could = matches!(
            self.phase_of(),
            Phase::Answering | Phase::Talking | Phase::Leaving
        );
        if escapes && could {
            let request = handoff::Request {
                reason: Some("the caller asked for a person".into()),
                ..handoff::Request::default()
            };
            if let Err(error) = self.begin_handoff(now, &request) {
                self.refuse_handoff(now, &request, &error);
            }
        }
    }

    /// INFO with a digit, as some gateways send it instead of RFC 4733. The leg has not seen it, so the agent is told
    /// from here.
    pub(super) fn info(&mut self, now: Instant, content_type: &str, body: &[u8]) {
        let Ok(Some(Digit {
            key: digit,
            duration,
        })) = digit_info::read(content_type, body)
        else {
            return; // the endpoint has answered for it
        };
        let at = self.media_time(now);
        self.tell_agent(agent::Command::Dtmf {
            digit,
            duration,
            at,
        });
        self.digit(now, digit, at);
    }

    fn send_digits(&mut self, digits: &str, duration: Option<Duration>, gap: Option<Duration>) {
        let (least, most) = DIGIT_RANGE;
        let digits: String = digits
            .chars()
            .filter(|c| is_digit(*c))
            .take(DIGITS_MAX)
            .collect();
        if !digits.is_empty() {
            self.tell_leg(leg::Command::SendDigits {
                digits,
                duration: duration.unwrap_or(DIGIT).clamp(least, most),
                gap: gap.unwrap_or(GAP).clamp(least, most),
            });
        }
    }

    pub(super) fn handle_operator(&mut self, now: Instant, operator: Operator) {
        let could = self.is_answered() && !matches!(self.phase_of(), Phase::Ending | Phase::Ended);
        let reply = match operator {
            Operator::Handoff(request) => self.begin_handoff(now, &from_agent(request)).map(Some),
            Operator::Hangup { reason } => {
                self.operator_hangs_up(now, reason.as_deref());
                Ok(None)
            }
            Operator::Dtmf {
                digits,
                duration,
                gap,
            } if could => {
                self.send_digits(&digits, duration, gap);
                Ok(None)
            }
            Operator::Dtmf { .. } => Err(RequestError::NoCall),
        };
        self.actions.push_back(Action::Reply(reply));
    }

    fn operator_hangs_up(&mut self, now: Instant, reason: Option<&str>) {
        let ended = Ended::operator_hung_up(reason);
        match self.phase_of() {
            Phase::Offered | Phase::Ringing => self.reject(now, 480, Vec::new(), ended),
            Phase::Answering | Phase::Talking | Phase::Leaving => self.hang_up(now, ended),
            Phase::HandingOff => {
                let why = ended.reason.clone();
                self.say(Command::Bye {
                    headers: Vec::new(),
                });
                self.gone_while_handing_off(ended);
                self.feed_handoff(now, handoff::Input::DialogLost { why });
            }
            Phase::Ending | Phase::Ended => {}
        }
    }

    fn media_lost(&mut self, now: Instant) {
        match &mut self.state {
            State::HandingOff { meanwhile, .. } => {
                if matches!(meanwhile, Meanwhile::Nothing) {
                    *meanwhile = Meanwhile::MediaLost;
                }
            }
            // On hold the far end owes us no audio; it would not be reported then.
            State::Answering | State::Talking { .. } | State::Leaving(_) => {
                self.hang_up(now, Ended::lost());
            }
            State::Offered | State::Ringing | State::Ending(_) | State::Ended => {}
        }
    }

    /// The leg closed by itself: its thread is going down, or it could not be opened.
    fn leg_died(&mut self, now: Instant, summary: Box<leg::event::Summary>) {
        self.leg = Leg::Closed(summary);
        self.agent = Agent::Gone;
        let ended = Ended::failed(EndBy::Bridge, "the media path closed");
        match self.phase_of() {
            Phase::Offered | Phase::Ringing => self.reject(now, 500, Vec::new(), ended),
            Phase::Answering | Phase::Talking | Phase::Leaving => self.hang_up(now, ended),
            // A REFER needs no media, and a caller gone already needs none either.
            Phase::HandingOff | Phase::Ending | Phase::Ended => {}
        }
    }
}

/// The name under which a handoff waits for one of our own prompts. Agents' marks cannot collide with it by chance.
pub(super) fn prompt_mark(prompt: Prompt) -> String {
    format!("baton:{}", prompt.name())
}

fn from_agent(request: HandoffRequest) -> handoff::Request {
    handoff::Request {
        target: request.target,
        style: request.style,
        headers: request.headers.into_iter().collect(),
        reason: request.reason,
        summary: request.summary,
        say_first: request.say_first,
    }
}

const fn is_digit(c: char) -> bool {
    matches!(c, '0'..='9' | '*' | '#' | 'A'..='D')
}
