//! Recordings: stereo WAV files, written by one thread for the whole node, off the media path.
//!
//! A leg never waits: what the queue does not take is made up for with silence, so that the two sides stay on one
//! timeline. A disk that is full or slow costs audio in the file and nothing in the call.
//!
//! The end of a tape is not a message alone, which a full queue could lose: the thread also looks, now and then, for
//! tapes that are gone, and closes their files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use baton_core::leg::Tape;
use baton_core::media::wav;
use baton_core::vocab::CallId;

/// Chunks of 250 ms waiting for the disk, of all calls together: two seconds of 500 calls.
const QUEUE: usize = 4_096;
/// A queue that is empty for so long: time to look for tapes that are gone.
const IDLE: Duration = Duration::from_secs(1);
/// The last handle waits this long for the disk; what is not written then is lost with the process.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Octets of one stereo sample.
const SAMPLE: usize = 4;

enum Job {
    Begin {
        id: u64,
        path: PathBuf,
        tape: Weak<()>,
    },
    Write {
        id: u64,
        silence: usize,
        chunk: Vec<i16>,
    },
    Finish {
        id: u64,
    },
    /// Only wakes the thread, which then sees that it is to stop.
    Stop,
}

/// The way to the recordings' thread. When the last one is gone, every file is finished.
#[derive(Clone)]
pub struct Recorder {
    dir: PathBuf,
    jobs: SyncSender<Job>,
    next: Arc<AtomicU64>,
    /// Held for its end.
    _thread: Arc<Thread>,
}

/// The thread, and how it is told to stop.
struct Thread {
    jobs: SyncSender<Job>,
    stopping: Arc<AtomicBool>,
    /// Disconnected when the thread's work is done.
    done: Mutex<Receiver<()>>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // A full queue wakes the thread just as well.
        let _ = self.jobs.try_send(Job::Stop);
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        if done.recv_timeout(LAST_WORDS) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the disk is too slow: the last recordings may be short");
        } else if self
            .handle
            .take()
            .is_some_and(|handle| handle.join().is_err())
        {
            tracing::error!("the recorder's thread panicked");
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// Starts the thread; the directory is made when it is not there.
    ///
    /// # Errors
    /// The directory cannot be made or written to.
    pub fn start(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let probe = dir.join(".baton-probe");
        File::create(&probe)?;
        std::fs::remove_file(&probe)?;
        let (jobs, queue) = sync_channel(QUEUE);
        let (working, done) = sync_channel(0);
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let handle = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || {
                work(&queue, &stop);
                drop(working);
            })?;
        let thread = Thread {
            jobs: jobs.clone(),
            stopping,
            done: Mutex::new(done),
            handle: Some(handle),
        };
        Ok(Self {
            dir: dir.into(),
            jobs,
            next: Arc::default(),
            _thread: Arc::new(thread),
        })
    }

    /// A new recording, and its file's name within the directory; `None` when the thread is too far behind.
    pub fn record(&self, call: &CallId) -> Option<(String, Box<dyn Tape>)> {
        let name = format!("{call}.wav");
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let tape = FileTape::begin(id, self.jobs.clone(), self.dir.join(&name));
        if tape.is_none() {
            tracing::warn!(%call, "the recorder is behind: this call is not recorded");
        }
        Some((name, Box::new(tape?)))
    }
}

/// One call's end of the queue.
struct FileTape {
    id: u64,
    jobs: SyncSender<Job>,
    /// Stereo samples that the queue did not take.
    owed: usize,
    /// Gone with the tape, as the thread can see.
    _alive: Arc<()>,
}

impl FileTape {
    /// `None`: the queue is full.
    fn begin(id: u64, jobs: SyncSender<Job>, path: PathBuf) -> Option<Self> {
        let alive = Arc::new(());
        let tape = Arc::downgrade(&alive);
        jobs.try_send(Job::Begin { id, path, tape }).ok()?;
        Some(Self {
            id,
            jobs,
            owed: 0,
            _alive: alive,
        })
    }
}

