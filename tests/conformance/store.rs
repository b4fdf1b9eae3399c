//! The rules of [`Backend`], for every store that keeps histories.
#![expect(
    clippy::disallowed_methods,
    reason = "writers that contend are tasks of their own"
)]

use std::sync::Arc;

use baton::store::embedded::{self, Embedded};
use baton_core::history::{
    Backend, Durability, Event, Kind, Memory, Role, Turn, UnixMillis, WITNESS_SEQ,
};
use baton_core::vocab::{Entropy, HandoffKey};
use tempfile::TempDir;

/// Runs a rule against each store.
macro_rules! every_store {
    ($($rule:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(std::sync::Arc::new(super::Memory::default())).await;
            })+
        }

        mod embedded_store {
            $(#[tokio::test]
            async fn $rule() {
                let dir = super::TempDir::new().expect("a temporary directory");
                super::$rule(std::sync::Arc::new(super::open(&dir))).await;
            })+
        }
    };
}

every_store!(
    events_are_ordered_by_number_whatever_the_order_of_appends,
    a_number_that_is_there_keeps_its_first_event,
    gaps_are_allowed_and_a_witness_writes_far_behind,
    keys_do_not_mix_and_an_unknown_one_is_none,
    recent_sessions_come_newest_first_and_no_more_than_asked_for,
    a_durable_append_of_nothing_is_fine,
    many_writers_of_one_key_lose_nothing,
    every_kind_of_text_comes_back_as_it_was,
);

async fn events_are_ordered_by_number_whatever_the_order_of_appends(store: Arc<dyn Backend>) {
    let [key] = keys();
    append(&*store, key, 4, &["e"]).await;
    append(&*store, key, 0, &["a", "b"]).await;
    append(&*store, key, 2, &["c", "d"]).await;
    assert_eq!(texts(&*store, key).await, ["a", "b", "c", "d", "e"]);
}

async fn a_number_that_is_there_keeps_its_first_event(store: Arc<dyn Backend>) {
    let [key] = keys();
    append(&*store, key, 0, &["a", "b"]).await;
    append(&*store, key, 0, &["x", "y"]).await;
    append(&*store, key, 1, &["z", "c"]).await;
    assert_eq!(texts(&*store, key).await, ["a", "b", "c"]);
}

async fn gaps_are_allowed_and_a_witness_writes_far_behind(store: Arc<dyn Backend>) {
    let [key] = keys();
    append(&*store, key, WITNESS_SEQ + 17, &["witness"]).await;
    append(&*store, key, 10, &["ten"]).await;
    append(&*store, key, 0, &["zero"]).await;
    assert_eq!(texts(&*store, key).await, ["zero", "ten", "witness"]);
}

async fn keys_do_not_mix_and_an_unknown_one_is_none(store: Arc<dyn Backend>) {
    let [one, other, unknown] = keys();
    append(&*store, one, 0, &["one"]).await;
    append(&*store, other, 0, &["other"]).await;
    assert_eq!(texts(&*store, one).await, ["one"]);
    assert_eq!(texts(&*store, other).await, ["other"]);
    assert_eq!(store.read(unknown).await, Ok(None));
}

async fn recent_sessions_come_newest_first_and_no_more_than_asked_for(store: Arc<dyn Backend>) {
    let keys: [HandoffKey; 3] = keys();
    for (key, at) in keys.iter().zip([5_000, 9_000, 7_000]) {
        let events = vec![said(at, "hello"), said(at + 60_000, "much later")];
        store
            .append(*key, 0, events, Durability::Durable)
            .await
            .expect("room");
    }
    let listed = store.sessions(2).await.expect("a list");
    let seen: Vec<_> = listed
        .iter()
        .map(|session| (session.key, session.started_at.0))
        .collect();
    assert_eq!(seen, [(keys[1], 9_000), (keys[2], 7_000)]);
    assert_eq!(store.sessions(100).await.expect("a list").len(), 3);
    assert_eq!(store.sessions(0).await, Ok(Vec::new()));
}

async fn a_durable_append_of_nothing_is_fine(store: Arc<dyn Backend>) {
    let [key] = keys();
    append(&*store, key, 0, &["before"]).await;
    store
        .append(key, 1, Vec::new(), Durability::Durable)
        .await
        .expect("room");
    assert_eq!(texts(&*store, key).await, ["before"]);
}

async fn many_writers_of_one_key_lose_nothing(store: Arc<dyn Backend>) {
    let [key] = keys();
    let writers = (0..32_u64).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let durability = if n % 4 == 0 {
                Durability::Durable
            } else {
                Durability::Buffered
            };
            let events = vec![said(n, &n.to_string()), said(n, "again")];
            // Each overlaps the next by one number: one of the two is kept.
            store.append(key, n, events, durability).await
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic").expect("room");
    }
    assert_eq!(texts(&*store, key).await.len(), 33);
}

async fn every_kind_of_text_comes_back_as_it_was(store: Arc<dyn Backend>) {
    let [key] = keys();
    let long = "long ".repeat(3_000);
    let all = [
        "",
        "\0\u{1}\u{7f}",
        "\"quotes\" \\ and\r\nlines",
        "łódź 東京 🎈",
        &long,
    ];
    append(&*store, key, 0, &all).await;
    assert_eq!(texts(&*store, key).await, all);
}

#[tokio::test]
async fn what_the_embedded_store_took_is_there_when_it_is_opened_again() {
    let dir = TempDir::new().expect("a temporary directory");
    let [key] = keys();
    {
        let store = open(&dir);
        append(&store, key, 0, &["kept"]).await;
    }
    assert_eq!(texts(&open(&dir), key).await, ["kept"]);
}

fn open(dir: &TempDir) -> Embedded {
    Embedded::open(dir.path(), embedded::Config::default()).expect("it can be written")
}

fn keys<const N: usize>() -> [HandoffKey; N] {
    let mut entropy = Entropy::from_number(11);
    std::array::from_fn(|_| HandoffKey::generate(&mut entropy))
}

async fn append(store: &dyn Backend, key: HandoffKey, first: u64, texts: &[&str]) {
    let events = texts.iter().map(|text| said(1_000, text)).collect();
    store
        .append(key, first, events, Durability::Buffered)
        .await
        .expect("room");
}

async fn texts(store: &dyn Backend, key: HandoffKey) -> Vec<String> {
    let events = store
        .read(key)
        .await
        .expect("readable")
        .expect("it is there");
    let text = |event: Event| {
        if let Kind::Turn(turn) = event.kind {
            turn.text
        } else {
            format!("{:?}", event.kind)
        }
    };
    events.into_iter().map(text).collect()
}

fn said(at: u64, text: &str) -> Event {
    let turn = Turn {
        role: Role::Caller,
        text: text.into(),
        from_ms: None,
        to_ms: None,
        heard_ms: None,
    };
    Event::new(UnixMillis(at), Kind::Turn(turn))
}
