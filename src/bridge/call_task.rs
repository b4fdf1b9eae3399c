#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns a call's clock and its queues"
)]
//! One call: carries what happens to its core, and what its core wants into the world. Nothing is decided here.
//!
//! ```text
//!  sip events ──┐                      ┌──► sip commands (a REFER only with its receipt)
//!  leg events ──┤                      ├──► leg commands
//!  operators ───┼──► call::Call ───────┼──► history: append, commit
//!  commits ─────┤   (the core)         ├──► registry: state, ladder, handoffs
//!  deadlines ───┘                      └──► the end: log line, counters
//! ```
//!
//! A task that breaks is caught here: its caller is hung up on, and its history ends with the word that it broke.

use std::collections::VecDeque;
use std::net::{IpAddr, UdpSocket};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_core::admission::Lifecycle;
use baton_core::call::{
    self, Action, Call, Final, Input, LegSetup, Operator as Wish, Setup, Stopping,
};
use baton_core::history::{EndBy, EndKind, Event, Kind, UnixMillis, WallClock};
use baton_core::leg::{self, Leg};
use baton_core::media::g711;
use baton_core::media::rtp::packet::{RtpTimestamp, SeqNo};
use baton_core::media::vad;
use baton_core::sip::endpoint::{Command, DialogEvent, DialogId};
use baton_core::vocab::Entropy;
use baton_core::{agent, sdp};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::historian::{Historian, Wrote};
use super::plan::Plan;
use super::registry::{BROKE, CallView, EndView, Operator, Refusal, Registration, Reply};
use super::view;
use super::{Bridge, Media};
use crate::net::media_shard::{self, LegOpen};

/// How long the last events of a history may take to be written after the call has ended.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// When no timer runs.
const IDLE: Duration = Duration::from_hours(1);

/// One call's life, from its INVITE to the last word of its history.
pub async fn run(bridge: Arc<Bridge>, plan: Plan, events: mpsc::Receiver<DialogEvent>) {
    let span = tracing::info_span!("call", id = %plan.setup.id);
    async {
        let mut task = CallTask::new(bridge, plan, events);
        let lived = AssertUnwindSafe(task.live()).catch_unwind().await;
        if lived.is_err() {
            task.pick_up_the_pieces().await;
        }
        let written = AssertUnwindSafe(task.write_last_words());
        if written.catch_unwind().await.is_err() {
            tracing::error!("the end of this call's history could not be written: its store broke");
        }
    }
    .instrument(span)
    .await;
}

/// What a call needs for its media until its leg is open.
struct Materials {
    agent: agent::Config,
    vad: vad::Config,
    rtp: UdpSocket,
    signalling: IpAddr,
    announce_speech: bool,
    entropy: Entropy,
}

impl Materials {
    /// What the SDP settled and what the configuration says, with numbers nobody can guess (RFC 3550 §5.1).
    fn leg_config(&mut self, media: &sdp::Negotiated, shared: &Media) -> leg::Config {
        leg::Config {
            remote: media.remote,
            signalling: self.signalling,
            latch: shared.latch,
            codec: match media.codec {
                sdp::Codec::Pcmu => g711::Codec::Pcmu,
                sdp::Codec::Pcma => g711::Codec::Pcma,
            },
            telephone_event: media.telephone_event,
            comfort_noise: media.comfort_noise,
            send: media.send,
            receive: call::is_owed_audio(media),
            announce_speech: self.announce_speech,
            jitter: shared.jitter,
            vad: self.vad,
            playout_max: shared.playout_max,
            no_rtp_timeout: shared.no_rtp_timeout,
            ssrc: self.entropy.next_u32(),
            seq: SeqNo((self.entropy.next_u32() & 0xffff) as u16),
            timestamp: RtpTimestamp(self.entropy.next_u32()),
        }
    }
}

