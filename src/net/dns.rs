#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns the sockets, the clock and the locks of name lookups"
)]
//! Asks the DNS where names are, for [`Location`], which decides what to ask and what the answers mean (RFC 3263).
//!
//! ```text
//!  locate(uri) ─► Location ─question─► Cache ─► one lookup per question, 32 at once ─► name servers
//!      ▲             │ ▲                 ▲                                                 │
//!      └─ targets ───┘ └───── answer ────┴─────────────────────────────────────────────────┘
//! ```
//!
//! Whoever asks what another is asking already waits for the same answer. A lookup takes 4 s at most and a location
//! 8 s; what is not known by then counts as not there. `/etc/hosts` comes first, and is read once.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use baton_core::sip::locate::dns::{Naptr, Srv};
use baton_core::sip::locate::{
    Answer, Cache, Destination, Kind, LocateError, Location, Question, Reach, Target,
};
use baton_core::vocab::Entropy;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

/// Questions on their way to name servers; the next one waits.
const LOOKUPS: usize = 32;
/// The longest one question takes: it has been sent twice to each of two name servers by then.
const LOOKUP: Duration = Duration::from_secs(4);
/// How long a name server has for one answer.
const SERVER: Duration = Duration::from_millis(1_500);
/// The longest a location takes, however many questions it has.
const LOCATION: Duration = Duration::from_secs(8);
/// How long a "no" holds whose zone does not say.
const NO: Duration = Duration::from_secs(30);

/// An answer, and for how long it holds.
#[derive(Debug, Clone)]
struct Told {
    answer: Answer,
    ttl: Duration,
}

type Lookup = dyn Fn(Question) -> BoxFuture<'static, Told> + Send + Sync;

/// The way to the DNS. Clones share its cache.
#[derive(Clone)]
pub struct Dns {
    inner: Arc<Inner>,
}

struct Inner {
    lookup: Box<Lookup>,
    lookups: Semaphore,
    cache: Mutex<Cache>,
    flights: Mutex<BTreeMap<Question, Arc<OnceCell<Answer>>>>,
    entropy: Mutex<Entropy>,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}

impl Dns {
    /// Asks these name servers; the system's (`/etc/resolv.conf`) when there are none.
    ///
    /// Never fails: a node whose peers all have addresses needs no name server.
    pub fn new(nameservers: &[SocketAddr], entropy: Entropy) -> Self {
        let resolver = Arc::new(resolver(nameservers));
        let lookup = move |question: Question| -> BoxFuture<'static, Told> {
            let resolver = resolver.clone();
            Box::pin(async move { look_up(&resolver, &question).await })
        };
        Self::by(Box::new(lookup), entropy)
    }

    fn by(lookup: Box<Lookup>, entropy: Entropy) -> Self {
        Self {
            inner: Arc::new(Inner {
                lookup,
                lookups: Semaphore::new(LOOKUPS),
                cache: Mutex::default(),
                flights: Mutex::default(),
                entropy: Mutex::new(entropy),
            }),
        }
    }

    /// Where a destination is: the targets in the order in which to try them, never none.
    ///
    /// # Errors
    /// Why there are none; its text says what to do.
    pub async fn locate(
        &self,
        destination: Destination,
        reach: Reach,
    ) -> Result<Vec<Target>, LocateError> {
        let entropy = lock(&self.inner.entropy).fork();
        let mut location = Location::new(destination, reach, entropy);
        let mut under_way = FuturesUnordered::new();
        let deadline = tokio::time::sleep(LOCATION);
        tokio::pin!(deadline);
        loop {
            while let Some(question) = location.poll_question() {
                under_way.push(self.inner.ask(question));
            }
            if let Some(outcome) = location.outcome() {
                return outcome.clone();
            }
            tokio::select! {
                Some((question, answer)) = under_way.next() => location.handle_answer(&question, answer),
                () = &mut deadline => location.give_up(),
            }
        }
    }
}

impl Dns {
    /// Whether a name server says anything about a name, be it that there is none.
    pub async fn is_answered(&self, name: &str) -> bool {
        let Some(question) = Question::new(name, Kind::A) else {
            return false;
        };
        let (_, answer) = self.inner.ask(question).await;
        answer != Answer::Failed
    }
}

impl Inner {
    /// The answer to a question: from the cache, from who asks it already, or from a name server.
    async fn ask(&self, question: Question) -> (Question, Answer) {
        let known = lock(&self.cache).get(Instant::now().into_std(), &question);
        if let Some(answer) = known {
            return (question, answer);
        }
        let flight = Flight::join(self, &question);
        let answer = flight.cell.get_or_init(|| self.send(&question)).await;
        let answer = answer.clone();
        drop(flight);
        (question, answer)
    }

