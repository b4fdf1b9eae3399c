//! Calls as ladders. What comes in is a method call; `does` is everything the call did about it, in order.
//! One file per kind of behaviour.

mod agent_loss;
mod answer;
mod conversation;
mod handing_over;
mod media;
mod races;
mod stopping;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::agent::HandoffRequest;
use crate::agent::prompts::Prompt;
use crate::history::commit::tests::now_or_never;
use crate::history::{
    BackendError, CommitError, EndKind, Journal, Memory, Session, UnixMillis, commit,
};
use crate::sip::endpoint::{DialogId, Flow, Invited, NotifyState, Transport};
use crate::testing::t0;
use crate::vocab::HandoffId;

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// A call, and the shell around it: a store in memory, a clock in hand.
struct Ladder {
    now: Instant,
    call: Call,
    journal: Journal,
    /// Every milestone that was told.
    milestones: Vec<String>,
    /// The REFER as it left.
    referred: Option<String>,
    /// The commit that was asked for.
    committing: Option<HandoffId>,
    ended: Option<Final>,
}

impl Ladder {
    fn invited_with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut entropy = Entropy::from_number(1);
        let now = t0();
        let mut setup = Setup {
            id: "call-1".into(),
            key: HandoffKey::generate(&mut entropy),
            entropy,
            clock: WallClock::new(now, UnixMillis(1_700_000_000_000)),
            invited: invited(OFFER),
            local: sdp::Local::new("192.0.2.10".parse().expect("an address"), 10_000, 42),
            route: Route {
                name: "support".into(),
                agent: "scripted".into(),
                variables: BTreeMap::from([("language".into(), "en".into())]),
            },
            config: Config::default(),
            handoff: handoff::Config {
                target: Some("sip:queue@flex.example.com".into()),
                ..handoff::Config::default()
            },
            placement: KeyPlacement::ReferToHeader,
            node: "n1".into(),
        };
        change(&mut setup);
        let journal = Journal::new(setup.key);
        Self {
            now,
            call: Call::new(now, setup),
            journal,
            milestones: Vec::new(),
            referred: None,
            committing: None,
            ended: None,
        }
    }

    fn ringing() -> Self {
        Self::ringing_with(|_| {})
    }

    fn ringing_with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut ladder = Self::invited_with(change);
        ladder.does(&["open leg", "180"]);
        ladder
    }

    fn answering_with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut ladder = Self::ringing_with(change);
        ladder
            .leg(leg::Event::AgentOpen)
            .does(&["200", "leg answered"]);
        ladder
    }

    /// Answered and acknowledged, the agent open.
    fn talking() -> Self {
        Self::talking_with(|_| {})
    }

    fn talking_with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut ladder = Self::answering_with(change);
        ladder.receives(ack("")).does(&[]);
        ladder
    }

    /// The agent asked, the history is durable, the REFER is out.
    fn referring_with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut ladder = Self::talking_with(change);
        ladder
            .agent(wants_handoff())
            .does(&["tell requested", "COMMIT"]);
        ladder.store_commits().does(&["tell committed", "REFER"]);
        ladder
    }

    fn referring() -> Self {
        Self::referring_with(|_| {})
    }

    fn accepted() -> Self {
        let mut ladder = Self::referring();
        ladder
            .receives(refer_answered(202))
            .does(&["tell trying 202"]);
        ladder
    }

    fn input(&mut self, input: Input) -> &mut Self {
        self.call.handle_input(self.now, input);
        self
    }

    fn receives(&mut self, event: DialogEvent) -> &mut Self {
        self.input(Input::Sip(event))
    }

    fn leg(&mut self, event: leg::Event) -> &mut Self {
        self.input(Input::Leg(event))
    }

    fn agent(&mut self, event: agent::Event) -> &mut Self {
        self.leg(leg::Event::Agent(event))
    }

    fn agent_breaks(&mut self) -> &mut Self {
        self.leg(leg::Event::AgentClosed {
            clean: false,
            why: "socket closed".into(),
        })
    }

    fn agent_closes(&mut self) -> &mut Self {
        self.leg(leg::Event::AgentClosed {
            clean: true,
            why: "1000".into(),
        })
    }

    fn prompt_ends(&mut self, prompt: Prompt) -> &mut Self {
        self.leg(leg::Event::PromptEnded(prompt))
    }

    fn presses(&mut self, digit: char) -> &mut Self {
        let at = self.call.media_time(self.now);
        self.leg(leg::Event::Digit {
            digit,
            duration: Duration::from_millis(100),
            at,
        })
    }

    /// The commit that was asked for is done, with everything that was recorded up to it.
    fn store_commits(&mut self) -> &mut Self {
        let handoff = self.committing.take().expect("a commit was asked for");
        let receipt = now_or_never(commit(&Memory::default(), self.journal.pending(handoff)));
        self.input(Input::Committed(receipt))
    }

    fn store_fails(&mut self) -> &mut Self {
        self.committing.take().expect("a commit was asked for");
        let error = BackendError::Unavailable { why: "down".into() };
        self.input(Input::Committed(Err(CommitError::Backend(error))))
    }

    fn leg_closes(&mut self) -> &mut Self {
        self.leg(leg::Event::Closed(Box::default()))
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        let until = self.now + time;
        while let Some(at) = self.call.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.call.handle_timeout(self.now);
        }
        self.now = until;
        self
    }

    fn after_secs(&mut self, seconds: u64) -> &mut Self {
        self.after(Duration::from_secs(seconds))
    }

    #[track_caller]
    fn does(&mut self, expected: &[&str]) -> &mut Self {
        assert_eq!(self.drain(), expected);
        self
    }

    fn drain(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        while let Some(action) = self.call.poll_action() {
            done.extend(self.perform(action));
        }
        done
    }

    fn perform(&mut self, action: Action) -> Option<String> {
        Some(match action {
            Action::Record(event) => {
                self.journal.record(event);
                return None;
            }
            Action::Milestone { what, .. } => {
                self.milestones.push(what.to_string());
                return None;
            }
            Action::Sip(command) => show_sip(&command),
            Action::Refer(receipt, Command::Refer { refer_to, .. }) => {
                assert_eq!(receipt.key(), self.call.key());
                self.referred = Some(refer_to);
                "REFER".into()
            }
            Action::HangUpAndReturn(_, Command::Bye { headers }) => {
                assert_eq!(headers[0].0, "Transfer-Target");
                "BYE with target".into()
            }
            Action::Redirect(
                _,
                Command::Reject {
                    status: 302,
                    headers,
                },
            ) => {
                assert!(headers[0].1.contains(self.call.key().as_str()));
                "302 with target".into()
            }
            Action::Refer(_, other)
            | Action::HangUpAndReturn(_, other)
            | Action::Redirect(_, other) => {
                panic!("a receipt was spent on {other:?}")
            }
            Action::OpenLeg(_) => "open leg".into(),
            Action::Leg(command) => show_leg(&command),
            Action::Commit { handoff } => {
                self.committing = Some(handoff);
                "COMMIT".into()
            }
            Action::Reply(result) => match result {
                Ok(_) => "reply ok".into(),
                Err(error) => format!("reply {error}"),
            },
            Action::Ended(last) => {
                let shown = format!("ended {} by {}", last.ended.kind, last.ended.by);
                assert!(self.ended.replace(*last).is_none(), "ended twice");
                shown
            }
        })
    }

    /// The history as a human would read it now.
    fn session(&self) -> Session {
        let events = self
            .journal
            .batch(usize::MAX)
            .map_or_else(Vec::new, |(_, events)| events);
        Session::fold(self.call.key(), &events)
    }

    /// The call ended in this way, after its leg closed; the history says the same.
    #[track_caller]
    fn ends(&mut self, kind: EndKind, by: EndBy) {
        self.leg_closes().does(&[&format!("ended {kind} by {by}")]);
        let end = self.session().end.expect("the history has an end");
        assert_eq!((end.kind, end.by), (kind, by));
        assert_eq!(self.call.poll_timeout(), None);
        assert_eq!(self.call.phase(), "ended");
    }
}

