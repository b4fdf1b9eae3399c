//! The trunk: places calls, answers REFER as it likes, reports what it likes, hangs up when it likes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use baton_core::sdp::{self, Direction, Offer};
use baton_core::sip::auth::Account;
use baton_core::sip::endpoint::{
    Command, CommandError, Config, DialogEvent, DialogId, Endpoint, Event, Flow, NotifyState,
    OutgoingInvite, Transport, Ways,
};
use baton_core::vocab::Entropy;
use bytes::Bytes;

use super::doorkeeper::Doorkeeper;
use super::phone::Phone;
use super::wire::Datagram;

/// One thing the trunk does in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    AnswerRefer(u16),
    /// The last one when its status is final.
    Notify(u16),
    /// The subscription ends without a word of how.
    NotifyLast(u16),
    HangUp,
    GiveUp,
    Reinvite(Direction),
    PressDigit(char),
}

/// One call as the trunk sees it.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) phone: Phone,
    pub(crate) media: sdp::Session,
    /// A REFER waits for its answer.
    pub(crate) is_referred: bool,
    /// Its INVITE was empty: the bridge makes the offer.
    makes_no_offer: bool,
    /// It has said BYE.
    hung_up: bool,
}

/// How a call is placed.
#[derive(Debug, Clone)]
pub(crate) struct Placing {
    pub(crate) called: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Who it can prove to be.
    pub(crate) account: Option<Account>,
    /// `None`: our ordinary offer.
    pub(crate) offer: Option<Bytes>,
    /// Servers that the trunk tries before the bridge.
    pub(crate) tries: Vec<SocketAddr>,
}

