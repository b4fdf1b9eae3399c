//! One connection: opened, read into messages, written from its outbox, ended. One task runs it, and tells the owner of
//! all connections what comes in by a bounded queue: a peer that sends more than we take is slowed by its own window.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use baton_core::sip::message::framing::{Framer, FramingError};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::census::ConnectionId;
use super::limits::Limits;
use super::outbox::Mail;

/// Octets read at once: on the stack, and only while reading, so a silent connection holds no buffer.
const READ: usize = 16 * 1024;
/// What a connection that ends may still take to write its last answers, and to have them read.
const FAREWELL: Duration = Duration::from_secs(2);
/// Octets of what nobody wants any more that are read away, so that the peer's last answer is not lost to a reset.
const LEFTOVERS: usize = 256 * 1024;

/// News from one connection.
#[derive(Debug)]
pub(super) struct News {
    pub(super) from: ConnectionId,
    pub(super) said: Said,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Said {
    /// It is open; these names were verified.
    Open(Vec<String>),
    /// A whole message.
    Message(Bytes),
    /// A keep-alive; it has been answered.
    Ping,
    /// It ends. What is in its outbox is still written.
    Ended(End),
}

/// Why it ended.
#[derive(Debug)]
pub(super) enum End {
    /// The peer closed it, or it broke.
    Gone,
    /// The next message cannot be found.
    Framing(FramingError),
    /// A deadline passed.
    Deadline,
    /// It was never open.
    Unopened(String),
    /// A TLS handshake with somebody who came to us failed.
    Handshake,
}

/// Who tells the owner.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    pub(super) id: ConnectionId,
    pub(super) news: mpsc::Sender<News>,
}

impl Teller {
    /// Waits for room: that is how a flood is slowed.
    async fn tell(&self, said: Said) -> Result<(), End> {
        let news = News {
            from: self.id,
            said,
        };
        self.news.send(news).await.map_err(|_| End::Gone)
    }
}

/// Who opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// They, at this moment.
    Peer(Instant),
    /// We did.
    Us,
}

/// An open stream, and the names its peer proved.
#[derive(Debug)]
pub(super) struct Opened<S> {
    pub(super) stream: S,
    pub(super) identity: Vec<String>,
}

/// Runs one connection to its end.
///
/// * `opening`: connects or shakes hands, within its own deadlines.
pub(super) async fn run<S: AsyncRead + AsyncWrite>(
    teller: Teller,
    opening: impl Future<Output = Result<Opened<S>, End>>,
    opener: Opener,
    limits: Limits,
    mail: Mail,
) {
    let end = match opening.await {
        Ok(Opened { stream, identity }) => {
            if teller.tell(Said::Open(identity)).await.is_err() {
                return;
            }
            return serve(&teller, stream, opener, limits, mail).await;
        }
        Err(end) => end,
    };
    // The owner may have gone first.
    let _ = teller.tell(Said::Ended(end)).await;
}

async fn serve<S: AsyncRead + AsyncWrite>(
    teller: &Teller,
    stream: S,
    opener: Opener,
    limits: Limits,
    mut mail: Mail,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let pong = Notify::new();
    let mut writing = pin!(write(&mut writer, &mut mail, &pong));
    let end = tokio::select! {
        end = read(teller, &mut reader, opener, limits, &pong) => Some(end),
        _ = &mut writing => None,
    };
    let Some(end) = end else {
        // Written to its end, or broken: either way there is nothing more to say.
        let _ = teller.tell(Said::Ended(End::Gone)).await;
        return;
    };
    let unread = matches!(end, End::Framing(_) | End::Deadline);
    if teller.tell(Said::Ended(end)).await.is_err() {
        return;
    }
    // The owner lets go of the outbox now; its last answers are still written.
    if matches!(timeout(FAREWELL, writing).await, Ok(Ok(()))) && unread {
        let _ = timeout(FAREWELL, leave(&mut reader)).await;
    }
}

