//! From the offer to the answer, and every offer after it: where SDP meets the dialog.

use std::time::Instant;

use bytes::Bytes;

use super::{
    Action, Agent, AnswerPolicy, Awaits, Call, Ended, Facts, Leg, LegSetup, Milestone,
    OnAgentFailure, Phase, RING_INTERVAL, Setup, State, Timer,
};
use crate::history::{self, CallFacts, EndBy};
use crate::leg::event::Renegotiated;
use crate::sdp::{Negotiated, Offer, Refusal};
use crate::sip::endpoint::Command;
use crate::sip::message::NameAddr;
use crate::{agent, leg};

/// The header in which Twilio names its call.
const TWILIO_CALL_SID: &str = "X-Twilio-CallSid";

impl Facts {
    pub(super) fn new(now: Instant, setup: &Setup) -> Self {
        let invited = &setup.invited;
        let twilio_call_sid = invited.header(TWILIO_CALL_SID).map(str::to_owned);
        let forwarded = invited
            .headers
            .iter()
            .filter(|(name, _)| setup.config.forwards(name));
        let to = invited.header("To").and_then(NameAddr::parse);
        Self {
            key: setup.key,
            clock: setup.clock,
            invited_at: now,
            start: agent::Start {
                call: agent::CallInfo {
                    id: setup.id.clone(),
                    sip_call_id: invited.call_id.clone(),
                    twilio_call_sid: twilio_call_sid.clone(),
                    from: invited.caller.clone(),
                    to: invited.called.clone(),
                    trunk: invited.trunk.clone(),
                    route: setup.route.name.clone(),
                    headers: forwarded.cloned().collect(),
                },
                key: setup.key,
                input_context: setup.route.variables.clone(),
            },
            call: CallFacts {
                id: setup.id.clone(),
                sip_call_id: invited.call_id.clone(),
                twilio_call_sid,
                from: invited.caller.clone(),
                to: invited.called.clone(),
                trunk: invited.trunk.clone(),
                route: setup.route.name.clone(),
                agent: setup.route.agent.clone(),
                node: setup.node.clone(),
            },
            allows_refer: invited.allows_refer,
            placement: setup.placement,
            us: Some(to.map_or_else(|| invited.request_uri.clone(), |to| to.uri.to_owned())),
        }
    }
}

impl Call {
    /// The INVITE's offer decides how the call opens.
    pub(super) fn offered(&mut self, now: Instant, offer: &Bytes) {
        if offer.is_empty() {
            // RFC 3261 §13.2.1: the offer is ours then, in the 200. Where their audio goes is known with the ACK,
            // and ringing until the agent is ready would only make the caller wait for both.
            self.media.body = self.media.session.offer();
            self.media.awaits = Awaits::Answer;
            self.answer(now);
            return;
        }
        match self.negotiate(offer) {
            Err(refusal) => self.refuse(now, &refusal),
            Ok(media) => {
                self.media.body.clone_from(&media.body);
                self.open_leg(now, media);
                match self.config.answer {
                    AnswerPolicy::WhenReady => {
                        self.state = State::Ringing;
                        self.ring(now);
                    }
                    AnswerPolicy::AtOnce => self.answer(now),
                }
            }
        }
    }

    fn negotiate(&mut self, offer: &[u8]) -> Result<Negotiated, Refusal> {
        let offer = Offer::parse(offer)?;
        self.media.session.answer(&offer)
    }

    fn refuse(&mut self, now: Instant, refusal: &Refusal) {
        let warning = refusal.warning(&self.config.host);
        let ended = Ended::rejected(EndBy::Bridge, &refusal.to_string());
        self.reject(
            now,
            Refusal::STATUS,
            vec![("Warning".into(), warning)],
            ended,
        );
    }

    pub(super) fn ring(&mut self, now: Instant) {
        if self.phase_of() == Phase::Ringing {
            self.say(Command::Ring {
                status: 180,
                body: Bytes::new(),
            });
            self.reach_first(now, Milestone::Ringing);
            self.timers.set(Timer::Ring, now + RING_INTERVAL);
        }
    }

    fn open_leg(&mut self, now: Instant, media: Negotiated) {
        let start = self.facts.start.clone();
        self.media.held = media.hold;
        self.actions
            .push_back(Action::OpenLeg(Box::new(LegSetup { media, start })));
        self.leg = Leg::Open;
        self.agent = Agent::Connecting;
        self.timers
            .set(Timer::Connect, now + self.config.connect_timeout);
    }