impl Default for Placing {
    fn default() -> Self {
        Self {
            called: "+15551230000".into(),
            headers: vec![
                ("X-Twilio-CallSid".into(), "CA1".into()),
                ("X-Tenant".into(), "acme".into()),
            ],
            account: None,
            offer: None,
            tries: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct FarEnd {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    /// Asks the bridge who it is.
    pub(crate) door: Option<Doorkeeper>,
    bridge: SocketAddr,
    transport: Transport,
    callers: BTreeMap<DialogId, Caller>,
    entropy: Entropy,
    next_port: u16,
}

impl FarEnd {
    pub(crate) fn new(
        config: Config,
        address: SocketAddr,
        bridge: SocketAddr,
        transport: Transport,
        mut entropy: Entropy,
    ) -> Self {
        Self {
            endpoint: Endpoint::new(config, entropy.fork()),
            address,
            door: None,
            bridge,
            transport,
            callers: BTreeMap::new(),
            entropy,
            next_port: 40_000,
        }
    }

    const fn flow(&self) -> Flow {
        Flow {
            transport: self.transport,
            local: self.address,
            remote: self.bridge,
        }
    }

    /// To the bridge, after these servers.
    fn ways(&self, tries: &[SocketAddr]) -> Ways {
        let servers = tries.iter().copied().chain([self.bridge]);
        let flow = |remote| Flow {
            remote,
            ..self.flow()
        };
        Ways::of(servers.map(flow)).expect("the bridge is one")
    }

    pub(crate) fn places(&mut self, now: Instant, placing: &Placing) -> DialogId {
        let rtp = SocketAddr::new(self.address.ip(), self.next_port);
        self.next_port += 2;
        let local = sdp::Local::new(rtp.ip(), rtp.port(), self.entropy.next_u64());
        let mut media = sdp::Session::new(local);
        let ours = Bytes::from(media.offer());
        let invite = OutgoingInvite {
            ways: self.ways(&placing.tries),
            target: format!("sip:{}@{}", placing.called, self.bridge),
            from: format!("\"Alice\" <sip:+15559870000@{}>", self.address.ip()),
            to: String::new(),
            call_id: String::new(),
            account: placing.account.clone().map(std::sync::Arc::new),
            headers: placing.headers.clone(),
            body: placing.offer.clone().unwrap_or(ours),
        };
        let makes_no_offer = invite.body.is_empty();
        let dialog = self.endpoint.invite(now, invite).expect("a call is placed");
        let phone = Phone::new(rtp, self.entropy.next_u32());
        self.callers.insert(
            dialog,
            Caller {
                phone,
                media,
                is_referred: false,
                makes_no_offer,
                hung_up: false,
            },
        );
        dialog
    }

    pub(crate) fn caller(&self, dialog: DialogId) -> &Caller {
        &self.callers[&dialog]
    }

    pub(crate) fn caller_mut(&mut self, dialog: DialogId) -> &mut Caller {
        self.callers.get_mut(&dialog).expect("a call of this trunk")
    }

    pub(crate) fn does(
        &mut self,
        now: Instant,
        dialog: DialogId,
        step: Step,
    ) -> Result<(), CommandError> {
        let no_headers = Vec::new();
        let command = match step {
            Step::AnswerRefer(status) => {
                self.caller_mut(dialog).is_referred = false;
                Command::AnswerRefer { status }
            }
            Step::Notify(status) => Command::Notify {
                status,
                state: if status < 200 {
                    NotifyState::Active
                } else {
                    NotifyState::Terminated
                },
            },
            Step::NotifyLast(status) => Command::Notify {
                status,
                state: NotifyState::Terminated,
            },
            Step::HangUp => {
                let caller = self.caller_mut(dialog);
                caller.phone.hang_up();
                caller.hung_up = true;
                Command::Bye {
                    headers: no_headers,
                }
            }
            Step::GiveUp => Command::Cancel,
            Step::Reinvite(direction) => {
                let media = &mut self.caller_mut(dialog).media;
                media.set_direction(direction);
                let body = Bytes::from(media.offer());
                Command::Reinvite { body }
            }
            Step::PressDigit(digit) => {
                self.caller_mut(dialog).phone.presses(digit);
                return Ok(());
            }
        };
        self.endpoint.command(now, dialog, command)
    }

    /// Takes note of everything that happened, and answers what a phone answers by itself.
    pub(crate) fn settle(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::Dialog { dialog, event } = event {
                self.happened(now, dialog, &event);
            }
        }
    }

    fn happened(&mut self, now: Instant, dialog: DialogId, event: &DialogEvent) {
        let Some(caller) = self.callers.get_mut(&dialog) else {
            return;
        };
        if let DialogEvent::Answered { body, .. } = event {
            if caller.makes_no_offer {
                let body = caller.answer_to(body);
                let command = Command::AnswerOffer { body };
                let _ = self.endpoint.command(now, dialog, command);
                return;
            }
            caller.connect(body);
        }
        if let DialogEvent::ReinviteEnded { status: 200, body } = event {
            caller.connect(body);
        }
        if let DialogEvent::Reinvited { offer } = event {
            let body = caller.answer_to(offer);
            let command = Command::AnswerReinvite {
                status: 200,
                body,
                headers: Vec::new(),
            };
            // It may have been taken back meanwhile.
            let _ = self.endpoint.command(now, dialog, command);
        }
        if matches!(event, DialogEvent::Referred { .. }) {
            caller.is_referred = !caller.hung_up;
            if caller.hung_up {
                let refusal = Command::AnswerRefer { status: 481 };
                let _ = self.endpoint.command(now, dialog, refusal);
            }
        }
        if matches!(
            event,
            DialogEvent::Bye { .. } | DialogEvent::Lost { .. } | DialogEvent::Refused { .. }
        ) {
            caller.phone.hang_up();
        }
    }

    /// One frame of every telephone.
    pub(crate) fn tick(&mut self) -> Vec<Datagram> {
        self.callers
            .values_mut()
            .filter_map(|caller| caller.phone.tick())
            .collect()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.callers.values().any(|caller| caller.phone.is_live())
    }

    /// A packet for one of the telephones.
    pub(crate) fn hears(&mut self, now: Instant, datagram: &Datagram) {
        let at = |caller: &&mut Caller| caller.media.local().port == datagram.to.port();
        if let Some(caller) = self.callers.values_mut().find(at) {
            caller.phone.hears(now, &datagram.payload);
        }
    }

    /// * returns what the doorkeeper says, if it lets nobody in.
    pub(crate) fn receives(&mut self, now: Instant, datagram: &Datagram) -> Option<Bytes> {
        if let Some(door) = &mut self.door
            && let Err(refusal) = door.looks_at(now, datagram)
        {
            return Some(refusal);
        }
        let flow = Flow {
            remote: datagram.from,
            ..self.flow()
        };
        self.endpoint.handle_datagram(now, flow, &datagram.payload);
        None
    }
}

impl Caller {
    fn connect(&mut self, answer: &Bytes) {
        if answer.is_empty() {
            return;
        }
        let answer = Offer::parse(answer).expect("the bridge answers with SDP");
        let media = self
            .media
            .handle_answer(&answer)
            .expect("an answer to our offer");
        self.phone.connect(media.remote);
    }

    fn answer_to(&mut self, offer: &Bytes) -> Bytes {
        let offer = Offer::parse(offer).expect("the bridge offers SDP");
        let media = self.media.answer(&offer).expect("an offer we can take");
        self.phone.connect(media.remote);
        Bytes::from(media.body)
    }
}
