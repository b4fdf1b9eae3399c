//! Recordings: stereo WAV files, written by one thread for the whole node, off the media path.
//!
//! A leg never waits: what the queue does not take is made up for with silence, so that the two sides stay on one
//! timeline. A disk that is full or slow costs audio in the file and nothing in the call.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use baton_core::leg::Tape;
use baton_core::media::wav;
use baton_core::vocab::CallId;

/// Chunks of 250 ms waiting for the disk, of all calls together: two seconds of 500 calls.
const QUEUE: usize = 4_096;
/// Octets of one stereo sample.
const SAMPLE: usize = 4;

enum Job {
    Begin {
        id: u64,
        path: PathBuf,
    },
    Write {
        id: u64,
        silence: usize,
        chunk: Vec<i16>,
    },
    Finish {
        id: u64,
    },
}

/// The way to the recordings' thread; it ends when the last one is gone.
#[derive(Clone)]
pub struct Recorder {
    dir: PathBuf,
    jobs: SyncSender<Job>,
    next: std::sync::Arc<std::sync::atomic::AtomicU64>,
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
        std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || work(&queue))?;
        Ok(Self {
            dir: dir.into(),
            jobs,
            next: std::sync::Arc::default(),
        })
    }

    /// A new recording, and its file's name within the directory.
    pub fn record(&self, call: &CallId) -> (String, Box<dyn Tape>) {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("{call}.wav");
        let begun = self
            .jobs
            .try_send(Job::Begin {
                id,
                path: self.dir.join(&name),
            })
            .is_ok();
        if !begun {
            tracing::warn!(%call, "the recorder is behind: this call is not recorded");
        }
        (
            name,
            Box::new(FileTape {
                id,
                jobs: self.jobs.clone(),
                owed: 0,
            }),
        )
    }
}

/// One call's end of the queue.
struct FileTape {
    id: u64,
    jobs: SyncSender<Job>,
    /// Stereo samples that the queue did not take.
    owed: usize,
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
        // When even this does not fit, the file keeps the length it was last given: still playable.
        let _ = self.jobs.try_send(Job::Finish { id: self.id });
    }
}

fn work(queue: &Receiver<Job>) {
    let mut open = HashMap::new();
    while let Ok(job) = queue.recv() {
        match job {
            Job::Begin { id, path } => match Recording::create(&path) {
                Ok(recording) => {
                    open.insert(id, recording);
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "not recorded"),
            },
            Job::Write { id, silence, chunk } => {
                let failed = open
                    .get_mut(&id)
                    .and_then(|file| file.append(silence, &chunk).err());
                if let Some(error) = failed {
                    tracing::warn!(%error, "the rest of a call is not recorded");
                    open.remove(&id);
                }
            }
            Job::Finish { id } => {
                if let Some(Err(error)) = open.remove(&id).map(Recording::finish) {
                    tracing::warn!(%error, "a recording may be short");
                }
            }
        }
    }
}

/// One open file. Its header is right after each second, so that a crash leaves something to listen to.
struct Recording {
    file: File,
    octets: usize,
    told: usize,
}

impl Recording {
    fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(&wav::header(8_000, 2, 0))?;
        Ok(Self {
            file,
            octets: 0,
            told: 0,
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
        let mut recording = Recording::create(&path).unwrap();
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

    #[test]
    fn calls_are_written_side_by_side_and_finished_when_their_tape_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (jobs, queue) = sync_channel(QUEUE);
        let recorder = Recorder {
            dir: dir.path().into(),
            jobs,
            next: std::sync::Arc::default(),
        };
        let (one, mut first) = recorder.record(&CallId::from("call-1"));
        let (two, mut second) = recorder.record(&CallId::from("call-2"));
        first.write(vec![1; 8]);
        second.write(vec![2; 16]);
        first.write(vec![1; 8]);
        drop((first, second, recorder));
        work(&queue);
        let length = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
        assert_eq!(length(&one), length(&two));
    }
}