struct CallTask {
    bridge: Arc<Bridge>,
    call: Call,
    dialog: DialogId,
    invited_at: Instant,
    clock: WallClock,
    connect_timeout: Duration,
    sip: mpsc::Receiver<DialogEvent>,
    materials: Option<Materials>,
    leg: Option<mpsc::Sender<leg::Command>>,
    leg_events: mpsc::Receiver<leg::Event>,
    leg_sink: mpsc::Sender<leg::Event>,
    operators: mpsc::Receiver<Operator>,
    answers: VecDeque<Answer>,
    historian: Historian,
    registration: Option<Registration>,
    /// The history has its last word.
    end_is_recorded: bool,
    over: bool,
}

/// An operator that waits.
enum Answer {
    Handoff(Reply<baton_core::vocab::HandoffId>),
    Done(Reply<()>),
}

impl CallTask {
    fn new(bridge: Arc<Bridge>, plan: Plan, sip: mpsc::Receiver<DialogEvent>) -> Self {
        let now = Instant::now();
        let Plan {
            setup,
            agent,
            vad,
            rtp,
            signalling,
        } = plan;
        let (leg_sink, leg_events) = mpsc::channel(media_shard::QUEUE);
        let historian = Historian::new(Arc::clone(&bridge.history), setup.key);
        let (registration, operators) = bridge.registry.register(first_view(now, &setup));
        let (dialog, clock) = (setup.invited.dialog, setup.clock);
        let connect_timeout = setup.config.connect_timeout;
        let materials = Materials {
            agent,
            vad,
            rtp,
            signalling,
            announce_speech: setup.config.barge_in != call::BargeIn::Off,
            entropy: bridge.fork_entropy(),
        };
        Self {
            call: Call::new(now, setup),
            bridge,
            dialog,
            invited_at: now,
            clock,
            connect_timeout,
            sip,
            materials: Some(materials),
            leg: None,
            leg_events,
            leg_sink,
            operators,
            answers: VecDeque::new(),
            historian,
            registration: Some(registration),
            end_is_recorded: false,
            over: false,
        }
    }

