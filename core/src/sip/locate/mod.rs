//! Where a SIP URI leads (RFC 3263 §4.1, §4.2): from a name to an ordered list of addresses, by NAPTR, SRV, A and AAAA.
//!
//! ```text
//!                    no port, no transport ──► NAPTR ──┐ which transports, under which names
//!  URI ─┬─ a name ─┬─ no port ──────────────────► SRV ◄┘ which hosts, in which order
//!       │          └─ a port ─────────────► A, AAAA ◄──┘ which addresses
//!       └─ an address ──────────────────────────► done
//! ```
//!
//! [`Location`] asks nobody: drain [`Location::poll_question`], put the questions to the DNS, hand each answer to
//! [`Location::handle_answer`], until [`Location::outcome`] is there. [`Cache`] holds answers between locations;
//! [`Penalties`] remembers which servers to leave alone.
//!
//! It cannot be led in circles: NAPTR leads to SRV, SRV to addresses, addresses to nothing. What a name server sends
//! in excess is not looked at ([`RECORDS`], [`SERVICES`], [`HOSTS`], [`TARGETS`]), and neither are addresses at which nobody can be
//! called. What fails is treated as if the records were not there, because devices exist that only pass A through; but
//! a service that the domain itself says it does not have (an SRV target of `.`) is not looked for in another way.

mod cache;
mod destination;
pub mod dns;
mod naptr;
mod penalties;
mod srv;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

pub use cache::Cache;
pub use destination::Destination;
pub use dns::{Answer, Kind, Question};
pub use penalties::{Penalties, retry_after};

use self::destination::Host;
use crate::sip::endpoint::Transport;
use crate::vocab::Entropy;

/// Records of one answer that are looked at.
pub const RECORDS: usize = 64;
/// Services of a domain that are looked at.
pub const SERVICES: usize = 8;
/// Hosts of SRV records whose addresses are asked for.
pub const HOSTS: usize = 16;
/// Targets in the end.
pub const TARGETS: usize = 16;

/// Address families, each with or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// What this node can send by: the transports it listens on, with their families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Datagrams.
    pub udp: Families,
    /// Streams.
    pub tcp: Families,
    /// Encrypted streams.
    pub tls: Families,
}

impl Reach {
    /// Adds what a socket on this address can reach.
    pub fn add(&mut self, transport: Transport, address: IpAddr) {
        let families = match transport {
            Transport::Udp => &mut self.udp,
            Transport::Tcp => &mut self.tcp,
            Transport::Tls => &mut self.tls,
        };
        match address {
            IpAddr::V4(_) => families.v4 = true,
            IpAddr::V6(_) => families.v6 = true,
        }
    }

    /// The families of one transport.
    pub const fn families(&self, transport: Transport) -> Families {
        match transport {
            Transport::Udp => self.udp,
            Transport::Tcp => self.tcp,
            Transport::Tls => self.tls,
        }
    }

    /// Whether it is there at all.
    pub const fn speaks(&self, transport: Transport) -> bool {
        let families = self.families(transport);
        families.v4 || families.v6
    }

    const fn reaches(&self, transport: Transport, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.families(transport).v4,
            IpAddr::V6(_) => self.families(transport).v6,
        }
    }
}

/// One place to send a request to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// How.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// Why a URI leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// Another scheme, or no URI.
    #[error("{0:?} is no SIP URI; write sip:user@host")]
    NotSip(String),
    /// One that we do not know, or have no socket for.
    #[error("no way to send by {0} here; add a listen address for it, or choose another transport")]
    Transport(String),
    /// NXDOMAIN.
    #[error("there is no name {0:?} in the DNS; check its spelling")]
    NoSuchName(String),
    /// It exists, and has no address that we could send to.
    #[error(
        "{name:?} has no address for {transports}; give its transport or its port in the URI, or ask its owner"
    )]
    NoAddress {
        /// The name.
        name: String,
        /// What would have been of use: `UDP over IPv4`.
        transports: String,
    },
    /// Its SRV record says so.
    #[error("{0:?} says in the DNS that it has no SIP service; check the name with its owner")]
    NoService(String),
    /// Unspecified, multicast and the like.
    #[error(
        "{0:?} leads to addresses at which nobody can be called; check its records with its owner"
    )]
    Unusable(String),
    /// It has addresses, and this machine cannot send to any of them.
    #[error("no route leads to {0:?} from here; check this machine's network")]
    NoRoute(String),
    /// Name servers were silent or failed.
    #[error(
        "no name server could say where {0:?} is; check /etc/resolv.conf, or set [sip] nameservers"
    )]
    Unanswered(String),
}