    pub(super) fn answer(&mut self, now: Instant) {
        self.timers.cancel(Timer::Ring);
        let body = Bytes::from(self.media.body.clone());
        self.say(Command::Answer {
            body,
            headers: Vec::new(),
        });
        self.media.answered_at = Some(now);
        self.record(now, history::Kind::Answered);
        self.reach(now, Milestone::Answered);
        self.state = State::Answering;
        self.tell_leg(leg::Command::Answered);
    }

    /// The agent can be talked to.
    pub(super) fn agent_open(&mut self, now: Instant) {
        if self.agent != Agent::Connecting {
            return; // said twice, or after we gave it up
        }
        self.agent = Agent::Open;
        if self.media.held {
            self.tell_agent(agent::Command::Hold);
        }
        self.timers.cancel(Timer::Connect);
        self.reach(now, Milestone::AgentOpen);
        if self.phase_of() == Phase::Ringing {
            self.answer(now);
        }
    }

    /// The agent failed before the answer.
    pub(super) fn agent_failed_unanswered(&mut self, now: Instant, why: &str) {
        let answers = match self.config.on_failure {
            OnAgentFailure::Handoff => self.handoff_config.target.is_some(),
            OnAgentFailure::Play => true,
            OnAgentFailure::Hangup => false,
        };
        if answers {
            self.answer(now);
            self.agent_failed(now, why);
        } else {
            self.reject(now, 480, Vec::new(), Ended::rejected(EndBy::Bridge, why));
        }
    }

    /// ACK: of our 200, or of the 200 to a re-INVITE. It bears the answer when the offer was ours.
    pub(super) fn acknowledged(&mut self, now: Instant, body: &[u8]) {
        self.reach_first(now, Milestone::Acknowledged);
        if self.phase_of() == Phase::Answering {
            self.state = State::Talking { past: None };
        }
        if self.media.awaits == Awaits::Nothing {
            return;
        }
        self.media.awaits = Awaits::Nothing;
        let answer = Offer::parse(body).map_err(Refusal::from);
        match answer.and_then(|answer| self.media.session.handle_answer(&answer)) {
            Ok(media) if matches!(self.leg, Leg::None) => {
                self.open_leg(now, media);
                self.tell_leg(leg::Command::Answered);
            }
            Ok(media) => self.renegotiated(now, &media),
            // RFC 3261 §13.2.2.4 leaves nothing else: the session has no media.
            Err(refusal) => self.hang_up(now, Ended::failed(EndBy::Caller, &refusal.to_string())),
        }
    }

    /// A new offer inside the call: hold, retrieve, another address or codec, or a mere refresh.
    pub(super) fn reinvited(&mut self, now: Instant, offer: &[u8]) {
        if offer.is_empty() {
            let body = Bytes::from(self.media.session.offer());
            self.media.awaits = Awaits::Answer;
            self.answer_reinvite(200, body, Vec::new());
            return;
        }
        match self.negotiate(offer) {
            Ok(media) => {
                self.answer_reinvite(200, Bytes::from(media.body.clone()), Vec::new());
                self.renegotiated(now, &media);
            }
            // The old session stands (RFC 3264 §8).
            Err(refusal) => {
                let warning = refusal.warning(&self.config.host);
                self.answer_reinvite(
                    Refusal::STATUS,
                    Bytes::new(),
                    vec![("Warning".into(), warning)],
                );
            }
        }
    }

    fn answer_reinvite(&mut self, status: u16, body: Bytes, headers: Vec<(String, String)>) {
        self.say(Command::AnswerReinvite {
            status,
            body,
            headers,
        });
    }

    fn renegotiated(&mut self, now: Instant, media: &Negotiated) {
        self.tell_leg(leg::Command::Renegotiated(Box::new(Renegotiated {
            remote: media.remote,
            send: media.send,
            receive: is_owed_audio(media),
            codec: media.codec,
            payload_type: media.payload_type,
            telephone_event: media.telephone_event,
        })));
        if media.hold == self.media.held {
            return;
        }
        self.media.held = media.hold;
        if media.hold {
            self.tell_agent(agent::Command::Hold);
            self.reach(now, Milestone::Held);
        } else {
            self.tell_agent(agent::Command::Resume);
            self.reach(now, Milestone::Retrieved);
        }
    }
}

/// Whether silence from the far end means that something is wrong. Who holds us may play music, and owes us nothing.
pub const fn is_owed_audio(media: &Negotiated) -> bool {
    media.receive && !media.hold
}
