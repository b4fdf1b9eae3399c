//! Our registrations with other people's registrars: the REGISTERs of [`Registration`]s, and which calls come through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::Endpoint;
use super::core::Core;
use super::event::{Event, Flow};
use super::layer::{Origin, Purpose};
use super::schedule::{Subject, Wake};
use super::ways::Ways;
use crate::sip::auth::Authorizations;
use crate::sip::message::{BuildError, Method, Name, Request, Response, Uri};
use crate::sip::registration::{Answer, Register, Registration, Standing, Step};
use crate::sip::transaction::TransactionId;
use crate::vocab::Entropy;

/// A registration by number, never reused on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RegistrationId(u32);

/// All of them.
#[derive(Debug)]
pub(super) struct Registrations {
    last: u32,
    all: BTreeMap<RegistrationId, Binding>,
    dice: Entropy,
}

/// One registration with what its requests are made of.
#[derive(Debug)]
struct Binding {
    trunk: String,
    register: Arc<Register>,
    machine: Registration,
    authorizations: Authorizations,
    /// User part of our Contact: random, so that who calls it was told it by the registrar.
    token: String,
    tag: String,
    call_id: String,
    cseq: u32,
    /// Where the registrar is.
    ways: Option<Ways>,
    /// The way that was answered last.
    way: Option<Flow>,
    /// The REGISTER whose answer is awaited.
    client: Option<TransactionId>,
    told: Standing,
    wake: Wake,
}

impl Registrations {
    pub(super) fn new(dice: Entropy) -> Self {
        Self {
            last: 0,
            all: BTreeMap::new(),
            dice,
        }
    }

    /// Whether a request came through this trunk's registration: it calls the Contact that only its registrar knows, or
    /// comes from where the registrar is, which may call another number.
    pub(super) fn brought(&self, now: Instant, trunk: &str, uri: &str, flow: &Flow) -> bool {
        let mut bindings = self.all.values().filter(|binding| binding.trunk == trunk);
        bindings.any(|binding| {
            let source = flow.remote.ip().to_canonical();
            let is_registrar = |way: Flow| {
                way.remote.ip().to_canonical() == source && binding.machine.is_bound(now)
            };
            binding.is_contact(uri) || binding.way.is_some_and(is_registrar)
        })
    }

    /// Whether calls are expected by this way.
    pub(super) fn any_on(&self, flow: &Flow) -> bool {
        self.all.values().any(|binding| binding.way == Some(*flow))
    }

    /// Whether this is a Contact of ours.
    pub(super) fn is_contact(&self, uri: &str) -> bool {
        self.all.values().any(|binding| binding.is_contact(uri))
    }
}

/// For the shell.
impl Endpoint {
    /// Registers every trunk that has a registrar, and takes bindings back whose trunk has none any more. To be called
    /// when the sockets are open, and after each [`Endpoint::set_trunks`].
    pub fn register(&mut self, now: Instant) {
        let wanted: Vec<(String, Arc<Register>)> = self
            .trunks
            .registering()
            .map(|(trunk, register)| (trunk.to_owned(), Arc::clone(register)))
            .collect();
        let kept = |binding: &Binding| {
            !binding.machine.is_leaving()
                && wanted
                    .iter()
                    .any(|(trunk, register)| binding.is_for(trunk, register))
        };
        let outdated: Vec<_> = self.registrations_where(|binding| !kept(binding));
        for id in outdated {
            self.advance(now, id, |machine, _| machine.leave(now));
        }
        for (trunk, register) in wanted {
            let mut all = self.registrations.all.values();
            if all.any(|b| b.is_for(&trunk, &register) && !b.machine.is_leaving()) {
                continue;
            }
            self.registrations.last += 1;
            let id = RegistrationId(self.registrations.last);
            let binding = Binding::new(now, trunk, register, &mut self.registrations.dice);
            self.registrations.all.insert(id, binding);
            self.advance(now, id, |_, _| Step::Idle);
        }
    }

    /// Takes every binding back: nobody is to call us through a registrar any more.
    pub fn unregister(&mut self, now: Instant) {
        for id in self.registrations_where(|_| true) {
            self.advance(now, id, |machine, _| machine.leave(now));
        }
    }