/// Writes what is posted, and answers keep-alives: those that come faster than they can be answered are one.
async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mail: &mut Mail,
    pong: &Notify,
) -> io::Result<()> {
    loop {
        let message = tokio::select! {
            message = mail.next() => message,
            () = pong.notified() => {
                writer.write_all(b"\r\n").await?;
                writer.flush().await?;
                continue;
            }
        };
        let Some(message) = message else {
            return writer.shutdown().await;
        };
        writer.write_all(&message).await?;
        writer.flush().await?;
        mail.written(message.len());
    }
}

/// Reads messages until there are no more.
async fn read<R: AsyncRead + Unpin>(
    teller: &Teller,
    reader: &mut R,
    opener: Opener,
    limits: Limits,
    pong: &Notify,
) -> End {
    let mut framer = Framer::new();
    let mut first = match opener {
        Opener::Peer(since) => Some(since + limits.first_message),
        Opener::Us => None,
    };
    let mut unfinished = None;
    loop {
        let due = [first, unfinished].into_iter().flatten().min();
        let filling = fill(reader, &mut framer);
        let filled = match due {
            Some(due) => timeout_at(due, filling).await,
            None => Ok(filling.await),
        };
        match filled {
            Err(_) => return End::Deadline,
            Ok(Ok(0) | Err(_)) => return End::Gone,
            Ok(Ok(_)) => {}
        }
        while let Some(next) = framer.poll_message() {
            let said = match next {
                Ok(message) => Said::Message(message),
                Err(error) => return End::Framing(error),
            };
            (first, unfinished) = (None, None);
            if let Err(end) = teller.tell(said).await {
                return end;
            }
        }
        if framer.take_pings() > 0 {
            pong.notify_one();
            if let Err(end) = teller.tell(Said::Ping).await {
                return end;
            }
        }
        if !framer.is_mid_message() {
            unfinished = None;
        } else if unfinished.is_none() {
            unfinished = Some(Instant::now() + limits.message);
        }
    }
}

/// Reads once.
async fn fill<R: AsyncRead + Unpin>(reader: &mut R, framer: &mut Framer) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut octets = [0; READ];
        let read = ready!(poll_read(cx, reader, &mut octets))?;
        framer.push(&octets[..read]);
        Poll::Ready(Ok(read))
    })
    .await
}