    async fn live(&mut self) {
        let mut lifecycle = self.bridge.lifecycle.clone();
        loop {
            while let Some(action) = self.call.poll_action() {
                self.perform(action).await;
            }
            self.show_state();
            if self.over {
                break;
            }
            self.historian.start(Instant::now());
            let wake = [self.call.poll_timeout(), self.historian.poll_timeout()];
            let wake = wake
                .into_iter()
                .flatten()
                .min()
                .unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                event = self.sip.recv() => {
                    let event = event.unwrap_or_else(|| DialogEvent::Lost { why: "signalling has stopped".into() });
                    self.tell(Input::Sip(event));
                }
                Some(event) = self.leg_events.recv() => self.leg_said(event),
                Some(wish) = self.operators.recv() => self.operator_wants(wish),
                wrote = self.historian.wrote(Instant::now) => {
                    if let Wrote::Commit(result) = wrote {
                        self.tell(Input::Committed(result));
                    }
                }
                Ok(()) = lifecycle.changed() => match *lifecycle.borrow_and_update() {
                    Lifecycle::Ready | Lifecycle::Draining { .. } => {}
                    Lifecycle::Ending { .. } => self.tell(Input::Stopping(Stopping::Gently)),
                    Lifecycle::Stopped => self.tell(Input::Stopping(Stopping::AtOnce)),
                },
                () = tokio::time::sleep_until(wake.into()) => self.call.handle_timeout(Instant::now()),
            }
        }
    }

    /// Something in this task panicked. Its core may be in any state, so it is not asked again; what it had recorded
    /// is still written, with an end if it had none.
    async fn pick_up_the_pieces(&mut self) {
        tracing::error!("this call's task broke; the call is ended");
        self.historian.drop_pending();
        if !self.end_is_recorded {
            let ended = Kind::Ended {
                kind: EndKind::Failed,
                by: EndBy::Bridge,
                reason: BROKE.into(),
            };
            self.historian
                .record(Event::new(self.clock.at(Instant::now()), ended));
        }
        self.registration = None;
        self.materials = None;
        let headers = Vec::new();
        if self.say(Command::Bye { headers }).await.is_err() {
            let refusal = Command::Reject {
                status: 500,
                headers: Vec::new(),
            };
            // A dialog that is over already needs neither.
            let _ = self.say(refusal).await;
        }
        self.leg = None;
        self.sip.close();
    }

    fn tell(&mut self, input: Input) {
        self.call.handle_input(Instant::now(), input);
    }

    fn leg_said(&mut self, event: leg::Event) {
        if let leg::Event::Report(summary) = &event {
            self.show(|view| view.quality = Some((**summary).clone()));
        }
        self.tell(Input::Leg(event));
    }

    fn operator_wants(&mut self, operator: Operator) {
        let (wish, answer) = match operator {
            Operator::Handoff { request, reply } => {
                (Wish::Handoff(request), Answer::Handoff(reply))
            }
            Operator::Hangup { reason, reply } => (Wish::Hangup { reason }, Answer::Done(reply)),
            Operator::Dtmf {
                digits,
                duration,
                gap,
                reply,
            } => (
                Wish::Dtmf {
                    digits,
                    duration,
                    gap,
                },
                Answer::Done(reply),
            ),
            Operator::KeyRead { key } if key == self.call.key() => {
                return self.tell(Input::KeyRead);
            }
            Operator::KeyRead { .. } => return,
        };
        self.answers.push_back(answer);
        self.tell(Input::Operator(wish));
    }

    async fn perform(&mut self, action: Action) {
        match action {
            // A REFER without a receipt cannot be; should it ever, it does not leave.
            Action::Sip(Command::Refer { .. }) => tracing::error!("a REFER without its receipt"),
            Action::Sip(command) => {
                if let Err(error) = self.say(command).await {
                    tracing::debug!(%error, "not said");
                }
            }
            // The receipt is spent here: what it proves is on its way.
            Action::Refer(_receipt, command)
            | Action::HangUpAndReturn(_receipt, command)
            | Action::Redirect(_receipt, command) => {
                self.historian.settle().await;
                if let Err(error) = self.say(command).await {
                    self.tell(Input::NotSent {
                        why: error.to_string(),
                    });
                }
            }
            // Boxed: a leg is large, and this future would be as large for the whole call.
            Action::OpenLeg(setup) => Box::pin(self.open_leg(*setup)).await,
            Action::Leg(command) => {
                if let Some(leg) = &self.leg {
                    // A leg that has ended has said so, or its node is going down.
                    let _ = leg.send(command).await;
                }
            }
            Action::Record(event) => self.record(event),
            Action::Commit { handoff } => self.historian.commit(handoff),
            Action::Milestone { at, what } => {
                tracing::info!(at_ms = at.as_millis(), "{what}");
                self.show(|view| view::reached(view, at, &what));
            }
            Action::Reply(result) => self.reply(result),
            Action::Ended(last) => self.end(&last),
        }
    }

    async fn say(&mut self, command: Command) -> Result<(), crate::net::sip_task::SipError> {
        self.bridge.sip.command(self.dialog, command).await
    }

    /// Opens the leg on its shard. When that fails, the core hears that its media is gone and takes the next step.
    async fn open_leg(&mut self, setup: LegSetup) {
        let Some(mut materials) = self.materials.take() else {
            return;
        };
        let now = Instant::now();
        let tape = self.bridge.recorder.as_ref().and_then(|recorder| {
            let (file, tape) = recorder.record(&setup.start.call.id)?;
            self.historian.record(Event::new(
                self.clock.at(now),
                Kind::Recording {
                    on: true,
                    file: Some(file),
                },
            ));
            Some(tape)
        });
        let dialect = agent::build(&materials.agent, materials.entropy.fork());
        let config = materials.leg_config(&setup.media, &self.bridge.media);
        let leg = Leg::new(now, config, dialect, setup.start, tape);
        let open = LegOpen {
            link: leg.link(),
            leg,
            rtp_socket: materials.rtp,
            connect_timeout: self.connect_timeout,
            events: self.leg_sink.clone(),
        };
        match Box::pin(self.bridge.shards.open(open)).await {
            Ok(commands) => self.leg = Some(commands),
            Err(error) => {
                tracing::error!(%error, "no media for this call");
                self.tell(Input::Leg(leg::Event::Closed(Box::default())));
            }
        }
    }

    fn record(&mut self, event: Event) {
        if let Kind::Handoff(step) = &event.kind {
            let at = self.invited_at.elapsed();
            self.show(|view| view::handed(view, at, step));
        }
        self.end_is_recorded |= matches!(event.kind, Kind::Ended { .. });
        self.historian.record(event);
    }

    fn reply(
        &mut self,
        result: Result<Option<baton_core::vocab::HandoffId>, baton_core::handoff::RequestError>,
    ) {
        // An operator that stopped waiting has lost interest, not the call.
        match (self.answers.pop_front(), result) {
            (Some(Answer::Handoff(reply)), Ok(Some(id))) => drop(reply.send(Ok(id))),
            (Some(Answer::Handoff(reply)), Ok(None)) => {
                drop(reply.send(Err(Refusal("the call is over".into()))));
            }
            (Some(Answer::Handoff(reply)), Err(error)) => {
                drop(reply.send(Err(Refusal(error.to_string()))));
            }
            (Some(Answer::Done(reply)), Ok(_)) => drop(reply.send(Ok(()))),
            (Some(Answer::Done(reply)), Err(error)) => {
                drop(reply.send(Err(Refusal(error.to_string()))));
            }
            (None, _) => {}
        }
    }

    fn end(&mut self, last: &Final) {
        self.over = true;
        // A call that never had media gives its RTP port back now, not when its history is written.
        self.materials = None;
        let end = EndView {
            kind: last.ended.kind.to_string(),
            by: last.ended.by.to_string(),
            reason: Some(last.ended.reason.clone()),
        };
        self.show(|view| view.quality = Some(last.media.clone()));
        if let Some(registration) = self.registration.take() {
            registration.end(self.clock.at(Instant::now()), end);
        }
        self.bridge.observer.call_ended(self.call.facts(), last);
    }

    /// The call is over; its history is not, until the store has all of it.
    async fn write_last_words(&mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        while !self.historian.is_done() {
            self.historian.start(Instant::now());
            let retry = self
                .historian
                .poll_timeout()
                .unwrap_or(deadline)
                .min(deadline);
            tokio::select! {
                _ = self.historian.wrote(Instant::now) => {}
                () = tokio::time::sleep_until(retry.into()) => {}
            }
            if Instant::now() >= deadline {
                return tracing::warn!("the end of this call's history could not be written");
            }
        }
    }

    fn show(&self, change: impl FnOnce(&mut CallView)) {
        if let Some(registration) = &self.registration {
            registration.update(change);
        }
    }

    fn show_state(&self) {
        let state = view::state_of(self.call.phase());
        self.show(|view| {
            view.state = state;
            if view.answered.is_none()
                && let Some(at) = view.timings.answered_ms
            {
                view.answered = Some(UnixMillis(view.started.0 + at));
            }
        });
    }
}

fn first_view(now: Instant, setup: &Setup) -> CallView {
    CallView {
        sip_call_id: setup.invited.call_id.clone(),
        twilio_call_sid: setup.invited.header("X-Twilio-CallSid").map(str::to_owned),
        from: setup.invited.caller.clone(),
        to: setup.invited.called.clone(),
        trunk: setup.invited.trunk.clone(),
        route: setup.route.name.clone(),
        agent: setup.route.agent.clone(),
        ..CallView::new(setup.id.clone(), setup.key, setup.clock.at(now))
    }
}