    /// How each registration stands, by its trunk.
    pub fn registrations(&self) -> Vec<(String, Standing)> {
        let mut bindings: Vec<_> = self.registrations.all.values().collect();
        bindings.retain(|binding| !binding.machine.is_leaving());
        bindings
            .into_iter()
            .map(|binding| (binding.trunk.clone(), binding.machine.standing()))
            .collect()
    }
}

/// For the rest of the endpoint.
impl Endpoint {
    fn registrations_where(&self, is_it: impl Fn(&Binding) -> bool) -> Vec<RegistrationId> {
        let all = self.registrations.all.iter();
        all.filter(|(_, binding)| is_it(binding))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Something is due.
    pub(super) fn handle_registration_timeout(&mut self, now: Instant, id: RegistrationId) {
        if !self.registrations.all.contains_key(&id) {
            self.core.layer.schedule.forget_first();
            return;
        }
        self.advance(now, id, |machine, dice| machine.handle_timeout(now, dice));
    }

    /// Where the registrar is.
    pub(super) fn handle_registrar_located(
        &mut self,
        now: Instant,
        id: RegistrationId,
        ways: Vec<Flow>,
    ) {
        let Some(binding) = self.registrations.all.get_mut(&id) else {
            return;
        };
        // The server that keeps our binding is asked first as long as it is one of them.
        let kept = binding.way.filter(|way| ways.contains(way));
        let is_other = |way: &Flow| kept.is_some_and(|kept| kept != *way);
        binding.ways = Ways::of(ways).map(|ways| ways.put_last(is_other));
        let found = binding.ways.is_some();
        self.advance(now, id, |machine, dice| {
            machine.handle_located(now, found, dice)
        });
    }

    /// A connection is gone.
    pub(super) fn handle_registrar_lost(&mut self, now: Instant, flow: &Flow) {
        for id in self.registrations_where(|binding| binding.way == Some(*flow)) {
            self.advance(now, id, |machine, dice| {
                machine.handle_lost(now, dice);
                Step::Idle
            });
        }
    }

    /// A REGISTER of ours was answered.
    pub(super) fn handle_register_answer(
        &mut self,
        now: Instant,
        client: TransactionId,
        id: RegistrationId,
        response: &Response,
    ) {
        let found = self.registrations.all.get_mut(&id);
        let Some(binding) = found.filter(|binding| binding.client == Some(client)) else {
            return; // of another try
        };
        let status = response.status();
        if status < 200 {
            return;
        }
        if matches!(status, 401 | 407)
            && binding.answer_challenge(now, &mut self.core, client, response)
        {
            self.core.layer.counters.challenges_answered += 1;
            return;
        }
        if status < 300 {
            binding.way = self.core.layer.client_flow(client);
        }
        let answer = Answer::of(response, &binding.token);
        self.advance(now, id, |machine, dice| {
            machine.handle_answer(now, answer, dice)
        });
    }

    /// Nobody answered.
    pub(super) fn handle_register_silence(
        &mut self,
        now: Instant,
        client: TransactionId,
        id: RegistrationId,
        status: u16,
    ) {
        let binding = self.registrations.all.get(&id);
        if binding.is_some_and(|binding| binding.client == Some(client)) {
            self.advance(now, id, |machine, dice| {
                machine.handle_answer(now, Answer::none(status), dice)
            });
        }
    }

    /// Does something with a registration, then what it wants done, then puts it where its state belongs.
    fn advance(
        &mut self,
        now: Instant,
        id: RegistrationId,
        act: impl FnOnce(&mut Registration, &mut Entropy) -> Step,
    ) {
        let Registrations { all, dice, .. } = &mut self.registrations;
        let Some(binding) = all.get_mut(&id) else {
            return;
        };
        let step = act(&mut binding.machine, dice);
        let done = match step {
            Step::Idle => Ok(()),
            Step::Locate => {
                self.core.locate_registrar(id, &binding.register.registrar);
                Ok(())
            }
            Step::Register(expires) => binding.send(now, &mut self.core, id, expires),
            Step::Again(expires) => binding.send_again(now, &mut self.core, expires),
        };
        if let Err(why) = done {
            tracing::warn!(trunk = binding.trunk, %why, "a REGISTER cannot be written");
            binding.machine.handle_answer(now, Answer::none(500), dice);
        }
        self.settle_registration(id);
    }

    fn settle_registration(&mut self, id: RegistrationId) {
        let Some(binding) = self.registrations.all.get_mut(&id) else {
            return;
        };
        let deadline = binding.machine.deadline();
        let subject = Subject::Registration(id);
        self.core
            .layer
            .schedule
            .set(subject, &mut binding.wake, deadline);
        let standing = binding.machine.standing();
        if standing != binding.told && !binding.machine.is_leaving() {
            binding.told = standing;
            self.core.events.push_back(Event::Registration {
                trunk: binding.trunk.clone(),
                standing,
            });
        }
        if binding.machine.is_gone() {
            self.registrations.all.remove(&id);
        }
    }
}

impl Binding {
    fn new(now: Instant, trunk: String, register: Arc<Register>, dice: &mut Entropy) -> Self {
        Self {
            machine: Registration::new(now, register.expires),
            authorizations: Authorizations::new(Arc::clone(&register.account)),
            trunk,
            register,
            token: dice.hex(10),
            tag: dice.hex(8),
            call_id: dice.hex(16),
            cseq: 0,
            ways: None,
            way: None,
            client: None,
            told: Standing::Trying,
            wake: Wake::default(),
        }
    }