fn poll_read<R: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    reader: &mut R,
    octets: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(octets);
    ready!(Pin::new(reader).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

/// Reads away what is left, until the peer closes: closing with something unread resets the connection, and the peer
/// may never see our last answer.
async fn leave<R: AsyncRead + Unpin>(reader: &mut R) {
    let mut left = LEFTOVERS;
    while left > 0 {
        let read = poll_fn(|cx| {
            let mut octets = [0; READ];
            poll_read(cx, reader, &mut octets)
        });
        match read.await {
            Ok(0) | Err(_) => return,
            Ok(read) => left = left.saturating_sub(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::super::outbox::{Outbox, outbox};
    use super::*;

    const PING: &str = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nContent-Length: 0\r\n\r\n";

    struct Peer {
        stream: DuplexStream,
        news: mpsc::Receiver<News>,
        outbox: Outbox,
        task: tokio::task::JoinHandle<()>,
    }

    fn peer(opener: fn() -> Opener, room: usize) -> Peer {
        let (near, far) = duplex(room);
        let (sender, news) = mpsc::channel(1);
        let teller = Teller {
            id: ConnectionId(1),
            news: sender,
        };
        let (outbox, mail) = outbox();
        let opening = async {
            Ok(Opened {
                stream: far,
                identity: Vec::new(),
            })
        };
        Peer {
            stream: near,
            news,
            outbox,
            task: tokio::spawn(run(teller, opening, opener(), Limits::default(), mail)),
        }
    }

    fn theirs() -> Opener {
        Opener::Peer(Instant::now())
    }

    impl Peer {
        async fn said(&mut self) -> Said {
            self.news.recv().await.expect("news").said
        }

        async fn opened(mut self) -> Self {
            assert!(matches!(self.said().await, Said::Open(_)));
            self
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_closed_at_the_deadline() {
        let t0 = Instant::now();
        let mut peer = peer(theirs, 64).opened().await;
        assert!(matches!(peer.said().await, Said::Ended(End::Deadline)));
        assert_eq!(t0.elapsed(), Limits::default().first_message);
        drop(peer.outbox);
        assert_eq!(peer.stream.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn keep_alives_are_answered_and_are_no_first_message() {
        let mut peer = peer(theirs, 64).opened().await;
        let t0 = Instant::now();
        let mut answers = [0; 2];
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            peer.stream.write_all(b"\r\n\r\n").await.unwrap();
            assert!(matches!(peer.said().await, Said::Ping));
            peer.stream.read_exact(&mut answers).await.unwrap();
            assert_eq!(&answers, b"\r\n");
        }
        assert!(matches!(peer.said().await, Said::Ended(End::Deadline)));
        assert_eq!(t0.elapsed(), Limits::default().first_message);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_octet_by_octet_has_until_its_deadline() {
        let mut peer = peer(theirs, 64).opened().await;
        peer.stream.write_all(PING.as_bytes()).await.unwrap();
        assert!(matches!(peer.said().await, Said::Message(_)));
        // No deadline runs while nothing is begun.
        tokio::time::sleep(Duration::from_hours(2)).await;
        let t0 = Instant::now();
        let Peer {
            mut stream,
            mut news,
            ..
        } = peer;
        let ended = async {
            match news.recv().await.unwrap().said {
                Said::Ended(End::Deadline) => t0.elapsed(),
                Said::Open(_) | Said::Message(_) | Said::Ping | Said::Ended(_) => {
                    panic!("too early")
                }
            }
        };
        let dripping = async {
            for octet in PING.as_bytes() {
                if stream.write_all(&[*octet]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (ended_at, ()) = tokio::join!(ended, dripping);
        assert_eq!(ended_at, Limits::default().message);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_ours_may_be_silent() {
        let mut peer = peer(|| Opener::Us, 64).opened().await;
        let quiet = timeout(Duration::from_hours(24), peer.said()).await;
        assert!(quiet.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn after_garbage_the_last_answer_is_written_and_the_rest_is_read_away() {
        let mut peer = peer(theirs, 4096).opened().await;
        peer.stream
            .write_all(b"GET / HTTP/1.1\r\n\r\n and more of it")
            .await
            .unwrap();
        assert!(matches!(
            peer.said().await,
            Said::Ended(End::Framing(FramingError::NotSip(_)))
        ));
        peer.outbox.post(Bytes::from_static(b"last words")).unwrap();
        drop(peer.outbox);
        let mut heard = String::new();
        peer.stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "last words");
        drop(peer.stream);
        timeout(FAREWELL / 2, peer.task).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_waits_for_the_owner_and_not_in_memory() {
        let mut peer = peer(theirs, 4096).opened().await;
        let flood = PING.repeat(10_000);
        let written = timeout(
            Duration::from_secs(5),
            peer.stream.write_all(flood.as_bytes()),
        );
        assert!(written.await.is_err(), "nobody takes the messages");
        for _ in 0..50 {
            assert!(matches!(peer.said().await, Said::Message(_)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_posted_before_the_owner_let_go_is_written() {
        let mut peer = peer(theirs, 16).opened().await;
        for _ in 0..20 {
            peer.outbox.post(Bytes::from_static(b"0123456789")).unwrap();
        }
        drop(peer.outbox);
        let mut heard = String::new();
        peer.stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard.len(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_opened_says_so() {
        let (sender, mut news) = mpsc::channel(1);
        let teller = Teller {
            id: ConnectionId(1),
            news: sender,
        };
        let (_outbox, mail) = outbox();
        let opening = async { Err::<Opened<DuplexStream>, _>(End::Unopened("refused".into())) };
        run(teller, opening, Opener::Us, Limits::default(), mail).await;
        let Said::Ended(End::Unopened(why)) = news.recv().await.unwrap().said else {
            panic!("not told");
        };
        assert_eq!(why, "refused");
    }
}
