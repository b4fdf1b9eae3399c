//! Disasters the embedded store survives, on real files and on a disk that forgets what was not synced.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};

use redb::{Builder, StorageBackend};

use baton_core::history::{Kind, Role, Turn};
use baton_core::vocab::Entropy;

use super::*;

/// A disk in memory. What was written but not synced is lost with the power; it can run full.
#[derive(Debug, Default)]
struct Disk {
    written: Mutex<Vec<u8>>,
    durable: Mutex<Vec<u8>>,
    syncs: Mutex<u64>,
    synced: Condvar,
    full: AtomicBool,
}

#[derive(Debug, Clone, Default)]
struct DiskHandle(Arc<Disk>);

impl DiskHandle {
    /// The same disk after the power came back.
    fn after_power_loss(&self) -> Self {
        let durable = self.0.durable.lock().unwrap().clone();
        Self(Arc::new(Disk {
            written: Mutex::new(durable.clone()),
            durable: Mutex::new(durable),
            ..Disk::default()
        }))
    }

    fn syncs(&self) -> u64 {
        *self.0.syncs.lock().unwrap()
    }

    fn wait_for_a_sync_after(&self, count: u64) {
        let syncs = self.0.syncs.lock().unwrap();
        let waited = self
            .0
            .synced
            .wait_timeout_while(syncs, Duration::from_secs(10), |now| *now <= count)
            .unwrap();
        assert!(!waited.1.timed_out(), "nothing reached the disk");
    }

    fn set_full(&self, full: bool) {
        self.0.full.store(full, Ordering::SeqCst);
    }

    fn open(&self, clock: Clock) -> Embedded {
        let disk = self.clone();
        let open = Box::new(move || Builder::new().create_with_backend(disk.clone()));
        let database = Reopening::new("in memory".into(), open).unwrap();
        Embedded::start(database, Config::default(), clock).unwrap()
    }
}

