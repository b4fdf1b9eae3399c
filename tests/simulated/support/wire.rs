//! The network between the far end and the bridge: it delays, and on request loses, reorders and repeats, always the
//! same way for the same seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use baton_core::sip::endpoint::Transport;
use baton_core::sip::message::Message as Sip;
use baton_core::vocab::Entropy;
use bytes::Bytes;

use super::clock::ms;

/// Where SIP goes; everything else is RTP.
pub(crate) const SIP_PORT: u16 = 5060;

/// What the network does to everybody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Chance of loss, percent.
    pub(crate) loss: u64,
    /// Chance of a second copy, percent.
    pub(crate) repeat: u64,
    /// Shortest way.
    pub(crate) delay: Duration,
    /// What may be added to it, evenly spread. More than the gap between two messages puts them out of order.
    pub(crate) spread: Duration,
    /// SIP goes by a stream; meant for weather that loses and repeats nothing.
    pub(crate) stream: bool,
}

impl Weather {
    /// How SIP goes.
    pub(crate) const fn transport(&self) -> Transport {
        if self.stream {
            Transport::Tcp
        } else {
            Transport::Udp
        }
    }

    /// 10 ms each way, and nothing is lost.
    pub(crate) const FINE: Self = Self {
        loss: 0,
        repeat: 0,
        delay: ms(10),
        spread: ms(0),
        stream: false,
    };
    /// The same, and SIP by TCP.
    pub(crate) const STREAM: Self = Self {
        stream: true,
        ..Self::FINE
    };
    /// A tenth is lost, a twentieth comes twice, and order is a matter of luck.
    pub(crate) const STORM: Self = Self {
        loss: 10,
        repeat: 5,
        delay: ms(10),
        spread: ms(120),
        stream: false,
    };
}

/// Octets from one address to another.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Bytes,
}

/// One SIP message as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) at: Instant,
    pub(crate) from: SocketAddr,
    /// `REFER`, `NOTIFY sipfrag 200`, `202 Accepted (REFER)`.
    pub(crate) label: String,
    pub(crate) text: String,
    /// The same octets were sent before.
    pub(crate) is_repeat: bool,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    InAir,
    Lost,
    Arrived,
}

impl Message {
    /// Whether it is what `pattern` says: a label, or the first words of one.
    pub(crate) fn is(&self, pattern: &str) -> bool {
        self.label
            .strip_prefix(pattern)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }
}

/// What a test wants done to certain messages.
#[derive(Debug)]
enum Mischief {
    Lose {
        from: SocketAddr,
        pattern: String,
        times: usize,
    },
    Delay {
        from: SocketAddr,
        pattern: String,
        by: Duration,
    },
    /// The n-th message of the world, counted without repeats, is lost the first time it is sent.
    LoseNumber(usize),
    /// Every message is lost the first time it is sent, with this chance in percent.
    LoseFirst(u64),
}