    async fn send(&self, question: &Question) -> Answer {
        // Nobody closes it, so waiting for it cannot fail.
        let _place = self.lookups.acquire().await;
        let lookup = (self.lookup)(question.clone());
        let told = tokio::time::timeout(LOOKUP, lookup).await;
        let Told { answer, ttl } = told.unwrap_or_else(|_| failed());
        let now = Instant::now().into_std();
        lock(&self.cache).insert(now, question.clone(), answer.clone(), ttl);
        answer
    }
}

/// A question that is being asked, by all who wait for its answer. When the one who asks goes away, another asks.
struct Flight<'a> {
    inner: &'a Inner,
    question: Question,
    cell: Arc<OnceCell<Answer>>,
}

impl<'a> Flight<'a> {
    fn join(inner: &'a Inner, question: &Question) -> Self {
        let cell = lock(&inner.flights)
            .entry(question.clone())
            .or_default()
            .clone();
        Self {
            inner,
            question: question.clone(),
            cell,
        }
    }
}

impl Drop for Flight<'_> {
    /// The last one out takes it from the table: it and the table hold it then.
    fn drop(&mut self) {
        let mut flights = lock(&self.inner.flights);
        if Arc::strong_count(&self.cell) <= 2 {
            flights.remove(&self.question);
        }
    }
}

/// What is behind these locks is whole after every statement, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn resolver(nameservers: &[SocketAddr]) -> TokioResolver {
    let (config, mut options) = if nameservers.is_empty() {
        hickory_resolver::system_conf::read_system_conf().unwrap_or_else(|error| {
            tracing::warn!(%error, "no name servers: /etc/resolv.conf cannot be used and [sip] nameservers is not set");
            (ResolverConfig::default(), ResolverOpts::default())
        })
    } else {
        let servers = nameservers.iter().map(name_server).collect();
        (
            ResolverConfig::from_name_servers(servers),
            ResolverOpts::default(),
        )
    };
    options.cache_size = 0; // the core has its own
    options.timeout = SERVER;
    options.attempts = 1;
    options.use_hosts_file = ResolveHosts::Always;
    let provider = TokioRuntimeProvider::default();
    let build = |config, options| {
        let builder = TokioResolver::builder_with_config(config, provider.clone());
        builder.with_options(options).build()
    };
    build(config, options).unwrap_or_else(|error| {
        // Nothing of what is built is optional but TLS, which is not compiled in.
        unreachable!("a resolver without TLS: {error}")
    })
}

/// A name server as people write it: an address, with port 53 or another.
pub fn nameserver(text: &str) -> Option<SocketAddr> {
    let bare = || text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 53));
    let server = text.parse().ok().or_else(bare)?;
    (!server.ip().is_unspecified() && server.port() != 0).then_some(server)
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

async fn look_up(resolver: &TokioResolver, question: &Question) -> Told {
    let Ok(mut name) = Name::from_ascii(&question.name) else {
        return failed();
    };
    // A name of one label is looked for in the search domains too.
    name.set_fqdn(question.name.contains('.'));
    let kind = match question.kind {
        Kind::Naptr => RecordType::NAPTR,
        Kind::Srv => RecordType::SRV,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
    };
    match resolver.lookup(name, kind).await {
        Ok(found) => {
            let records = found.answers();
            let ttl = records.iter().map(|record| record.ttl).min();
            let ttl = ttl.map_or(NO, |ttl| Duration::from_secs(ttl.into()));
            let data: Vec<&RData> = records.iter().map(|record| &record.data).collect();
            Told {
                answer: answer(question.kind, &data),
                ttl,
            }
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let ttl = none
                .negative_ttl
                .map_or(NO, |ttl| Duration::from_secs(ttl.into()));
            match none.response_code {
                ResponseCode::NXDomain => Told {
                    answer: Answer::NoSuchName,
                    ttl,
                },
                ResponseCode::NoError => Told {
                    answer: Answer::NoRecords,
                    ttl,
                },
                _ => failed(),
            }
        }
        Err(error) => {
            tracing::debug!(%error, kind = question.kind.as_str(), "a name server failed");
            failed()
        }
    }
}

fn failed() -> Told {
    Told {
        answer: Answer::Failed,
        ttl: Duration::ZERO,
    }
}