fn show_sip(command: &Command) -> String {
    match command {
        Command::Ring { status, .. } => status.to_string(),
        Command::Answer { .. } => "200".into(),
        Command::Reject { status, headers } => {
            assert_ne!(*status, 302, "a redirect without receipt");
            let mut words = vec![status.to_string()];
            words.extend(headers.iter().map(|(name, _)| name.clone()));
            words.join(" ")
        }
        Command::AnswerReinvite { status, .. } => format!("re-INVITE {status}"),
        Command::AnswerRefer { status } => format!("REFER answered {status}"),
        Command::Bye { headers } => {
            assert!(
                !headers.iter().any(|(name, _)| name == "Transfer-Target"),
                "a target without receipt"
            );
            "BYE".into()
        }
        Command::Refer { .. } => panic!("a REFER without receipt"),
        other @ (Command::Reinvite { .. }
        | Command::AnswerOffer { .. }
        | Command::Notify { .. }
        | Command::Cancel) => {
            format!("{other:?}")
        }
    }
}

fn show_leg(command: &leg::Command) -> String {
    match command {
        leg::Command::Answered => "leg answered".into(),
        leg::Command::Agent(agent::Command::Handoff(update)) => {
            let status = update
                .sip_status
                .map(|s| format!(" {s}"))
                .unwrap_or_default();
            format!("tell {}{status}", update.state)
        }
        leg::Command::Agent(agent::Command::Hold) => "tell hold".into(),
        leg::Command::Agent(agent::Command::Resume) => "tell resume".into(),
        leg::Command::Agent(agent::Command::Error { .. }) => "tell error".into(),
        leg::Command::Agent(agent::Command::Dtmf { digit, .. }) => format!("tell digit {digit}"),
        leg::Command::Prompt(prompt) => format!("prompt {prompt:?}"),
        leg::Command::DetachAgent { .. } => "detach agent".into(),
        leg::Command::Close { .. } => "close leg".into(),
        leg::Command::SendDigits { digits, .. } => format!("digits {digits}"),
        leg::Command::Recording(on) => format!("recording {on}"),
        leg::Command::PausePlayout => "pause playout".into(),
        leg::Command::ResumePlayout => "resume playout".into(),
        leg::Command::Renegotiated(media) => format!(
            "remote {} send {} receive {}",
            media.remote, media.send, media.receive
        ),
        other @ (leg::Command::Agent(_) | leg::Command::Clear) => format!("{other:?}"),
    }
}