#[derive(Debug)]
struct InAir {
    datagram: Datagram,
    /// Its place on the ladder; RTP has none.
    message: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Wire {
    weather: Weather,
    dice: Entropy,
    air: BTreeMap<(Instant, u64), InAir>,
    sent: u64,
    mischief: Vec<Mischief>,
    /// Addresses from which nothing arrives any more.
    cut: BTreeSet<SocketAddr>,
    ladder: Vec<Message>,
    seen: BTreeSet<(SocketAddr, Bytes)>,
}

impl Wire {
    pub(crate) fn new(weather: Weather, dice: Entropy) -> Self {
        Self {
            weather,
            dice,
            air: BTreeMap::new(),
            sent: 0,
            mischief: Vec::new(),
            cut: BTreeSet::new(),
            ladder: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Every SIP message so far, in the order of sending.
    pub(crate) fn ladder(&self) -> &[Message] {
        &self.ladder
    }

    /// SIP messages so far without repeats.
    pub(crate) fn distinct(&self) -> usize {
        self.seen.len()
    }

    /// The next `times` messages of this kind from `from` are lost.
    pub(crate) fn lose(&mut self, from: SocketAddr, pattern: &str, times: usize) {
        let pattern = pattern.to_owned();
        self.mischief.push(Mischief::Lose {
            from,
            pattern,
            times,
        });
    }

    /// The next message of this kind from `from` takes so much longer.
    pub(crate) fn delay(&mut self, from: SocketAddr, pattern: &str, by: Duration) {
        let pattern = pattern.to_owned();
        self.mischief.push(Mischief::Delay { from, pattern, by });
    }

    pub(crate) fn lose_number(&mut self, number: usize) {
        self.mischief.push(Mischief::LoseNumber(number));
    }

    pub(crate) fn lose_first_copies(&mut self, percent: u64) {
        self.mischief.push(Mischief::LoseFirst(percent));
    }

    /// Nothing from this address arrives from now on.
    pub(crate) fn cut(&mut self, from: SocketAddr) {
        self.cut.insert(from);
    }

    pub(crate) fn send(&mut self, now: Instant, datagram: &Datagram) {
        let message = (datagram.from.port() == SIP_PORT).then(|| self.note(now, datagram));
        let extra = message.and_then(|index| self.played_with(index));
        let lost = extra.is_none() && message.is_some()
            || self.cut.contains(&datagram.from)
            || self.chance(self.weather.loss);
        if lost {
            if let Some(index) = message {
                self.ladder[index].fate = Fate::Lost;
            }
            return;
        }
        let copies = 1 + usize::from(self.chance(self.weather.repeat));
        for _ in 0..copies {
            let at = now + self.travel_time() + extra.unwrap_or_default();
            self.sent += 1;
            let datagram = datagram.clone();
            self.air
                .insert((at, self.sent), InAir { datagram, message });
        }
    }

    fn travel_time(&mut self) -> Duration {
        let spread = u64::try_from(self.weather.spread.as_micros()).unwrap_or(0);
        self.weather.delay + Duration::from_micros(self.dice.below(spread + 1))
    }

    fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.dice.below(100) < percent
    }

    fn note(&mut self, now: Instant, datagram: &Datagram) -> usize {
        let text = String::from_utf8_lossy(&datagram.payload).into_owned();
        let is_repeat = !self.seen.insert((datagram.from, datagram.payload.clone()));
        self.ladder.push(Message {
            at: now,
            from: datagram.from,
            label: label(&datagram.payload),
            text,
            is_repeat,
            fate: Fate::InAir,
        });
        self.ladder.len() - 1
    }

    /// What a test does to this message: `None` loses it, otherwise it comes so much later.
    fn played_with(&mut self, index: usize) -> Option<Duration> {
        let message = &self.ladder[index];
        let mut extra = Duration::ZERO;
        let mut done = None;
        let distinct = self.seen.len();
        for (place, mischief) in self.mischief.iter_mut().enumerate() {
            match mischief {
                Mischief::Lose {
                    from,
                    pattern,
                    times,
                } if *times > 0 && *from == message.from && message.is(pattern) => {
                    *times -= 1;
                    return None;
                }
                Mischief::Delay { from, pattern, by }
                    if *from == message.from && message.is(pattern) =>
                {
                    extra = *by;
                    done = Some(place);
                }
                Mischief::LoseNumber(number) if !message.is_repeat && *number == distinct => {
                    return None;
                }
                Mischief::LoseFirst(percent)
                    if !message.is_repeat && self.dice.below(100) < *percent =>
                {
                    return None;
                }
                Mischief::Lose { .. }
                | Mischief::Delay { .. }
                | Mischief::LoseNumber(_)
                | Mischief::LoseFirst(_) => {}
            }
        }
        if let Some(place) = done {
            self.mischief.remove(place);
        }
        Some(extra)
    }

    /// The next arrival.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.air.keys().next().map(|(at, _)| *at)
    }

    /// What has arrived by now.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<Datagram> {
        let entry = self.air.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let InAir { datagram, message } = entry.remove();
        if let Some(index) = message {
            self.ladder[index].fate = Fate::Arrived;
        }
        Some(datagram)
    }
}

/// What a ladder calls a message.
fn label(payload: &Bytes) -> String {
    match Sip::parse(payload) {
        Ok(Sip::Request(request)) => {
            let method = request.method().as_str().to_owned();
            let sipfrag = std::str::from_utf8(request.body())
                .ok()
                .and_then(|body| body.strip_prefix("SIP/2.0 "))
                .and_then(|rest| rest.split(' ').next());
            match sipfrag {
                Some(status) => format!("{method} sipfrag {status}"),
                None => method,
            }
        }
        Ok(Sip::Response(response)) => {
            let method = response.headers().cseq().map_or_else(
                |_| String::new(),
                |cseq| format!(" ({})", cseq.method.as_str()),
            );
            format!("{} {}{method}", response.status(), response.reason())
        }
        Err(_) => "noise".into(),
    }
}