/// The records of the kind that was asked for; what came with them (aliases) is passed over.
fn answer(kind: Kind, records: &[&RData]) -> Answer {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let records = records.iter().copied();
    let answer = match kind {
        Kind::Naptr => Answer::Naptr(
            records
                .filter_map(|data| match data {
                    RData::NAPTR(naptr) => Some(Naptr {
                        order: naptr.order,
                        preference: naptr.preference,
                        flags: text(&naptr.flags),
                        services: text(&naptr.services),
                        regexp: text(&naptr.regexp),
                        replacement: naptr.replacement.to_ascii(),
                    }),
                    _ => None,
                })
                .collect(),
        ),
        Kind::Srv => Answer::Srv(
            records
                .filter_map(|data| match data {
                    RData::SRV(srv) => Some(Srv {
                        priority: srv.priority,
                        weight: srv.weight,
                        port: srv.port,
                        target: srv.target.to_ascii(),
                    }),
                    _ => None,
                })
                .collect(),
        ),
        Kind::A | Kind::Aaaa => Answer::Addresses(records.filter_map(RData::ip_addr).collect()),
    };
    if answer.is_empty() {
        Answer::NoRecords
    } else {
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use baton_core::sip::endpoint::Transport;

    use super::*;

    /// A DNS that answers every question for an address after a while, and counts.
    fn slow(takes: Duration) -> (Dns, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        let (asked, at_once) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counted, most) = (asked.clone(), at_once.clone());
        let now = Arc::<AtomicUsize>::default();
        let lookup = move |question: Question| -> BoxFuture<'static, Told> {
            let (counted, most, now) = (counted.clone(), most.clone(), now.clone());
            Box::pin(async move {
                counted.fetch_add(1, Ordering::Relaxed);
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(takes).await;
                now.fetch_sub(1, Ordering::Relaxed);
                let answer = match question.kind {
                    Kind::A => Answer::Addresses(vec![[192, 0, 2, 1].into()]),
                    _ => Answer::NoRecords,
                };
                Told {
                    answer,
                    ttl: Duration::from_secs(60),
                }
            })
        };
        (
            Dns::by(Box::new(lookup), Entropy::from_number(1)),
            asked,
            at_once,
        )
    }

    fn udp() -> Reach {
        let mut reach = Reach::default();
        reach.add(Transport::Udp, [127, 0, 0, 1].into());
        reach
    }

    fn to(uri: &str) -> Destination {
        Destination::parse(uri).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_name_is_asked_once_and_then_remembered() {
        let (dns, asked, _) = slow(Duration::from_secs(1));
        let calls = (0..100).map(|_| dns.locate(to("sip:pbx.example.com:5070"), udp()));
        let found = futures_util::future::join_all(calls).await;
        assert!(
            found
                .iter()
                .all(|found| found.as_ref().unwrap()[0].address.port() == 5070)
        );
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(lock(&dns.inner.flights).is_empty());
        dns.locate(to("sip:pbx.example.com:5080"), udp())
            .await
            .unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_secs(61)).await;
        dns.locate(to("sip:pbx.example.com:5080"), udp())
            .await
            .unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn many_names_are_asked_a_few_at_a_time() {
        let (dns, asked, at_once) = slow(Duration::from_millis(100));
        let calls = (0..200).map(|n| dns.locate(to(&format!("sip:h{n}.example.com:5060")), udp()));
        let calls: Vec<_> = calls.collect();
        for found in futures_util::future::join_all(calls).await {
            assert!(found.is_ok());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 200);
        assert_eq!(at_once.load(Ordering::Relaxed), LOOKUPS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_never_answers_costs_no_more_than_the_time_of_a_location() {
        let (dns, _, _) = slow(Duration::from_hours(1));
        let begun = Instant::now();
        let found = dns.locate(to("sip:example.com"), udp()).await;
        assert_eq!(found, Err(LocateError::Unanswered("example.com".into())));
        assert!(begun.elapsed() <= LOCATION, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_the_question_to_the_others() {
        let (dns, asked, _) = slow(Duration::from_secs(1));
        let destination = || to("sip:pbx.example.com:5070");
        let first = dns.locate(destination(), udp());
        let second = dns.locate(destination(), udp());
        let impatient = tokio::time::timeout(Duration::from_millis(500), first);
        let (gone, found) = tokio::join!(impatient, second);
        assert!(gone.is_err() && found.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        let alone = dns.locate(to("sip:other.example.com:5070"), udp());
        assert!(
            tokio::time::timeout(Duration::from_millis(500), alone)
                .await
                .is_err()
        );
        assert!(lock(&dns.inner.flights).is_empty());
    }

    #[test]
    fn a_name_server_is_an_address_with_or_without_port() {
        let read = |text: &str| nameserver(text).map(|server| server.to_string());
        assert_eq!(read("192.0.2.53").as_deref(), Some("192.0.2.53:53"));
        assert_eq!(read("192.0.2.53:5353").as_deref(), Some("192.0.2.53:5353"));
        assert_eq!(read("2001:db8::53").as_deref(), Some("[2001:db8::53]:53"));
        assert_eq!(
            read("[2001:db8::53]:53").as_deref(),
            Some("[2001:db8::53]:53")
        );
        for wrong in [
            "",
            "dns.example.com",
            "0.0.0.0",
            "192.0.2.53:0",
            "192.0.2.53:99999",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_address_needs_no_name_server() {
        let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let dns = Dns::new(&[nobody], Entropy::from_number(1));
        let found = dns.locate(to("sip:192.0.2.7"), udp()).await.unwrap();
        assert_eq!(found[0].address.to_string(), "192.0.2.7:5060");
    }
}