/// A service under its name: `_sip._udp.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    transport: Transport,
    name: String,
}

/// A host that offers it.
#[derive(Debug, Clone)]
struct Server {
    transport: Transport,
    host: String,
    port: u16,
}

#[derive(Debug)]
enum Stage {
    /// Which transports does it want?
    Naptr,
    /// Which hosts have these services? When none has: the groups that come after.
    Srv(Vec<Service>),
    /// Which addresses do these hosts have?
    Addresses(Vec<Server>),
    Done(Result<Vec<Target>, LocateError>),
}

#[derive(Debug)]
struct Asked {
    question: Question,
    told: bool,
    answer: Option<Answer>,
}

/// One URI on its way to its addresses.
#[derive(Debug)]
pub struct Location {
    destination: Destination,
    name: String,
    reach: Reach,
    entropy: Entropy,
    stage: Stage,
    asked: Vec<Asked>,
    /// Services to look at when those before them lead nowhere.
    later: VecDeque<Vec<Service>>,
    seen: Seen,
}

/// What went wrong on the way, for the error in the end.
#[derive(Debug, Default)]
struct Seen {
    /// An SRV target of `.`.
    refused: bool,
    /// Addresses at which nobody can be called.
    unusable: bool,
    /// A name server that failed on an address.
    failed: bool,
    /// A host that exists.
    exists: bool,
}

impl Location {
    /// Starts.
    ///
    /// * `entropy`: draws among the servers of one priority.
    pub fn new(destination: Destination, reach: Reach, entropy: Entropy) -> Self {
        let mut location = Self {
            name: destination.name().unwrap_or_default().to_owned(),
            destination,
            reach,
            entropy,
            stage: Stage::Naptr,
            asked: Vec::new(),
            later: VecDeque::new(),
            seen: Seen::default(),
        };
        location.start();
        location
    }

    fn start(&mut self) {
        let Some(transport) = self.destination.default_transport(&self.reach) else {
            let wanted = self.destination.transport.map_or("UDP", Transport::as_str);
            return self.fail(LocateError::Transport(wanted.to_owned()));
        };
        match (&self.destination.host, self.destination.port) {
            (Host::Address(ip), port) => {
                let port = port.unwrap_or(transport.default_port());
                let address = SocketAddr::new(*ip, port);
                self.address(Target { transport, address });
            }
            (Host::Name(host), Some(port)) => {
                let host = host.clone();
                self.ask_addresses(vec![Server {
                    transport,
                    host,
                    port,
                }]);
            }
            (Host::Name(_), None)
                if self.destination.transport.is_some() && !self.destination.secure =>
            {
                self.ask_srv(vec![self.service(transport)]);
            }
            (Host::Name(_), None) => {
                self.ask(&self.name.clone(), Kind::Naptr);
                self.advance();
            }
        }
    }

    /// A numeric host: nobody is asked.
    fn address(&mut self, target: Target) {
        let ip = target.address.ip();
        self.stage = if !is_callable(ip) || target.address.port() == 0 {
            Stage::Done(Err(LocateError::Unusable(target.address.to_string())))
        } else if !self.reach.reaches(target.transport, ip) {
            Stage::Done(Err(self.no_address(ip.to_string(), &[target.transport])))
        } else {
            Stage::Done(Ok(vec![target]))
        };
    }

    /// The next thing to ask. Several may be asked at once.
    pub fn poll_question(&mut self) -> Option<Question> {
        let next = self.asked.iter_mut().find(|asked| !asked.told)?;
        next.told = true;
        Some(next.question.clone())
    }

    /// The answer to a question. One that was not asked, or is answered, changes nothing.
    pub fn handle_answer(&mut self, question: &Question, answer: Answer) {
        let waiting = |asked: &&mut Asked| asked.answer.is_none() && asked.question == *question;
        if let Some(asked) = self.asked.iter_mut().find(waiting) {
            asked.answer = Some(answer.truncated(RECORDS));
            self.advance();
        }
    }

