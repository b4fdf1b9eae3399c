//! Registrations on the wire (RFC 3261 §10.2): what is sent, what becomes of the answers, and who calls through them.

use std::sync::Arc;
use std::time::Duration;

use super::raw::{Raw, header, invite, response, status, statuses};
use crate::sip::auth::{Account, Credentials};
use crate::sip::endpoint::{Config, Event, Flow, Transport};
use crate::sip::registration::{Register, Standing};
use crate::sip::trunk::{Trunk, Trunks};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn registering(name: &str, registrar: &str) -> Trunk {
    Trunk {
        name: name.into(),
        register: Some(Arc::new(Register {
            registrar: registrar.into(),
            account: Arc::new(Account::new("bot", "s3cret")),
            expires: secs(300),
        })),
        ..Trunk::default()
    }
}

struct Desk {
    raw: Raw,
    standings: Vec<(String, Standing)>,
}

impl Desk {
    fn new(trunks: Vec<Trunk>) -> Self {
        let raw = Raw::with(Config {
            trunks: Trunks::new(trunks),
            ..Config::default()
        });
        let mut desk = Self {
            raw,
            standings: Vec::new(),
        };
        desk.raw.endpoint.register(desk.raw.now);
        desk
    }

    /// With one registrar, at 192.0.2.1.
    fn one() -> Self {
        Self::new(vec![registering("pbx", "sip:pbx.example.com")])
    }