impl Tape for FileTape {
    fn write(&mut self, chunk: Vec<i16>) {
        let samples = chunk.len() / 2;
        match self.jobs.try_send(Job::Write {
            id: self.id,
            silence: self.owed,
            chunk,
        }) {
            Ok(()) => self.owed = 0,
            Err(TrySendError::Full(_)) => self.owed += samples,
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

impl Drop for FileTape {
    fn drop(&mut self) {
        // When this does not fit, the thread finds out by itself, a little later.
        let _ = self.jobs.try_send(Job::Finish { id: self.id });
    }
}

fn work(queue: &Receiver<Job>, stopping: &AtomicBool) {
    let mut files = Files::default();
    let mut since_sweep = 0;
    while !stopping.load(Ordering::Acquire) {
        match queue.recv_timeout(IDLE) {
            Ok(job) => {
                files.take(job);
                since_sweep += 1;
            }
            Err(RecvTimeoutError::Timeout) => since_sweep = QUEUE,
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if since_sweep >= QUEUE {
            files.sweep();
            since_sweep = 0;
        }
    }
    // What was queued before the stop; tapes that still run are cut here.
    queue.try_iter().take(QUEUE).for_each(|job| files.take(job));
    files.finish_all();
}

/// The files that are being written.
#[derive(Default)]
struct Files {
    open: HashMap<u64, Recording>,
    /// Tapes that were found gone at the last sweep.
    gone: Vec<u64>,
}

impl Files {
    fn take(&mut self, job: Job) {
        match job {
            Job::Begin { id, path, tape } => match Recording::create(&path, tape) {
                Ok(recording) => {
                    self.open.insert(id, recording);
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "not recorded"),
            },
            Job::Write { id, silence, chunk } => {
                let file = self.open.get_mut(&id);
                if let Some(error) = file.and_then(|file| file.append(silence, &chunk).err()) {
                    tracing::warn!(%error, "the rest of a call is not recorded");
                    self.open.remove(&id);
                }
            }
            Job::Finish { id } => self.finish(id),
            Job::Stop => {}
        }
    }

    /// Finishes what the last sweep found gone, and looks again. Between two sweeps the queue was empty once or a
    /// whole queue was taken, so nothing of a tape that was gone at the last one can still be waiting.
    fn sweep(&mut self) {
        for id in std::mem::take(&mut self.gone) {
            self.finish(id);
        }
        let gone = |(id, file): (&u64, &Recording)| (file.tape.strong_count() == 0).then_some(*id);
        self.gone = self.open.iter().filter_map(gone).collect();
    }

    fn finish(&mut self, id: u64) {
        if let Some(Err(error)) = self.open.remove(&id).map(Recording::finish) {
            tracing::warn!(%error, "a recording may be short");
        }
    }

    fn finish_all(&mut self) {
        let ids: Vec<_> = self.open.keys().copied().collect();
        for id in ids {
            self.finish(id);
        }
    }
}

/// One open file. Its header is right after each second, so that a crash leaves something to listen to.
struct Recording {
    file: File,
    octets: usize,
    told: usize,
    /// Dead when its tape is gone.
    tape: Weak<()>,
}

impl Recording {
    fn create(path: &Path, tape: Weak<()>) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(&wav::header(8_000, 2, 0))?;
        Ok(Self {
            file,
            octets: 0,
            told: 0,
            tape,
        })
    }

    fn append(&mut self, silence: usize, chunk: &[i16]) -> io::Result<()> {
        let mut octets = vec![0; silence * SAMPLE];
        octets.extend(wav::octets(chunk));
        self.file.write_all(&octets)?;
        self.octets += octets.len();
        if self.octets >= self.told + 8_000 * SAMPLE {
            self.tell_length()
        } else {
            Ok(())
        }
    }

    fn tell_length(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.octets).unwrap_or(u32::MAX);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&wav::header(8_000, 2, length))?;
        self.file.seek(SeekFrom::End(0))?;
        self.told = self.octets;
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.tell_length()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_a_stereo_wav_with_silence_where_the_queue_was_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        let mut recording = Recording::create(&path, Weak::new()).unwrap();
        recording.append(0, &[1, -1, 2, -2]).unwrap();
        recording.append(2, &[3, -3]).unwrap();
        recording.finish().unwrap();
        let file = std::fs::read(&path).unwrap();
        let samples: Vec<i16> = file[file.len() - 20..]
            .chunks(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        assert_eq!(samples, [1, -1, 2, -2, 0, 0, 0, 0, 3, -3]);
        assert_eq!(wav::read(&file).unwrap().channels, 2);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error_at_the_start() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Recorder::start(file.path()).is_err());
    }

    fn samples(path: &Path) -> usize {
        let file = std::fs::read(path).unwrap();
        wav::read(&file).unwrap().samples.len()
    }

    #[test]
    fn calls_are_written_side_by_side_and_are_whole_when_the_last_handle_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = Recorder::start(dir.path()).unwrap();
        let (one, mut first) = recorder.record(&CallId::from("call-1")).unwrap();
        let (two, mut second) = recorder.record(&CallId::from("call-2")).unwrap();
        first.write(vec![1; 8]);
        second.write(vec![2; 16]);
        first.write(vec![1; 8]);
        drop(first);
        // The second call still runs when the node stops.
        drop(recorder);
        assert_eq!(samples(&dir.path().join(one)), 16);
        assert_eq!(samples(&dir.path().join(two)), 16);
        second.write(vec![2; 16]);
    }

    #[test]
    fn a_queue_that_is_full_gives_no_name_of_a_file_that_will_not_be() {
        let (jobs, _queue) = sync_channel(1);
        let begin = |id| FileTape::begin(id, jobs.clone(), PathBuf::from("call.wav"));
        let first = begin(0);
        assert!(first.is_some());
        assert!(begin(1).is_none());
    }

    #[test]
    fn a_tape_whose_end_did_not_fit_into_the_queue_is_finished_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        let (jobs, queue) = sync_channel(2);
        let mut tape = FileTape::begin(7, jobs, path.clone()).unwrap();
        tape.write(vec![1; 8]);
        let mut files = Files::default();
        files.take(queue.recv().unwrap());
        files.sweep();
        files.sweep();
        assert_eq!(files.open.len(), 1, "a tape that runs stays open");
        tape.write(vec![1; 8]);
        drop(tape);
        files.sweep();
        assert_eq!(
            files.open.len(),
            1,
            "what it wrote last may still be queued"
        );
        while let Ok(job) = queue.try_recv() {
            files.take(job);
        }
        files.sweep();
        assert!(files.open.is_empty());
        assert_eq!(samples(&path), 16);
    }
}
