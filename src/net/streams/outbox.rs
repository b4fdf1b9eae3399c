//! What waits to be written to one connection: bounded in messages and octets, so that a peer that does not read costs
//! little and nobody else waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Messages that wait.
const MESSAGES: usize = 256;
/// Their octets. One message is always taken, whatever its size.
const OCTETS: usize = 128 * 1024;

/// The owner's end. Dropping it lets what waits be written, and then ends the connection.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// The connection's end.
#[derive(Debug)]
pub(super) struct Mail {
    queue: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// The peer does not read, or is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Both ends.
pub(super) fn outbox() -> (Outbox, Mail) {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    let waiting = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox {
        queue: sender,
        waiting: waiting.clone(),
    };
    let mail = Mail {
        queue: receiver,
        waiting,
    };
    (outbox, mail)
}

impl Outbox {
    /// Takes a message without waiting.
    pub(super) fn post(&self, message: Bytes) -> Result<(), Full> {
        let (octets, waiting) = (message.len(), self.waiting.load(Ordering::Relaxed));
        if waiting > 0 && waiting + octets > OCTETS {
            return Err(Full);
        }
        // Counted before it can be written, so that the count never falls below what is there.
        self.waiting.fetch_add(octets, Ordering::Relaxed);
        self.queue.try_send(message).map_err(|_| Full)
    }
}

impl Mail {
    /// The next message; `None` when the owner has let go and all is written. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        self.queue.recv().await
    }

    /// A message is with the kernel.
    pub(super) fn written(&self, octets: usize) {
        self.waiting.fetch_sub(octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_read_is_bounded_in_octets_and_in_messages() {
        let (sender, mut mail) = outbox();
        let large = Bytes::from(vec![b'x'; 60 * 1024]);
        assert_eq!(sender.post(large.clone()), Ok(()));
        assert_eq!(sender.post(large.clone()), Ok(()));
        assert_eq!(sender.post(large.clone()), Err(Full));
        let first = mail.next().await.unwrap();
        mail.written(first.len());
        assert_eq!(sender.post(large), Ok(()));

        let (sender, _mail) = outbox();
        let tiny = || sender.post(Bytes::from_static(b"x"));
        let taken = std::iter::from_fn(|| tiny().ok()).count();
        assert_eq!(taken, MESSAGES);
    }

    #[test]
    fn one_message_is_taken_whatever_its_size_and_none_when_nobody_writes() {
        let (sender, mail) = outbox();
        assert_eq!(sender.post(Bytes::from(vec![0; 2 * OCTETS])), Ok(()));
        drop(mail);
        let (gone, mail) = outbox();
        drop(mail);
        assert_eq!(gone.post(Bytes::from_static(b"x")), Err(Full));
    }
}