impl StorageBackend for DiskHandle {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.written.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let at = usize::try_from(offset).unwrap();
        let written = self.0.written.lock().unwrap();
        let octets = written
            .get(at..at + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(octets);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.room()?;
        self.0
            .written
            .lock()
            .unwrap()
            .resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.room()?;
        let written = self.0.written.lock().unwrap().clone();
        *self.0.durable.lock().unwrap() = written;
        *self.0.syncs.lock().unwrap() += 1;
        self.0.synced.notify_all();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.room()?;
        let at = usize::try_from(offset).unwrap();
        self.0.written.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

impl DiskHandle {
    fn room(&self) -> Result<(), io::Error> {
        if self.0.full.load(Ordering::SeqCst) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

fn keys<const N: usize>() -> [HandoffKey; N] {
    let mut entropy = Entropy::from_number(7);
    std::array::from_fn(|_| HandoffKey::generate(&mut entropy))
}

fn said(at: u64, text: &str) -> Event {
    Event::new(
        UnixMillis(at),
        Kind::Turn(Turn {
            role: Role::Caller,
            text: text.into(),
            from_ms: None,
            to_ms: None,
            heard_ms: None,
        }),
    )
}

fn clock_at(ms: u64) -> (Arc<AtomicU64>, Clock) {
    let time = Arc::new(AtomicU64::new(ms));
    let reader = Arc::clone(&time);
    (
        time,
        Arc::new(move || UnixMillis(reader.load(Ordering::SeqCst))),
    )
}

async fn texts(store: &Embedded, key: HandoffKey) -> Vec<String> {
    let events = store.read(key).await.unwrap().unwrap_or_default();
    events
        .into_iter()
        .filter_map(|event| {
            if let Kind::Turn(turn) = event.kind {
                Some(turn.text)
            } else {
                None
            }
        })
        .collect()
}

async fn append(store: &Embedded, key: HandoffKey, seq: u64, durability: Durability) {
    let events = vec![said(seq, &format!("turn {seq}"))];
    store.append(key, seq, events, durability).await.unwrap();
}

#[tokio::test]
async fn what_was_said_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let [key, other] = keys();
    let store = Embedded::open(dir.path(), Config::default()).unwrap();
    append(&store, key, 0, Durability::Durable).await;
    append(&store, key, 1, Durability::Buffered).await;
    drop(store);
    let store = Embedded::open(dir.path(), Config::default()).unwrap();
    assert_eq!(texts(&store, key).await, ["turn 0", "turn 1"]);
    assert_eq!(store.read(other).await, Ok(None));
}

#[tokio::test]
async fn a_buffered_turn_can_be_read_at_once() {
    let (_, clock) = clock_at(5);
    let [key] = keys();
    let store = DiskHandle::default().open(clock);
    append(&store, key, 0, Durability::Buffered).await;
    assert_eq!(texts(&store, key).await, ["turn 0"]);
}

#[tokio::test]
async fn a_durable_append_survives_a_power_loss_with_all_before_it() {
    let (_, clock) = clock_at(5);
    let [key] = keys();
    let disk = DiskHandle::default();
    let store = disk.open(Arc::clone(&clock));
    for seq in 0..10 {
        append(&store, key, seq, Durability::Buffered).await;
    }
    append(&store, key, 10, Durability::Durable).await;
    let survivor = disk.after_power_loss().open(clock);
    assert_eq!(texts(&survivor, key).await.len(), 11);
}

#[tokio::test]
async fn a_durable_append_of_nothing_makes_durable_what_came_before() {
    let (_, clock) = clock_at(5);
    let [key] = keys();
    let disk = DiskHandle::default();
    let store = disk.open(Arc::clone(&clock));
    append(&store, key, 0, Durability::Buffered).await;
    let nothing = store.append(key, 1, Vec::new(), Durability::Durable);
    assert_eq!(nothing.await, Ok(()));
    let survivor = disk.after_power_loss().open(clock);
    assert_eq!(texts(&survivor, key).await, ["turn 0"]);
}

#[tokio::test]
async fn a_killed_process_leaves_a_file_that_opens() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let [key] = keys();
    let store = Embedded::open(dir.path(), Config::default()).unwrap();
    append(&store, key, 0, Durability::Durable).await;
    let file = store.database.path();
    std::fs::copy(file, copy.path().join("baton.redb")).unwrap();
    let survivor = Embedded::open(copy.path(), Config::default()).unwrap();
    assert_eq!(texts(&survivor, key).await, ["turn 0"]);
}

#[tokio::test]
async fn a_buffered_turn_reaches_the_disk_by_itself() {
    let (_, clock) = clock_at(5);
    let [key] = keys();
    let disk = DiskHandle::default();
    let store = disk.open(Arc::clone(&clock));
    let before = disk.syncs();
    append(&store, key, 0, Durability::Buffered).await;
    disk.wait_for_a_sync_after(before);
    let survivor = disk.after_power_loss().open(clock);
    assert_eq!(texts(&survivor, key).await, ["turn 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_commit_at_once_and_share_the_disk() {
    let (_, clock) = clock_at(5);
    let disk = DiskHandle::default();
    let store = Arc::new(disk.open(clock));
    let sessions: [HandoffKey; 40] = keys();
    let before = disk.syncs();
    let mut calls = tokio::task::JoinSet::new();
    for key in sessions {
        let store = Arc::clone(&store);
        calls.spawn(async move {
            for seq in 0..10 {
                append(&store, key, seq, Durability::Durable).await;
            }
        });
    }
    calls.join_all().await;
    for key in sessions {
        assert_eq!(texts(&store, key).await.len(), 10);
    }
    let syncs = disk.syncs() - before;
    assert!(syncs < 400, "{syncs} syncs for 400 commits");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_hides_only_itself() {
    let (_, clock) = clock_at(5);
    let [key] = keys();
    let store = DiskHandle::default().open(clock);
    append(&store, key, 0, Durability::Durable).await;
    append(&store, key, 2, Durability::Durable).await;
    store
        .database
        .write(redb::Durability::Immediate, |transaction| {
            let table = redb::TableDefinition::<(layout::Key, u64), &[u8]>::new("events");
            let mut events = transaction.open_table(table)?;
            events.insert((layout::key(key), 1), b"\xff\x00not json".as_slice())?;
            Ok(())
        })
        .unwrap();
    assert_eq!(texts(&store, key).await, ["turn 0", "turn 2"]);
}

#[tokio::test]
async fn an_expired_session_is_unreadable_and_takes_nothing_more() {
    let (time, clock) = clock_at(1_000);
    let [key, young] = keys();
    let store = DiskHandle::default().open(clock);
    append(&store, key, 0, Durability::Durable).await;
    let ttl = 24 * 3_600_000;
    time.store(1_000 + ttl - 1, Ordering::SeqCst);
    assert_eq!(texts(&store, key).await, ["turn 0"]);
    append(&store, young, 0, Durability::Durable).await;
    time.store(1_000 + ttl, Ordering::SeqCst);
    assert_eq!(store.read(key).await, Ok(None));
    let late = store.append(key, 1, vec![said(9, "late")], Durability::Durable);
    assert_eq!(late.await, Err(BackendError::Expired));
    let listed = store.sessions(10).await.unwrap();
    assert_eq!(listed.iter().map(|l| l.key).collect::<Vec<_>>(), [young]);
}

#[tokio::test]
async fn a_session_that_is_written_to_lives_on() {
    let (time, clock) = clock_at(1_000);
    let [key] = keys();
    let store = DiskHandle::default().open(clock);
    append(&store, key, 0, Durability::Durable).await;
    time.store(20 * 3_600_000, Ordering::SeqCst);
    append(&store, key, 1, Durability::Durable).await;
    time.store(40 * 3_600_000, Ordering::SeqCst);
    assert_eq!(texts(&store, key).await, ["turn 0", "turn 1"]);
}

#[tokio::test]
async fn sweeping_takes_what_expired_in_small_portions_and_nothing_else() {
    let (_, clock) = clock_at(1_000);
    let [old, older, young] = keys();
    let store = DiskHandle::default().open(clock);
    for key in [old, older] {
        let events = (0..900).map(|n| said(n, "x")).collect();
        let appended = store.append(key, 0, events, Durability::Durable);
        appended.await.unwrap();
    }
    append(&store, young, 0, Durability::Durable).await;
    let later = UnixMillis(1_000 + 24 * 3_600_000);
    let mut portions = 0;
    let sweep = || {
        store
            .database
            .write(redb::Durability::None, |t| layout::sweep(t, later))
            .unwrap()
    };
    // The young one has the same age here, so all three go: in portions of 512 events.
    while sweep() == layout::Swept::Some {
        portions += 1;
    }
    assert_eq!(portions, 3);
    assert_eq!(sweep(), layout::Swept::Nothing);
    assert_eq!(store.sessions(10).await, Ok(vec![]));
    append(&store, young, 0, Durability::Durable).await;
    assert_eq!(texts(&store, young).await, ["turn 0"]);
}

#[tokio::test]
async fn a_full_disk_is_said_and_forgotten_once_it_has_room() {
    let (_, clock) = clock_at(5);
    let [key] = keys();
    let disk = DiskHandle::default();
    let store = disk.open(Arc::clone(&clock));
    append(&store, key, 0, Durability::Buffered).await;
    disk.set_full(true);
    for _ in 0..2 {
        let refused = store.append(key, 1, vec![said(1, "lost")], Durability::Durable);
        assert_eq!(refused.await, Err(BackendError::Full));
    }
    disk.set_full(false);
    append(&store, key, 1, Durability::Durable).await;
    assert_eq!(texts(&store, key).await, ["turn 0", "turn 1"]);
    let survivor = disk.after_power_loss().open(clock);
    assert_eq!(texts(&survivor, key).await, ["turn 0", "turn 1"]);
}

#[tokio::test]
async fn order_is_by_number_repeats_change_nothing_and_gaps_are_fine() {
    let (_, clock) = clock_at(5);
    let [key] = keys();
    let store = DiskHandle::default().open(clock);
    append(
        &store,
        key,
        baton_core::history::WITNESS_SEQ,
        Durability::Durable,
    )
    .await;
    append(&store, key, 3, Durability::Buffered).await;
    append(&store, key, 0, Durability::Buffered).await;
    let repeat = vec![said(0, "another"), said(1, "turn 1")];
    store
        .append(key, 0, repeat, Durability::Durable)
        .await
        .unwrap();
    let nothing = store.append(key, 9, Vec::new(), Durability::Durable);
    nothing.await.unwrap();
    let last = format!("turn {}", baton_core::history::WITNESS_SEQ);
    assert_eq!(
        texts(&store, key).await,
        ["turn 0", "turn 1", "turn 3", last.as_str()]
    );
}

#[tokio::test]
async fn recent_sessions_come_newest_first_by_their_first_event() {
    let (_, clock) = clock_at(50);
    let store = DiskHandle::default().open(clock);
    let [a, b, c] = keys();
    for (key, at) in [(a, 5), (b, 9), (c, 7)] {
        let appended = store.append(key, 4, vec![said(at, "x")], Durability::Buffered);
        appended.await.unwrap();
    }
    // Its beginning arrives late: from here it is the oldest.
    let beginning = store.append(b, 0, vec![said(1, "x")], Durability::Buffered);
    beginning.await.unwrap();
    let listed = store.sessions(2).await.unwrap();
    let times: Vec<_> = listed.iter().map(|l| (l.key, l.started_at.0)).collect();
    assert_eq!(times, [(c, 7), (a, 5)]);
    assert_eq!(store.sessions(0).await, Ok(vec![]));
}

#[test]
fn a_store_in_use_names_the_process_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Embedded::open(dir.path(), Config::default()).unwrap();
    let error = Embedded::open(dir.path(), Config::default()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    let me = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&me), "{error}");
}

#[test]
fn a_store_is_free_again_once_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        drop(Embedded::open(dir.path(), Config::default()).unwrap());
    }
    assert!(dir.path().join("baton.redb").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("taken");
    std::fs::write(&file, "a file").unwrap();
    let error = Embedded::open(file.join("store"), Config::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
    assert!(error.to_string().contains("[store] url"), "{error}");
}

#[test]
fn a_foreign_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("baton.redb");
    std::fs::write(
        &file,
        "This is somebody's diary, not a database.".repeat(500),
    )
    .unwrap();
    let error = Embedded::open(dir.path(), Config::default()).unwrap_err();
    assert!(matches!(error, OpenError::Unreadable { .. }), "{error:?}");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .starts_with("This is")
    );
}

#[test]
fn a_full_disk_at_start_is_named_as_such() {
    let disk = DiskHandle::default();
    disk.set_full(true);
    let open = Box::new(move || Builder::new().create_with_backend(disk.clone()));
    let error = Reopening::new("in memory".into(), open).err().unwrap();
    assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn nobody_else_on_the_machine_may_read_histories() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path().join("data"), Config::default()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(store.database.path()), 0o600);
    assert_eq!(mode(&dir.path().join("data")), 0o700);
}