    fn way(transport: Transport, remote: &str) -> Flow {
        Flow {
            transport,
            local: "10.0.0.2:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    /// Answers questions of where names are, notes standings.
    fn settle(&mut self) -> usize {
        let mut asked = 0;
        while let Some(event) = self.raw.endpoint.poll_event() {
            match event {
                Event::Locate { id, uri } => {
                    asked += 1;
                    let ways: &[&str] = match uri.as_str() {
                        "sip:pbx.example.com" => &["192.0.2.1:5060", "192.0.2.2:5060"],
                        "sip:itsp.example.net" => &["198.51.100.1:5060"],
                        _ => &[],
                    };
                    let ways = ways.iter().map(|way| Self::way(Transport::Udp, way));
                    let now = self.raw.now;
                    self.raw.endpoint.handle_located(now, id, ways.collect());
                }
                Event::Registration { trunk, standing } => self.standings.push((trunk, standing)),
                Event::Invited(_) | Event::Dialog { .. } => {}
            }
        }
        asked
    }

    /// Lets time pass; the REGISTERs sent meanwhile, each with its remote address, repeats left out.
    fn run(&mut self, time: Duration) -> Vec<(String, String)> {
        let until = self.raw.now + time;
        let mut sent = Vec::new();
        loop {
            self.settle();
            while let Some(transmit) = self.raw.endpoint.poll_transmit() {
                let text = String::from_utf8(transmit.payload.to_vec()).unwrap();
                let it = (transmit.flow.remote.to_string(), text);
                if !sent.contains(&it) {
                    sent.push(it);
                }
            }
            match self.raw.endpoint.poll_timeout().filter(|at| *at <= until) {
                Some(at) => {
                    self.raw.now = self.raw.now.max(at);
                    self.raw.endpoint.handle_timeout(self.raw.now);
                }
                None if self.settle() == 0 => break,
                None => {}
            }
        }
        self.raw.now = until;
        sent
    }

    /// The one REGISTER sent within this time.
    fn sends(&mut self, time: Duration) -> String {
        let mut sent = self.run(time);
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0).1
    }

    /// The next REGISTER, which is sent within this time.
    fn next(&mut self, most: Duration) -> String {
        for _ in 0..most.as_secs() {
            let mut sent = self.run(secs(1));
            if let Some((_, register)) = sent.pop() {
                return register;
            }
        }
        panic!("nothing is sent within {most:?}");
    }

    /// Answers a REGISTER; what is sent at once.
    fn says(&mut self, register: &str, status: &str, more: &str) -> Vec<String> {
        let sent = self.raw.send(&response(register, status, more));
        self.settle();
        sent
    }

    /// The registrar keeps the binding so long.
    fn accepts(&mut self, register: &str, seconds: u32) {
        let contact = header(register, "Contact").unwrap();
        let more = format!("Contact: <sip:other@h>;expires=9, {contact};expires={seconds}");
        assert!(self.says(register, "200 OK", &more).is_empty());
    }

    fn last(&self) -> Option<Standing> {
        self.standings.last().map(|(_, standing)| *standing)
    }
}

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n1\", qop=\"auth\"";

fn token(register: &str) -> String {
    let contact = header(register, "Contact").unwrap();
    let user = contact.strip_prefix("<sip:").unwrap();
    user.split('@').next().unwrap().to_owned()
}

fn cseq(register: &str) -> u32 {
    let value = header(register, "CSeq").unwrap();
    value.strip_suffix(" REGISTER").unwrap().parse().unwrap()
}

#[test]
fn it_registers_answers_the_challenge_and_refreshes_in_time() {
    let mut desk = Desk::one();
    let first = desk.sends(secs(0));
    assert!(
        first.starts_with("REGISTER sip:pbx.example.com SIP/2.0\r\n"),
        "{first}"
    );
    assert_eq!(header(&first, "To"), Some("<sip:bot@pbx.example.com>"));
    assert!(
        header(&first, "From")
            .unwrap()
            .starts_with("<sip:bot@pbx.example.com>;tag=")
    );
    assert_eq!(header(&first, "Expires"), Some("300"));
    let contact = header(&first, "Contact").unwrap();
    assert_eq!(contact, format!("<sip:{}@10.0.0.2:5060>", token(&first)));
    assert_eq!(token(&first).len(), 20);

    let again = desk.says(&first, "401 Unauthorized", CHALLENGE).remove(0);
    assert_eq!(cseq(&again), cseq(&first) + 1);
    assert_eq!(header(&again, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!(header(&again, "Contact"), Some(contact));
    let said = Credentials::parse(header(&again, "Authorization").unwrap()).unwrap();
    assert_eq!(
        (said.username.as_str(), said.uri.as_str()),
        ("bot", "sip:pbx.example.com")
    );
    desk.accepts(&again, 60);
    assert_eq!(desk.last(), Some(Standing::Registered));

    assert!(desk.run(secs(29)).is_empty());
    let refresh = desk.next(secs(17));
    assert_eq!(token(&refresh), token(&first));
    assert_eq!(cseq(&refresh), cseq(&again) + 1);
    let said = Credentials::parse(header(&refresh, "Authorization").unwrap()).unwrap();
    assert_eq!(said.counted.unwrap().nc, 2, "the nonce is still fresh");
    desk.accepts(&refresh, 60);
    assert_eq!(
        desk.standings.len(),
        1,
        "nothing changed, so nothing is told"
    );
}

#[test]
fn a_password_that_is_refused_is_tried_again_much_later() {
    let mut desk = Desk::one();
    let first = desk.sends(secs(0));
    let again = desk.says(&first, "401 Unauthorized", CHALLENGE).remove(0);
    let other = CHALLENGE.replace("n1", "n2");
    assert!(desk.says(&again, "401 Unauthorized", &other).is_empty());
    assert_eq!(desk.last(), Some(Standing::Failed(401)));
    assert!(desk.run(secs(29)).is_empty());
    assert!(!desk.run(secs(31)).is_empty());
}

#[test]
fn a_brief_interval_is_lengthened_at_once() {
    let mut desk = Desk::one();
    let first = desk.sends(secs(0));
    let again = desk
        .says(&first, "423 Interval Too Brief", "Min-Expires: 1800")
        .remove(0);
    assert_eq!(header(&again, "Expires"), Some("1800"));
    assert_eq!(again.matches("Expires").count(), 1);
    assert_eq!(cseq(&again), cseq(&first) + 1);
    let proof = desk.says(&again, "401 Unauthorized", CHALLENGE).remove(0);
    assert_eq!(header(&proof, "Expires"), Some("1800"));
    desk.accepts(&proof, 1800);
    assert!(desk.run(secs(899)).is_empty());
    let refresh = desk.next(secs(460));
    assert_eq!(header(&refresh, "Expires"), Some("1800"));
}

#[test]
fn a_silent_registrar_is_left_for_the_next_and_asked_again_until_it_is_back() {
    let mut desk = Desk::one();
    let sent = desk.run(secs(40));
    let servers: Vec<_> = sent.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(
        servers[..2],
        ["192.0.2.1:5060", "192.0.2.2:5060"],
        "{servers:?}"
    );
    assert_ne!(header(&sent[0].1, "Via"), header(&sent[1].1, "Via"));
    assert_eq!(desk.last(), Some(Standing::Failed(408)));
    let later = desk.run(secs(300));
    assert!((4..40).contains(&later.len()), "{}", later.len());
    // Back again.
    let mut answered = false;
    for _ in 0..200 {
        for (_, register) in desk.run(secs(5)) {
            desk.accepts(&register, 300);
            answered = true;
        }
        if answered {
            break;
        }
    }
    assert_eq!(desk.last(), Some(Standing::Registered));
}

#[test]
fn a_server_that_says_503_is_left_for_the_next_at_once() {
    let mut desk = Desk::one();
    let first = desk.sends(secs(0));
    let next = desk.says(&first, "503 Service Unavailable", "").remove(0);
    assert!(next.starts_with("REGISTER "));
    desk.accepts(&next, 300);
    assert_eq!(desk.last(), Some(Standing::Registered));
    // The server that keeps the binding is the one that is asked next time.
    let sent = desk.run(secs(230));
    assert_eq!(sent[0].0, "192.0.2.2:5060");
}

#[test]
fn a_registrar_that_is_nowhere_is_looked_for_again() {
    let mut desk = Desk::new(vec![registering("pbx", "sip:nowhere.example.com")]);
    assert!(desk.run(secs(60)).is_empty());
    assert_eq!(desk.last(), Some(Standing::Failed(503)));
    assert_eq!(
        desk.raw.endpoint.registrations(),
        [("pbx".to_owned(), Standing::Failed(503))]
    );
}

#[test]
fn two_registrars_are_two_bindings() {
    let mut desk = Desk::new(vec![
        registering("pbx", "sip:pbx.example.com"),
        registering("itsp", "sip:itsp.example.net"),
    ]);
    let sent = desk.run(secs(0));
    assert_eq!(sent.len(), 2);
    assert_ne!(token(&sent[0].1), token(&sent[1].1));
    assert_ne!(header(&sent[0].1, "Call-ID"), header(&sent[1].1, "Call-ID"));
    desk.accepts(&sent[1].1, 300);
    desk.says(&sent[0].1, "403 Forbidden", "");
    let standings = desk.raw.endpoint.registrations();
    assert_eq!(standings[0], ("pbx".into(), Standing::Failed(403)));
    assert_eq!(standings[1], ("itsp".into(), Standing::Registered));
}

/// A call to this user part from this address.
fn call(
    desk: &mut Desk,
    user: &str,
    from: &str,
    number: u32,
) -> (u16, Option<crate::sip::endpoint::Invited>) {
    desk.raw.flow.remote = from.parse().unwrap();
    let invite = invite(&format!("z9hG4bKc{number}"), "")
        .replace("INVITE sip:bot@", &format!("INVITE sip:{user}@"))
        .replace("To: <sip:bot@", "To: <sip:100@")
        .replace("c1@far", &format!("c{number}@far"));
    let sent = desk.raw.send(&invite);
    (status(&sent[0]), desk.raw.invited())
}

#[test]
fn calls_that_come_through_it_belong_to_its_trunk() {
    let mut desk = Desk::one();
    let first = desk.sends(secs(0));
    desk.accepts(&first, 300);
    // Our Contact, from any server of the PBX; To says which extension was dialled.
    let (status, invited) = call(&mut desk, &token(&first), "203.0.113.9:5060", 1);
    let invited = invited.unwrap();
    assert_eq!(
        (status, invited.trunk.as_str(), invited.called.as_str()),
        (100, "pbx", "100")
    );
    // Another number, from the server that keeps the binding.
    let (status, invited) = call(&mut desk, "+15551230000", "192.0.2.1:40000", 2);
    let invited = invited.unwrap();
    assert_eq!((status, invited.called.as_str()), (100, "+15551230000"));
    // Neither.
    assert_eq!(
        call(&mut desk, "+15551230000", "203.0.113.9:5060", 3).0,
        403
    );
    assert_eq!(call(&mut desk, "", "203.0.113.9:5060", 4).0, 403);
}

#[test]
fn before_it_is_registered_and_after_the_binding_ended_its_server_is_a_stranger() {
    let mut desk = Desk::one();
    let first = desk.sends(secs(0));
    assert_eq!(call(&mut desk, "1", "192.0.2.1:5060", 1).0, 403);
    desk.accepts(&first, 60);
    assert_eq!(call(&mut desk, "1", "192.0.2.1:5060", 2).0, 100);
    desk.run(secs(61));
    assert_eq!(call(&mut desk, "1", "192.0.2.1:5060", 3).0, 403);
}

#[test]
fn the_binding_is_taken_back_when_nobody_is_to_call_any_more() {
    let mut desk = Desk::one();
    let first = desk.sends(secs(0));
    desk.accepts(&first, 300);
    desk.raw.endpoint.unregister(desk.raw.now);
    let last = desk.sends(secs(0));
    assert_eq!(header(&last, "Expires"), Some("0"));
    assert_eq!(token(&last), token(&first));
    let proof = desk.says(&last, "401 Unauthorized", CHALLENGE).remove(0);
    assert_eq!(header(&proof, "Expires"), Some("0"));
    desk.says(&proof, "200 OK", "");
    assert!(desk.raw.endpoint.registrations().is_empty());
    assert!(desk.run(secs(10_000)).is_empty());
    assert_eq!(desk.raw.endpoint.transactions(), 0);
    assert_eq!(desk.raw.endpoint.poll_timeout(), None);
}

#[test]
fn a_reload_keeps_what_is_the_same_and_replaces_what_is_not() {
    let mut desk = Desk::one();
    let first = desk.sends(secs(0));
    desk.accepts(&first, 300);
    let same = registering("pbx", "sip:pbx.example.com");
    let other = registering("itsp", "sip:itsp.example.net");
    let set = |desk: &mut Desk, trunks: Vec<Trunk>| {
        desk.raw.endpoint.set_trunks(Trunks::new(trunks));
        desk.raw.endpoint.register(desk.raw.now);
        desk.run(secs(0))
    };
    let sent = set(&mut desk, vec![other.clone(), same]);
    assert_eq!(sent.len(), 1);
    assert!(sent[0].1.starts_with("REGISTER sip:itsp.example.net"));
    desk.accepts(&sent[0].1, 300);
    let sent = set(&mut desk, vec![other]);
    assert_eq!(sent.len(), 1);
    assert_eq!(header(&sent[0].1, "Expires"), Some("0"));
    assert!(sent[0].1.starts_with("REGISTER sip:pbx.example.com"));
    assert_eq!(desk.raw.endpoint.registrations().len(), 1);
}

#[test]
fn a_lost_connection_is_made_again_and_the_registrar_told() {
    let mut desk = Desk::new(vec![registering(
        "pbx",
        "sip:pbx.example.com;transport=tcp",
    )]);
    let Some(Event::Locate { .. }) = ({
        let now = desk.raw.now;
        desk.raw.endpoint.handle_timeout(now);
        desk.raw.endpoint.poll_event()
    }) else {
        panic!("it asks where the registrar is")
    };
    // Asked again when nobody said; then answered with a stream.
    let way = Desk::way(Transport::Tcp, "192.0.2.1:5060");
    let mut register = None;
    for _ in 0..3 {
        let Some(at) = desk.raw.endpoint.poll_timeout() else {
            break;
        };
        desk.raw.now = at;
        desk.raw.endpoint.handle_timeout(at);
        while let Some(event) = desk.raw.endpoint.poll_event() {
            if let Event::Locate { id, .. } = event {
                desk.raw.endpoint.handle_located(at, id, vec![way]);
            }
        }
        if let Some(sent) = desk.raw.sent().pop() {
            register = Some(sent);
            break;
        }
    }
    let register = register.unwrap();
    assert!(
        header(&register, "Contact")
            .unwrap()
            .ends_with(";transport=tcp>")
    );
    desk.raw.endpoint.handle_connected(&way, Vec::new());
    desk.raw.flow = way;
    desk.accepts(&register, 3600);
    assert!(
        desk.raw.endpoint.has_dialog_on(&way),
        "the connection is needed"
    );
    desk.raw.endpoint.handle_closed(desk.raw.now, &way);
    let wake = desk.raw.endpoint.poll_timeout().unwrap();
    assert!(wake <= desk.raw.now + secs(2));
}

#[test]
fn statuses_that_mean_nothing_to_a_registration_change_nothing() {
    let mut desk = Desk::one();
    let first = desk.sends(secs(0));
    assert!(desk.says(&first, "100 Trying", "").is_empty());
    desk.accepts(&first, 300);
    // The same answer again, and one to a request that never was.
    assert!(desk.says(&first, "200 OK", "").is_empty());
    assert!(
        desk.says(&first.replace("z9hG4bK", "z9hG4bKx"), "403 Forbidden", "")
            .is_empty()
    );
    assert_eq!(desk.last(), Some(Standing::Registered));
    assert_eq!(statuses(&[first]), [0]);
}