    /// Takes what there is: every answer that is missing counts as none.
    pub fn give_up(&mut self) {
        while self.outcome().is_none() {
            for asked in &mut self.asked {
                asked.answer.get_or_insert(Answer::Failed);
            }
            self.advance();
        }
    }

    /// The targets in the order in which to try them (never none), or why there are none; nothing before the end.
    pub fn outcome(&self) -> Option<&Result<Vec<Target>, LocateError>> {
        match &self.stage {
            Stage::Done(outcome) => Some(outcome),
            Stage::Naptr | Stage::Srv(_) | Stage::Addresses(_) => None,
        }
    }

    fn ask(&mut self, name: &str, kind: Kind) {
        let Some(question) = Question::new(name, kind) else {
            return; // nothing that a name server could know
        };
        if self.asked.iter().all(|asked| asked.question != question) {
            self.asked.push(Asked {
                question,
                told: false,
                answer: None,
            });
        }
    }

    /// Goes on when everything that was asked is answered.
    fn advance(&mut self) {
        while self.asked.iter().all(|asked| asked.answer.is_some()) {
            let asked = std::mem::take(&mut self.asked);
            match std::mem::replace(&mut self.stage, Stage::Naptr) {
                Stage::Naptr => self.handle_naptr(asked),
                Stage::Srv(services) => self.handle_srv(services, &asked),
                Stage::Addresses(servers) => self.handle_addresses(&servers, &asked),
                done @ Stage::Done(_) => {
                    self.stage = done;
                    return;
                }
            }
        }
    }

    fn handle_naptr(&mut self, asked: Vec<Asked>) {
        let answers = asked.into_iter().filter_map(|asked| asked.answer);
        let records: Vec<_> = answers
            .filter_map(|answer| match answer {
                Answer::Naptr(records) => Some(records),
                Answer::Srv(_) | Answer::Addresses(_) => None,
                Answer::NoRecords | Answer::NoSuchName | Answer::Failed => None,
            })
            .flatten()
            .collect();
        let named = naptr::services(&records, self.destination.secure, &self.reach);
        self.later.extend(named);
        // Without NAPTR records of use: the usual names, the transports in the order in which we like them.
        let usual = [Transport::Udp, Transport::Tcp, Transport::Tls];
        let wanted = |transport: &Transport| {
            self.reach.speaks(*transport)
                && self
                    .destination
                    .transport
                    .is_none_or(|only| only == *transport)
        };
        let usual = usual
            .into_iter()
            .filter(wanted)
            .map(|t| self.service(t))
            .collect();
        if self.later.is_empty() {
            self.later.push_back(usual);
        }
        self.go_on();
    }

    /// Asks for the next group of services; when there is none left, for the addresses of the name itself.
    fn go_on(&mut self) {
        if let Some(services) = self.later.pop_front() {
            return self.ask_srv(services);
        }
        let transport = self.destination.default_transport(&self.reach);
        match transport {
            Some(transport) if !self.seen.refused => self.ask_addresses(vec![Server {
                transport,
                host: self.name.clone(),
                port: transport.default_port(),
            }]),
            _ => self.fail(LocateError::NoService(self.name.clone())),
        }
    }

    fn ask_srv(&mut self, services: Vec<Service>) {
        for service in &services {
            self.ask(&service.name, Kind::Srv);
        }
        self.stage = Stage::Srv(services);
        self.advance();
    }

    fn handle_srv(&mut self, services: Vec<Service>, asked: &[Asked]) {
        let mut servers = Vec::new();
        for service in services {
            let Some(Answer::Srv(records)) = answer(asked, &service.name, Kind::Srv) else {
                continue;
            };
            match srv::order(records.clone(), &mut self.entropy) {
                srv::Hosts::Refused => self.seen.refused = true,
                srv::Hosts::InOrder(hosts) => servers.extend(hosts.into_iter().map(|srv| Server {
                    transport: service.transport,
                    host: srv.target,
                    port: srv.port,
                })),
            }
        }
        servers.truncate(HOSTS);
        if servers.is_empty() {
            self.go_on();
        } else {
            self.ask_addresses(servers);
        }
    }