    fn is_for(&self, trunk: &str, register: &Register) -> bool {
        self.trunk == trunk && *self.register == *register
    }

    fn is_contact(&self, uri: &str) -> bool {
        Uri::parse(uri).is_ok_and(|uri| uri.user_raw() == Some(&self.token))
    }

    fn next_cseq(&mut self) -> u32 {
        self.cseq += 1;
        self.cseq
    }

    /// A REGISTER; one number higher each time, in one Call-ID (§10.2).
    fn send(
        &mut self,
        now: Instant,
        core: &mut Core,
        id: RegistrationId,
        expires: u32,
    ) -> Result<(), BuildError> {
        let Some((ways, (uri, record))) = self.ways.clone().zip(self.register.addresses()) else {
            return Err(BuildError::StartLine(self.register.registrar.clone()));
        };
        let ways = core.put_bad_last(now, ways);
        let (via, branch) = core.author.via(&ways.flow());
        let contact = core.author.contact(&ways.flow(), Some(&self.token));
        let cseq = self.next_cseq();
        let cnonce = core.author.tag();
        let fields = self
            .authorizations
            .fields(now, &Method::Register, &uri, &cnonce);
        let mut request = Request::builder(Method::Register, &uri)
            .header(Name::Via, via)
            .header(Name::MaxForwards, "70")
            .header(Name::From, format!("<{record}>;tag={}", self.tag))
            .header(Name::To, format!("<{record}>"))
            .header(Name::CallId, &self.call_id)
            .header(Name::CSeq, format!("{cseq} REGISTER"))
            .header(Name::Contact, contact)
            .header(Name::Expires, expires.to_string())
            .header(Name::UserAgent, core.author.user_agent());
        for (name, value) in &fields {
            request = request.header(*name, value);
        }
        let origin = Origin {
            owner: None,
            purpose: Purpose::Register(id),
            cseq,
        };
        self.client = Some(core.send(now, ways, request.build()?, &branch, origin));
        Ok(())
    }

    fn send_again(
        &mut self,
        now: Instant,
        core: &mut Core,
        expires: u32,
    ) -> Result<(), BuildError> {
        let Some(client) = self.client else {
            return Ok(());
        };
        let uri = self.register.addresses().map(|(uri, _)| uri);
        let cnonce = core.author.tag();
        let mut fields =
            self.authorizations
                .fields(now, &Method::Register, &uri.unwrap_or_default(), &cnonce);
        fields.push((Name::Expires, expires.to_string()));
        let cseq = self.next_cseq();
        core.say_again(now, client, cseq, &fields)
    }

    fn answer_challenge(
        &mut self,
        now: Instant,
        core: &mut Core,
        client: TransactionId,
        response: &Response,
    ) -> bool {
        let tries = core.layer.said_again(client);
        let Some(request) = core.layer.client_request(client) else {
            return false;
        };
        let challenged =
            self.authorizations
                .handle_challenge(now, request.headers(), response.headers(), tries);
        if let Err(why) = challenged {
            tracing::debug!(%why, "a registrar's challenge is not answered");
            return false;
        }
        let cnonce = core.author.tag();
        let fields = self
            .authorizations
            .fields(now, request.method(), request.uri(), &cnonce);
        let cseq = self.next_cseq();
        core.say_again(now, client, cseq, &fields).is_ok()
    }
}