fn invited(offer: &str) -> Invited {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Invited {
        dialog: DialogId(1),
        flow: Flow {
            transport: Transport::Udp,
            local: "192.0.2.10:5060".parse().expect("an address"),
            remote: "192.0.2.1:5060".parse().expect("an address"),
        },
        trunk: "twilio".into(),
        call_id: "c1@192.0.2.1".into(),
        request_uri: "sip:+15551230000@voice.example.com".into(),
        called: "+15551230000".into(),
        caller: "+15559870000".into(),
        caller_name: None,
        headers: vec![
            header("To", "<sip:bot@voice.example.com;transport=tls>"),
            header("X-Twilio-CallSid", "CA1"),
            header("Via", "SIP/2.0/UDP 192.0.2.1"),
        ],
        allows_refer: true,
        offer: Bytes::copy_from_slice(offer.as_bytes()),
    }
}

fn ack(body: &str) -> DialogEvent {
    DialogEvent::Acknowledged {
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn bye() -> DialogEvent {
    DialogEvent::Bye { reason: None }
}

fn cancelled() -> DialogEvent {
    DialogEvent::Cancelled { reason: None }
}

fn refer_answered(status: u16) -> DialogEvent {
    DialogEvent::ReferAnswered {
        status,
        reason: String::new(),
    }
}

fn notify(status: u16) -> DialogEvent {
    DialogEvent::Notified {
        sipfrag: Some((status, String::new())),
        state: if status < 200 {
            NotifyState::Active
        } else {
            NotifyState::Terminated
        },
    }
}

fn wants_handoff() -> agent::Event {
    agent::Event::Handoff(HandoffRequest::default())
}

fn lost() -> DialogEvent {
    DialogEvent::Lost { why: "481".into() }
}