    fn ask_addresses(&mut self, servers: Vec<Server>) {
        for server in &servers {
            let families = self.reach.families(server.transport);
            let numeric = server.host.parse::<IpAddr>().is_ok();
            if families.v6 && !numeric {
                self.ask(&server.host, Kind::Aaaa);
            }
            if families.v4 && !numeric {
                self.ask(&server.host, Kind::A);
            }
        }
        self.stage = Stage::Addresses(servers);
        self.advance();
    }

    fn handle_addresses(&mut self, servers: &[Server], asked: &[Asked]) {
        let mut targets = Vec::new();
        let mut known = BTreeSet::new();
        for server in servers {
            for ip in addresses(server, asked) {
                let address = SocketAddr::new(ip, server.port);
                let target = Target {
                    transport: server.transport,
                    address,
                };
                self.seen.unusable |= !is_callable(ip);
                let usable = is_callable(ip) && self.reach.reaches(server.transport, ip);
                if usable && known.insert(target) && targets.len() < TARGETS {
                    targets.push(target);
                }
            }
        }
        if !targets.is_empty() {
            self.stage = Stage::Done(Ok(targets));
            return;
        }
        for asked in asked {
            self.seen.failed |= asked.answer == Some(Answer::Failed);
            self.seen.exists |= !matches!(asked.answer, Some(Answer::NoSuchName | Answer::Failed));
        }
        if self.later.is_empty() {
            let error = self.nothing_found(servers);
            self.fail(error);
        } else {
            self.go_on();
        }
    }

    fn nothing_found(&self, servers: &[Server]) -> LocateError {
        let name = self.name.clone();
        if self.seen.unusable {
            LocateError::Unusable(name)
        } else if self.seen.failed {
            LocateError::Unanswered(name)
        } else if self.seen.exists || servers.iter().any(|server| server.host != name) {
            let transports: BTreeSet<_> = servers.iter().map(|server| server.transport).collect();
            self.no_address(name, &transports.into_iter().collect::<Vec<_>>())
        } else {
            LocateError::NoSuchName(name)
        }
    }

    fn no_address(&self, name: String, transports: &[Transport]) -> LocateError {
        let family = |transport: Transport| match self.reach.families(transport) {
            Families { v4: true, v6: true } => "IPv4 or IPv6",
            Families { v6: true, .. } => "IPv6",
            Families { .. } => "IPv4",
        };
        let each = |t: &Transport| format!("{} over {}", t.as_str(), family(*t));
        LocateError::NoAddress {
            name,
            transports: transports.iter().map(each).collect::<Vec<_>>().join(", "),
        }
    }

    fn fail(&mut self, error: LocateError) {
        self.stage = Stage::Done(Err(error));
    }

    /// The usual name of a service (RFC 3263 §4.1).
    fn service(&self, transport: Transport) -> Service {
        let prefix = match transport {
            Transport::Udp => "_sip._udp",
            Transport::Tcp => "_sip._tcp",
            Transport::Tls => "_sips._tcp",
        };
        Service {
            transport,
            name: format!("{prefix}.{}", self.name),
        }
    }
}

fn answer<'a>(asked: &'a [Asked], name: &str, kind: Kind) -> Option<&'a Answer> {
    let question = Question::new(name, kind)?;
    let asked = asked.iter().find(|asked| asked.question == question)?;
    asked.answer.as_ref()
}

/// The addresses of a host, IPv6 before IPv4 (RFC 6724 §2.1). Zones exist that write an address where SRV wants a name.
fn addresses(server: &Server, asked: &[Asked]) -> Vec<IpAddr> {
    if let Ok(numeric) = server.host.parse::<IpAddr>() {
        return vec![numeric.to_canonical()];
    }
    let of = |kind| match answer(asked, &server.host, kind) {
        Some(Answer::Addresses(addresses)) => addresses.clone(),
        _ => Vec::new(),
    };
    let both = of(Kind::Aaaa).into_iter().chain(of(Kind::A));
    both.map(|ip| ip.to_canonical()).collect()
}

/// Whether somebody can be called at an address. Link-local IPv6 needs a zone that no DNS can give.
fn is_callable(ip: IpAddr) -> bool {
    if ip.is_unspecified() || ip.is_multicast() {
        return false;
    }
    match ip {
        IpAddr::V4(v4) => !v4.is_broadcast() && v4.octets()[0] != 0,
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    }
}
