//! A call's task that panics: a fault of ours, in a place that a test chooses. Its caller is hung up on, its history
//! says what is known, and its place is free again.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baton::bridge::registry::Registry;
use baton::bridge::{Bridge, CallObserver};
use baton::config::Config;
use baton::ingress;
use baton::net::admission::Admission;
use baton::net::dns::Dns;
use baton::net::listen::{Listening, listen};
use baton::net::media_shard::Shards;
use baton::net::ports::RtpPorts;
use baton::net::{sip_task, streams};
use baton::softphone::{CallPlan, Keep, LiveCall, Outcome};
use baton_core::admission::{self, Lifecycle};
use baton_core::call::Final;
use baton_core::history::{
    Backend, BackendError, BoxFuture, CallFacts, Durability, EndBy, EndKind, Event, Kind, Listed,
    Memory, Session,
};
use baton_core::leg::Leg;
use baton_core::sip::endpoint::Transport;
use baton_core::vocab::{Entropy, HandoffKey};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::baton::PATIENCE;
use crate::support::phone::{answered, ended, hung_up, phone};

/// Somebody's code inside a call's task, which panics once.
#[derive(Debug)]
struct Bomb {
    store: Memory,
    /// Where: when the answer is written down, or when the end is told.
    at_answer: bool,
    is_armed: AtomicBool,
}

impl Bomb {
    fn goes_off(&self) {
        assert!(
            !self.is_armed.swap(false, Ordering::SeqCst),
            "a test's own panic"
        );
    }
}

impl CallObserver for Bomb {
    fn call_ended(&self, _call: &CallFacts, _last: &Final) {
        if !self.at_answer {
            self.goes_off();
        }
    }
}

impl Backend for Bomb {
    fn append(
        &self,
        key: HandoffKey,
        first_seq: u64,
        events: Vec<Event>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let answered = |event: &Event| matches!(event.kind, Kind::Answered);
            if self.at_answer && events.iter().any(answered) {
                self.goes_off();
            }
            self.store.append(key, first_seq, events, durability).await
        })
    }

    fn read(&self, key: HandoffKey) -> BoxFuture<'_, Result<Option<Vec<Event>>, BackendError>> {
        self.store.read(key)
    }

    fn sessions(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Listed>, BackendError>> {
        self.store.sessions(limit)
    }
}

/// A bridge with room for one call, in this process.
struct House {
    address: SocketAddr,
    bomb: Arc<Bomb>,
    registry: Arc<Registry>,
    admission: Admission,
    _lifecycle: watch::Sender<Lifecycle>,
}

fn house(at_answer: bool) -> House {
    let config = Config::default();
    let mut entropy = Entropy::from_number(77);
    let limits = admission::Config {
        max_calls: 1,
        ..admission::Config::default()
    };
    let admission = Admission::new(limits, entropy.fork());
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let wanted = Listening {
        transport: Transport::Udp,
        address: any_port,
    };
    let socket = listen(wanted, "[sip] listen").expect("a free port");
    let listening = socket.listening().expect("a bound socket");
    let signalling = sip_task::start(
        config.endpoint(&[listening]),
        entropy.fork(),
        vec![socket],
        streams::Config::default(),
        Dns::new(&[], Entropy::from_number(78)),
        Some(admission.clone()),
    )
    .expect("within a runtime");
    let bomb = Arc::new(Bomb {
        store: Memory::default(),
        at_answer,
        is_armed: AtomicBool::new(true),
    });
    let lifecycle = watch::Sender::new(Lifecycle::default());
    let registry = Arc::new(Registry::default());
    let shards = Shards::<Leg>::start(1).expect("a thread");
    let bridge = Bridge {
        sip: signalling.handle.clone(),
        shards: shards.handle(),
        ports: RtpPorts::new(Ipv4Addr::LOCALHOST.into(), None, entropy.fork()),
        history: bomb.clone(),
        registry: registry.clone(),
        recorder: None,
        observer: bomb.clone(),
        media: config.voice(),
        node: "n1".into(),
        lifecycle: lifecycle.subscribe(),
        entropy: Mutex::new(entropy.fork()),
    };
    let current = ingress::Current::new(config.ingress());
    tokio::spawn(ingress::sip::serve(
        Arc::new(bridge),
        current,
        signalling.arrivals,
    ));
    House {
        address: signalling.handle.addresses()[0].address,
        bomb,
        registry,
        admission,
        _lifecycle: lifecycle,
    }
}

impl House {
    async fn is_called(&self) -> LiveCall {
        let plan = CallPlan {
            keep: Keep::ALL,
            ..CallPlan::new(format!("sip:bot@{}", self.address))
        };
        phone().start(plan).await.expect("the call can be placed")
    }

    /// Waits until no call has a place.
    async fn is_empty(&self) {
        let mut calls = self.admission.calls();
        let empty = timeout(PATIENCE, calls.wait_for(|calls| *calls == 0)).await;
        assert!(empty.is_ok_and(|seen| seen.is_ok()), "its place is lost");
    }

    async fn session(&self) -> Session {
        let listed = self.bomb.sessions(10).await.expect("memory");
        let key = listed.last().expect("a history was begun").key;
        let events = self.bomb.read(key).await.expect("memory");
        Session::fold(key, &events.expect("it has events"))
    }

    /// The next caller is answered.
    async fn takes_the_next_call(&self) {
        let mut next = self.is_called().await;
        answered(&mut next).await;
        let report = hung_up(next).await;
        assert!(
            matches!(report.outcome, Outcome::Completed { by_us: true, .. }),
            "{:?}",
            report.outcome
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_task_breaks_in_mid_call_is_hung_up_and_its_history_says_why() {
    let house = house(true);
    let call = house.is_called().await;
    let report = timeout(Duration::from_secs(5), ended(call)).await;
    let report = report.expect("the caller is not left in the air");
    assert!(
        matches!(
            report.outcome,
            Outcome::Completed { by_us: false, .. } | Outcome::Refused { status: 500, .. }
        ),
        "{:?}",
        report.outcome
    );
    house.is_empty().await;
    let session = house.session().await;
    let end = session.end.as_ref().expect("the history has an end");
    assert_eq!((end.kind, end.by), (EndKind::Failed, EndBy::Bridge));
    assert_eq!(end.reason, "the call's task broke");
    assert!(session.answered_at.is_some(), "what had happened is kept");
    assert_eq!(house.registry.live_count(), 0, "no ghost on the console");
    let shown = &house.registry.calls()[0];
    assert_eq!(
        shown.end.as_ref().map(|end| end.kind.as_str()),
        Some("failed")
    );
    house.takes_the_next_call().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_task_breaks_at_its_end_keeps_the_end_that_it_had() {
    let house = house(false);
    let mut call = house.is_called().await;
    answered(&mut call).await;
    hung_up(call).await;
    house.is_empty().await;
    let end = house.session().await.end.expect("the history has an end");
    assert_eq!((end.kind, end.by), (EndKind::CallerHungUp, EndBy::Caller));
    assert_eq!(house.registry.live_count(), 0);
    house.takes_the_next_call().await;
}
